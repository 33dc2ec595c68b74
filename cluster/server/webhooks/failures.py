"""Why a server could not be asked, in the words of Kubernetes' own HTTP client, which people search for."""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp

_REFUSALS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "connection timed out",
}
_UNVERIFIED = "tls: failed to verify certificate: x509: "
_UNKNOWN_AUTHORITY = "certificate signed by unknown authority"
_VERIFY_CODES = {
    9: "certificate has expired or is not yet valid",
    10: "certificate has expired or is not yet valid",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
}
"""OpenSSL's X509_V_ERR_*."""
_OTHER_NAME = 62


def said(error: Exception, name: str = "") -> str:
    """`name`: which the certificate had to be for."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_problem(error.certificate_error, name)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connection_problem(error.os_error, f"{error.host}:{error.port}", error.host)
    if isinstance(error, ssl.SSLError):
        return _certificate_problem(error, name)
    return str(error) or type(error).__name__


def _certificate_problem(error: Exception, name: str) -> str:
    code = getattr(error, "verify_code", None)
    if code == _OTHER_NAME:
        return f"{_UNVERIFIED}certificate is not valid for any names, but wanted to match {name}"
    if code in _VERIFY_CODES:
        return _UNVERIFIED + _VERIFY_CODES[code]
    reason = getattr(error, "reason", None)
    return f"remote error: tls: {str(reason or error).lower().replace('_', ' ')}"


def _connection_problem(error: OSError, address: str, host: str) -> str:
    if isinstance(error, ssl.SSLError):
        return _certificate_problem(error, host)
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    why = _REFUSALS.get(error.errno or 0)
    return f"dial tcp {address}: connect: {why}" if why else f"dial tcp {address}: {error}"

"""Addresses, networks and URLs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from cluster.api.cel.errors import EvalError
from cluster.api.cel.values import Address


@dataclass(frozen=True, slots=True)
class Url:
    text: str

    def __str__(self) -> str:
        return self.text


def _url(text: Any) -> Url:
    if not _is_url(text):
        raise EvalError(
            f"URL parse error during conversion from string: parse {text!r}: invalid URI for request"
        )
    return Url(text)


def _is_url(text: Any) -> bool:
    try:
        parts = urlsplit(str.strip(text))
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _parsed_ip(text: Any) -> Address:
    if isinstance(text, Address):
        return text
    if not isinstance(text, str) or "%" in text:
        raise ValueError(text)
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        raise ValueError(text)
    return found


def _ip(text: Any) -> Address:
    if hasattr(text, "network"):
        address: Address = text.ip
        return address
    try:
        return _parsed_ip(text)
    except ValueError:
        raise EvalError(
            f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): '
            "unable to parse IP"
        ) from None


def _is_ip(text: Any, version: int = 0) -> bool:
    try:
        found = _parsed_ip(text)
    except ValueError:
        return False
    return not version or found.version == version


def _cidr(text: Any) -> Any:
    try:
        return ipaddress.ip_interface(str.strip(text))
    except ValueError:
        raise EvalError(
            f'network address parse error during conversion from string: invalid CIDR "{text}"'
        ) from None


def _is_cidr(text: Any) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _contains_ip(network: Any, address: Any) -> bool:
    return _ip(address) in network.network


def _contains_cidr(network: Any, other: Any) -> bool:
    inner = (_cidr(other) if isinstance(other, str) else other).network
    return bool(inner.version == network.version and inner.subnet_of(network.network))


def _unicast(address: Any) -> bool:
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
        or str(address) == "255.255.255.255"
    )  # fmt: skip


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "url": _url,
    "isURL": _is_url,
    "getScheme": lambda url: urlsplit(url.text).scheme,
    "getHost": lambda url: urlsplit(url.text).netloc.rpartition("@")[2],
    "getHostname": lambda url: urlsplit(url.text).hostname or "",
    "getPort": lambda url: str(urlsplit(url.text).port or ""),
    "getEscapedPath": lambda url: quote(urlsplit(url.text).path, safe="/%:@!$&'()*+,;=~"),
    "getQuery": lambda url: parse_qs(urlsplit(url.text).query, keep_blank_values=True),
    "ip": _ip,
    "isIP": _is_ip,
    "ip.isCanonical": lambda text: str(_ip(text)) == text,
    "family": lambda address: address.version,
    "isUnspecified": lambda address: address.is_unspecified,
    "isLoopback": lambda address: address.is_loopback,
    "isLinkLocalMulticast": lambda address: (
        address.is_multicast and str(address).startswith(("224.0.0.", "ff02"))
    ),
    "isLinkLocalUnicast": lambda address: address.is_link_local,
    "isGlobalUnicast": _unicast,
    "cidr": _cidr,
    "isCIDR": _is_cidr,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "masked": lambda network: ipaddress.ip_interface(str(network.network)),
    "prefixLength": lambda network: network.network.prefixlen,
}

"""The certificates of Ingresses as one TLS context that chooses by the name the client asks for.

Python's ssl reads keys from files only, so each pair passes through a temporary file of this user's own for
a moment. Contexts of unchanged pairs are kept: TLS sessions go on.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from cluster.api.objects import Key

Pair = tuple[bytes, bytes, list[str]]
"""Certificate and key in PEM, and the hosts they are for."""


class Certificates:
    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._known: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        self._by_host: dict[str, ssl.SSLContext] = {}
        self._front: ssl.SSLContext | None = None
        self._usable = False

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the listener, always the same one; None while there is no certificate."""
        return self._front if self._usable else None

    def replace(self, pairs: Mapping[Key, Pair]) -> None:
        """These are all certificates from now on."""
        known: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        by_host: dict[str, ssl.SSLContext] = {}
        first: tuple[bytes, bytes] | None = None
        for secret, (certificate, key, hosts) in pairs.items():
            pair = (certificate, key)
            try:
                context = self._known.get(pair) or _loaded(_new(), pair)
            except (ssl.SSLError, ValueError) as error:
                self._log.warning("certificate not usable", secret=str(secret), why=str(error))
                continue
            known[pair] = context
            first = first if first is not None else pair
            for host in hosts:
                by_host.setdefault(host, context)
        self._known, self._by_host, self._usable = known, by_host, first is not None
        if first is not None:
            if self._front is None:
                self._front = _new()
                self._front.sni_callback = self._choose
            _loaded(self._front, first)

    def _choose(self, connection: ssl.SSLObject, name: str | None, front: ssl.SSLContext) -> None:
        if name:
            _, _, parent = name.lower().partition(".")
            found = self._by_host.get(name.lower()) or self._by_host.get(f"*.{parent}")
            if found is not None:
                connection.context = found


def _new() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _loaded(context: ssl.SSLContext, pair: tuple[bytes, bytes]) -> ssl.SSLContext:
    with tempfile.NamedTemporaryFile(prefix="kubemu-tls-") as file:
        file.write(pair[1] + b"\n" + pair[0])
        file.flush()
        context.load_cert_chain(file.name)
    return context

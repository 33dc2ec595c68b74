"""A connection to a pod's port over a stream to its node, with TLS on top where the request asks for it.

The API server does not check the certificate of a pod that it passes requests on to, as in Kubernetes: nobody
says whom to trust.
"""

from __future__ import annotations

import ssl

from cluster.api.errors import ServiceUnavailable
from cluster.server.streams import Stream

_DOWN = 0


class PodConnection:
    """Bytes there and back. Errors are ServiceUnavailable, as the proxy tells them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def begin(self) -> None:
        """Before the first byte."""

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(_DOWN, data)
        except ConnectionError as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from None

    async def receive(self) -> bytes:
        """Empty at the end."""
        while True:
            received = await self._stream.receive()
            if received is None or received[1] or received[2]:
                return b"" if received is None else received[1]


class EncryptedPodConnection(PodConnection):
    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    async def begin(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError as error:
                raise _refused(error) from None
        await self._flush()

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise _refused(error) from None

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await super().send(data)

    async def _fill(self) -> None:
        data = await super().receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _refused(error: ssl.SSLError) -> ServiceUnavailable:
    return ServiceUnavailable(f"error trying to reach service: tls: {error.reason or error}")

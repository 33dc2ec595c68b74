"""SPDY/3.1 framing without I/O: bytes in, frames out; the little of it that port forwarding needs.

kubectl tunnels SPDY through a WebSocket (`SPDY/3.1+portforward.k8s.io`): every forwarded connection is a
pair of streams, told apart by their headers. Header blocks are compressed with a dictionary that the
protocol fixes, in one context per direction for the whole connection.

Divergence from SPDY/3.1: no flow control; kubectl's library has none either. The WebSocket's TCP
connection pushes back instead.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

_VERSION = 3
_FIN = 1
_CONTROL = 1 << 31
_ID = _CONTROL - 1
FRAME_LIMIT = (1 << 24) - 1


class _Kind(IntEnum):
    """Of control frames; what is not here is passed over."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    HEADERS = 8


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class Opened:
    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


Frame = Opened | Data | Reset | Ping


class Spdy:
    """The server's side of one connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._inflate = zlib.decompressobj(zdict=_DICTIONARY)
        self._deflate = zlib.compressobj(zdict=_DICTIONARY)

    def received(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises SpdyError."""
        self._rest += data
        frames: list[Frame] = []
        while len(self._rest) >= 8:
            head, length = struct.unpack_from("!II", self._rest)
            flags, length = length >> 24, length & FRAME_LIMIT
            if len(self._rest) < 8 + length:
                break
            body, self._rest = self._rest[8 : 8 + length], self._rest[8 + length :]
            if head & _CONTROL:
                frames += self._control(head, flags, body)
            else:
                frames.append(Data(head, body, bool(flags & _FIN)))
        return frames

    def _control(self, head: int, flags: int, body: bytes) -> list[Frame]:
        if head >> 16 & 0x7FFF != _VERSION:
            raise SpdyError("not SPDY version 3")
        try:
            match head & 0xFFFF:
                case _Kind.SYN_STREAM:
                    stream = struct.unpack_from("!I", body)[0] & _ID
                    opened: list[Frame] = [Opened(stream, self._headers(body[10:]))]
                    return [*opened, Data(stream, b"", True)] if flags & _FIN else opened
                case _Kind.RST_STREAM:
                    return [Reset(struct.unpack_from("!I", body)[0] & _ID)]
                case _Kind.PING:
                    return [Ping(struct.unpack_from("!I", body)[0])]
                case _Kind.HEADERS:  # nothing is wanted of them, but they are part of the compressed stream
                    self._headers(body[4:])
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(str(error)) from None
        return []

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflate.decompress(block)
        (count,), position = struct.unpack_from("!I", text), 4
        parts: list[str] = []
        for _ in range(2 * count):
            (length,) = struct.unpack_from("!I", text, position)
            parts.append(text[position + 4 : position + 4 + length].decode())
            position += 4 + length
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def reply(self, stream: int) -> bytes:
        """Accepts a stream, with no headers of its own."""
        block = self._deflate.compress(struct.pack("!I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _frame(_Kind.SYN_REPLY, 0, struct.pack("!I", stream) + block)


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    return struct.pack("!II", stream, (_FIN if fin else 0) << 24 | len(data)) + data


def ping_frame(ping: int) -> bytes:
    return _frame(_Kind.PING, 0, struct.pack("!I", ping))


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("!II", _CONTROL | _VERSION << 16 | kind, flags << 24 | len(body)) + body


def _dictionary() -> bytes:
    """SPDY/3's dictionary: words with their lengths, then plain text."""
    words = (word.replace("_", " ").encode() for word in _WORDS.split())
    return b"".join(struct.pack("!I", len(word)) + word for word in words) + _TEXT.encode()


_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges "
    "age allow authorization cache-control connection content-base content-encoding content-language "
    "content-length content-location content-md5 content-range content-type date etag expect expires from "
    "host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location "
    "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version "
    "HTTP/1.1 url public set-cookie keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_DICTIONARY = _dictionary()

"""Typed messages and their wire form.

A message type is declared once:

    @message("pod-statuses")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class PodStatuses:
        sequence: int
        statuses: list[PodStatus]

Field types may be: bool, int, float, str, bytes, `T | None`, list[T], tuple[T, ...], dict[str, T], Any
(plain JSON data), an Enum with string values, or another frozen dataclass. Decoding checks them;
unknown fields of a message are ignored (a newer peer), missing ones take the default or fail.

On the wire a packet is a MessagePack array of envelopes [id, cause, reply_to, tag, body]; small messages
for one peer in the same few milliseconds share a packet.

What is said about a type is turned into converters (`broker.converters`) when the first message of that
type passes, so a declaration may refer to types further down in its module.

`Any` promises plain JSON data, yet walking each pod in Python would cost more than parsing it. So a packet
is first parsed with binary and extension types forbidden, in C: what gets through is plain. Only a packet
that carries bytes is parsed again, and then its `Any` fields are walked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgpack

from broker.converters import Decoders, Encode, Mismatch, Plainness, encoder

T = TypeVar("T")

MAX_PACKET_BYTES = 64 << 20
"""A longer packet is malformed. A node's whole desired state fits several times."""


class MalformedMessage(Exception):
    """Bytes that are not a packet of known, well-typed messages. Carries why, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message on its way."""

    id: str
    """Unique per sender: `<sender>-<number>`."""
    cause: str
    reply_to: str
    """For an answer, the id of the asking envelope; else empty."""
    body: Any
    """An instance of a declared message type."""


_types: dict[str, type[Any]] = {}
_encoders: dict[type[Any], tuple[str, Encode]] = {}
_tags: dict[type[Any], str] = {}
_plain = Decoders(Plainness.KNOWN)
_walked = Decoders(Plainness.UNKNOWN)

_EMPTY_BINARIES = (b"\xc4\x00", b"\xc5\x00\x00", b"\xc6\x00\x00\x00\x00")
"""The one kind of bytes that a length limit of zero lets through."""


def message(tag: str) -> Callable[[type[T]], type[T]]:
    """Declares a frozen dataclass as a message type with this wire tag (unique, or ValueError)."""

    def declare(declared: type[T]) -> type[T]:
        known = _types.get(tag)
        if known is not None and (known.__module__, known.__qualname__) != (
            declared.__module__,
            declared.__qualname__,
        ):
            raise ValueError(f"tag {tag!r} is taken by {known.__module__}.{known.__qualname__}")
        parameters = getattr(declared, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            raise ValueError(f"{declared.__qualname__} is not a frozen dataclass")
        _types[tag] = declared
        _tags[declared] = tag
        return declared

    return declare


def tag_of(body: object) -> str:
    """The wire tag of a message; TypeError where its type was never declared."""
    tag = _tags.get(type(body))
    if tag is None:
        raise TypeError(f"{type(body).__qualname__} is not a declared message type")
    return tag


def encode(envelopes: list[Envelope]) -> bytes:
    """One packet. A body that does not fit its declaration is a bug: TypeError."""
    return cast(bytes, msgpack.packb([_wire_form(envelope) for envelope in envelopes]))


def encode_envelope(envelope: Envelope) -> bytes:
    """One envelope's part of a packet, for whoever gathers parts until they make one (`join`)."""
    return cast(bytes, msgpack.packb(_wire_form(envelope)))


def join(parts: list[bytes]) -> bytes:
    """The packet made of these parts; the same bytes as `encode` gives for their envelopes."""
    count = len(parts)
    if count < 16:
        header = bytes((0x90 | count,))
    elif count < 1 << 16:
        header = b"\xdc" + count.to_bytes(2)
    else:
        header = b"\xdd" + count.to_bytes(4)
    return header + b"".join(parts)


def _wire_form(envelope: Envelope) -> tuple[str, str, str, str, Any]:
    body = envelope.body
    found = _encoders.get(type(body))
    if found is None:
        found = _encoders[type(body)] = (tag_of(body), encoder(type(body)))
    tag, encode_body = found
    return (envelope.id, envelope.cause, envelope.reply_to, tag, encode_body(body))


def decode(packet: bytes) -> list[Envelope]:
    """The envelopes of a packet. Raises MalformedMessage."""
    if len(packet) > MAX_PACKET_BYTES:
        raise MalformedMessage(f"{len(packet)} bytes are more than {MAX_PACKET_BYTES}")
    decoders, items = _unpack(packet)
    if type(items) is not list:
        raise MalformedMessage(f"not an array of envelopes but {type(items).__name__}")
    return [_envelope(item, decoders) for item in items]


def _unpack(packet: bytes) -> tuple[Decoders, Any]:
    if not any(empty in packet for empty in _EMPTY_BINARIES):
        try:
            return _plain, msgpack.unpackb(packet, max_bin_len=0, max_ext_len=0, ext_hook=_refuse_extension)
        except (ValueError, MalformedMessage):
            pass  # bytes, or malformed: the second parse tells which
    try:
        return _walked, msgpack.unpackb(packet, max_ext_len=0, ext_hook=_refuse_extension)
    except (ValueError, OverflowError) as error:
        raise MalformedMessage(f"not MessagePack: {error or type(error).__name__}") from error


def _refuse_extension(code: int, data: bytes) -> Any:
    raise MalformedMessage(f"extension type {code} of {len(data)} bytes")


def _envelope(item: Any, decoders: Decoders) -> Envelope:
    if type(item) is not list or len(item) != 5:
        raise MalformedMessage("an envelope is an array of id, cause, reply_to, tag and body")
    identity, cause, reply_to, tag, body = item
    if not (type(identity) is str and type(cause) is str and type(reply_to) is str and type(tag) is str):
        raise MalformedMessage("id, cause, reply_to and tag of an envelope are strings")
    declared = _types.get(tag)
    if declared is None:
        raise MalformedMessage(f"no message type has the tag {tag!r}")
    try:
        return Envelope(id=identity, cause=cause, reply_to=reply_to, body=decoders.of(declared)(body))
    except Mismatch as mismatch:
        raise MalformedMessage(f"{tag}: {mismatch}") from mismatch

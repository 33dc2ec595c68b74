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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


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


def message(tag: str) -> Callable[[type[T]], type[T]]:
    """Declares a frozen dataclass as a message type with this wire tag (unique, or ValueError)."""
    raise NotImplementedError


def encode(envelopes: list[Envelope]) -> bytes:
    """One packet."""
    raise NotImplementedError


def decode(packet: bytes) -> list[Envelope]:
    """The envelopes of a packet. Raises MalformedMessage."""
    raise NotImplementedError

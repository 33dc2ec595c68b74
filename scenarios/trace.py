"""What a simulation writes down beside its log: every change of the store and every packet, at debug level.

Two runs that differ anywhere differ here, so comparing two traces byte for byte finds hidden
non-determinism, and reading one shows what led to what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from broker.message import MalformedMessage, decode, tag_of
from cluster.store.entry import Change
from cluster.store.store import Subscriber

PacketObserver = Callable[[str, str, bytes], None]


def trace_changes(log: FilteringBoundLogger) -> Subscriber:
    def changed(changes: Sequence[Change]) -> None:
        for change in changes:
            log.debug(
                "change",
                component="store",
                revision=change.revision,
                type=change.type.value,
                resource=change.entry.qualified,
                key=str(change.entry.key),
                bytes=len(change.entry.json),
                cause=change.cause,
            )

    return changed


def trace_packets(log: FilteringBoundLogger) -> PacketObserver:
    def published(sender: str, topic: str, payload: bytes) -> None:
        log.debug(
            "packet",
            component="broker",
            sender=sender,
            topic=topic,
            bytes=len(payload),
            messages=_tags(payload),
        )

    return published


def _tags(payload: bytes) -> list[str]:
    try:
        return [f"{tag_of(envelope.body)} {envelope.id}" for envelope in decode(payload)]
    except MalformedMessage:
        return []  # presence, which is not an envelope

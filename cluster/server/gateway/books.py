"""The books that the gateway keeps of one node: a pure account of who heard and acknowledged what.

No I/O here: each function takes the books, a message and perhaps the time, and says what is to be done.
The one remedy for anything unexpected (gap, foreign session, an agent that lags) is `RegisterAgain`: a
registration starts a new session from nothing, so there is a single way back to order, and it is the one
that every start takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from cluster.api.objects import Object
from cluster.api.wire import Desired, Heartbeat, PodStatuses, Register, Removed

PACKET_BYTES = 192 * 1024
"""JSON bytes of objects that go into one `Desired`; keeps packets under 256 KB. One bigger object travels
alone."""


Item: TypeAlias = tuple[Object | str, int]
"""What goes into a `Desired`, as an object or as its JSON text, with its size in bytes."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One registration of one agent start."""

    node: str
    epoch: str
    id: str
    registration: Register
    heard_at: float
    ready: bool = False
    """Registered and the full desired state were sent."""
    answered_at: float = 0.0
    """When they were sent last."""
    sequence: int = 0
    """Of the last `Desired` sent."""
    applied: int = 0
    """Of the last `Desired` that a heartbeat has confirmed."""
    lagging_since: float | None = None
    """Since when some are unconfirmed, without any progress."""
    accepted: int = 0
    """The last `PodStatuses` taken."""
    stored: int = 0
    """Everything up to here is durable."""
    open_reports: dict[int, int] = field(default_factory=dict)
    """Accepted reports in order, with the number of their pods that are not durable yet."""


class Verdict(Enum):
    """What to do with a report of pod statuses."""

    TAKE = "take"
    KNOWN = "known"
    RESTARTED = "restarted"
    FOREIGN = "foreign"
    GAP = "gap"


def judge_heartbeat(session: Session | None, message: Heartbeat, now: float, patience_s: float) -> str:
    """Why the agent has to register again; empty where all is well."""
    if session is None:
        return "this gateway has no session of the node"
    if message.epoch != session.epoch:
        return f"the session is of epoch {session.epoch}"
    if not session.ready:
        return ""
    if message.session != session.id:
        return f"the session is {session.id}"
    session.heard_at = now
    if message.applied != session.applied:
        session.applied = message.applied
        session.lagging_since = now  # slow, but alive
    if message.applied >= session.sequence:
        session.lagging_since = None
        return ""
    if session.lagging_since is not None and now - session.lagging_since > patience_s:
        return f"{message.applied} of {session.sequence} changes applied after {patience_s:g} s"
    return ""


def judge_report(session: Session | None, message: PodStatuses) -> Verdict:
    """Takes reports in their order only; a full one may jump ahead, since it makes the lost ones moot.

    A full one that falls back is a repetition, or an agent that began this session twice because its
    `Registered` came twice. Its numbers then mean other reports than those here, so nothing known may be
    acknowledged.
    """
    if session is None or message.epoch != session.epoch or message.session != session.id:
        return Verdict.FOREIGN
    if message.sequence <= session.accepted:
        return Verdict.RESTARTED if message.full else Verdict.KNOWN
    if not message.full and message.sequence != session.accepted + 1:
        return Verdict.GAP
    session.accepted = message.sequence
    session.open_reports[message.sequence] = len(message.statuses)
    return Verdict.TAKE


def settle(session: Session, sequence: int, pods: int) -> bool:
    """Notes that `pods` of a report are durable. True if there is more to acknowledge than before.

    Reports are acknowledged in order: an early one that is not durable yet holds back later ones.
    """
    session.open_reports[sequence] -= pods
    moved = False
    for number in list(session.open_reports):
        if session.open_reports[number] > 0:
            break
        del session.open_reports[number]
        session.stored = number
        moved = True
    return moved


def desired(
    session: Session,
    items: Sequence[Item],
    removed: Sequence[Removed],
    *,
    full: bool,
    now: float,
) -> list[Desired]:
    """The numbered messages that carry these objects and removals."""
    parts = _parts(items)
    messages = []
    for number, part in enumerate(parts):
        session.sequence += 1
        last = number == len(parts) - 1
        messages.append(
            Desired(
                session=session.id,
                sequence=session.sequence,
                full=full,
                more=full and not last,
                part=number if full else 0,
                set=[item for item in part if not isinstance(item, str)],
                texts=[item for item in part if isinstance(item, str)],
                removed=list(removed) if number == 0 else [],
            )
        )
    if session.lagging_since is None:
        session.lagging_since = now
    return messages


def _parts(items: Sequence[Item]) -> list[list[Object | str]]:
    parts: list[list[Object | str]] = [[]]
    filled = 0
    for obj, size in items:
        if parts[-1] and filled + size > PACKET_BYTES:
            parts.append([])
            filled = 0
        parts[-1].append(obj)
        filled += size
    return parts

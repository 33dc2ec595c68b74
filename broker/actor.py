"""Actors: what a behaviour may do and what its callers see.

An actor is a mailbox, a behaviour, children in order, and a restart policy. It handles one message at a
time. It has no task while its mailbox is empty, so tens of thousands of idle ones cost only their state.

Delivery: messages from one sender arrive in the order they were told. `tell` to a local actor is
exactly-once until the actor stops; what is still in the mailbox then is dropped and counted. `tell` to a
remote one is at-most-once. A pending `ask` is always answered: by the reply, by `AskTimeout`, or by
`ActorStopped`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from broker.chance import Chance
from broker.clock import Clock

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
N = TypeVar("N")


class AskTimeout(Exception):
    """The deadline of an `ask` passed without a reply."""


class ActorStopped(Exception):
    """The asked actor stopped, or never existed."""


class Ref(Protocol[M_contra]):
    """Where messages to one actor go; the caller can't tell whether it is local or remote."""

    @property
    def address(self) -> str:
        """A path such as `node/pods/default/web-1`, for logs."""

    def tell(self, message: M_contra) -> None:
        """Hands the message over. Never blocks and never raises; a full mailbox follows its policy."""

    async def ask(self, message: M_contra, *, timeout_s: float) -> Any:
        """The actor's reply. Raises AskTimeout, ActorStopped, or what the actor failed the reply with."""


class Reply(Protocol):
    """A reply that can be given later, exactly once; a second one is ignored and logged."""

    def send(self, value: Any) -> None: ...

    def fail(self, error: Exception) -> None: ...


class OnFull(Enum):
    """What a full mailbox does."""

    DROP_OLDEST = "drop oldest"
    DROP_NEWEST = "drop newest"
    CRASH = "crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One-for-one supervision: restart with back-off, give up after `limit` crashes in `within_s`."""

    limit: int = 5
    within_s: float = 60.0
    backoff_initial_s: float = 0.1
    backoff_max_s: float = 10.0


HEAL = Restart()
"""The default policy."""

NEVER = Restart(limit=0)
"""The first crash goes straight to the parent."""


class Context(Protocol[M_contra]):
    """What the fabric gives a running actor."""

    @property
    def ref(self) -> Ref[M_contra]: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def chance(self) -> Chance:
        """A stream of this actor's own, forked by its address."""

    @property
    def log(self) -> FilteringBoundLogger: ...

    def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        restart: Restart = HEAL,
        mailbox: int = 10_000,
        on_full: OnFull = OnFull.DROP_OLDEST,
    ) -> Ref[N]:
        """Starts a child. A name is unique among living siblings (ValueError otherwise)."""

    def stop(self, child: Ref[Any]) -> None:
        """Stops a child after the message it is handling; its own children first, newest first."""

    def stop_self(self) -> None: ...

    def after(self, delay_s: float, message: M_contra, *, key: str) -> None:
        """Tells the actor itself `message` in `delay_s` seconds. A timer with the same key is replaced."""

    def cancel(self, key: str) -> None:
        """Forgets the timer with this key, if there is one."""

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside the mailbox. Cancelled when the actor stops; an error crashes the actor."""

    def cancel_run(self, name: str) -> None:
        """Cancels the work started under this name, if it is still running."""

    def reply(self, value: Any) -> None:
        """Answers the `ask` being handled; does nothing for a `tell`."""

    def defer_reply(self) -> Reply:
        """Takes the duty to answer the `ask` being handled; for a `tell` the reply goes nowhere."""


class Actor(ABC, Generic[M]):
    """A behaviour. A restart makes a new instance through the factory: state that must survive a crash
    belongs to the parent or to the store."""

    context: Context[M]
    """Set by the fabric before `started`."""

    async def started(self) -> None:
        """Runs before the first message. An error here is a crash, without `stopped`."""

    @abstractmethod
    async def receive(self, message: M) -> None:
        """Handles one message. An exception is a bug: it crashes the actor."""

    async def stopped(self) -> None:
        """Runs after the last message, also after a crash; children are already stopped."""

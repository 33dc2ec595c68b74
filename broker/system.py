"""The actor system: the root of all actors of a process, and what they share.

Actors at the top are children of a guardian that is never restarted: a crash that nobody below could heal
stops everything and is given to `failed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from broker.actor import HEAL, NEVER, Actor, OnFull, Ref, Restart
from broker.cell import Cell
from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import settled

N = TypeVar("N")


class _Guardian(Actor[None]):
    async def receive(self, message: None) -> None:
        """Nobody has its address."""


class ActorSystem:
    """Owns every actor. Use within a running event loop."""

    def __init__(self, *, clock: Clock, chance: Chance, log: FilteringBoundLogger) -> None:
        self.clock = clock
        self.chance = chance
        self.log = log
        self.context = copy_context()
        """The context variables that all actors start with."""
        self._error: BaseException | None = None
        self._failure: asyncio.Future[None] | None = None
        self._guardian: Cell[None] = Cell(self, None, "", _Guardian, NEVER, 1, OnFull.DROP_NEWEST)

    def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        restart: Restart = HEAL,
        mailbox: int = 10_000,
        on_full: OnFull = OnFull.DROP_OLDEST,
    ) -> Ref[N]:
        """Starts an actor at the top; as `Context.spawn`."""
        return self._guardian.spawn(name, factory, restart=restart, mailbox=mailbox, on_full=on_full)

    def stop_actor(self, ref: Ref[Any]) -> None:
        """Stops an actor at the top; as `Context.stop`."""
        self._guardian.stop(ref)

    async def stop(self) -> None:
        """Stops all actors, newest first, and returns when the last one is gone."""
        self._guardian.begin_stop()
        await self._guardian.stopped_for_good()
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)

    def give_up(self, error: BaseException) -> None:
        """Called by the guardian with a crash that went all the way up."""
        self._error = error
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)

    async def failed(self) -> None:
        """Waits for a crash that went all the way up, and raises it; returns when the system is stopped."""
        if self._error is None:
            if self._failure is None:
                self._failure = asyncio.get_running_loop().create_future()
            await settled(self._failure)
        if self._error is not None:
            raise self._error

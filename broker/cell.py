"""The running side of one actor: its mailbox, children, timers and side work, and what a crash does to them.

A cell is at once the actor's `Context` and its `Ref`; the two Protocols show each caller its own side. It
has a task only while there is something to do: the first message of a burst starts a drain task, which ends
with the mailbox. What an idle actor doesn't need (mailbox, timers, random stream) does not exist.

Life: RUNNING, after a crash BACKING_OFF and RUNNING again with a new instance, then STOPPING, STOPPED.
Releasing, for a restart as for a stop, happens in one order: unanswered asks are failed, children are
stopped (newest first, each one waited for), side work is cancelled (newest first), timers are dropped, then
`stopped` runs. A message being handled is finished first when an actor is stopped, within
`STOP_GRACE_S`; it is interrupted when side work or a child crashes the actor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from structlog.typing import FilteringBoundLogger

from broker.actor import HEAL, Actor, Context, OnFull, Ref, Reply, Restart
from broker.cause import current_cause, resume_cause
from broker.chance import Chance
from broker.clock import Clock
from broker.reply import NO_REPLY, PendingReply
from broker.supervision import end_task, settled, start_task

if TYPE_CHECKING:
    from broker.system import ActorSystem

M = TypeVar("M")
N = TypeVar("N")

BURST = 128
"""Messages handled without giving the event loop a turn."""

STOP_GRACE_S = 5.0
"""How long a stopped actor may finish its message, and then its `stopped`, before it is interrupted."""


class MailboxFull(Exception):
    """The crash of an actor that was spawned with `OnFull.CRASH`."""


class State(Enum):
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    STOPPED = "stopped"


_Item = tuple[Any, PendingReply | None, str]
"""A message, who waits for the answer, and the cause."""


class Cell(Generic[M]):
    """One actor's run time."""

    __slots__ = (
        "_actor",
        "_capacity",
        "_chance",
        "_children",
        "_crashes",
        "_deferred",
        "_error",
        "_factory",
        "_handling",
        "_leaving",
        "_log",
        "_mailbox",
        "_on_full",
        "_parent",
        "_releasing",
        "_reply",
        "_restart",
        "_runs",
        "_state",
        "_system",
        "_task",
        "_timers",
        "_wait",
        "_waiter",
        "address",
        "dropped",
        "name",
    )

    def __init__(
        self,
        system: ActorSystem,
        parent: Cell[Any] | None,
        name: str,
        factory: Callable[[], Actor[M]],
        restart: Restart,
        mailbox: int,
        on_full: OnFull,
    ) -> None:
        self.name = name
        self.address: str = f"{parent.address}/{name}" if parent is not None and parent.address else name
        self.dropped = 0
        self._system = system
        self._parent = parent
        self._factory = factory
        self._restart = restart
        self._capacity = mailbox
        self._on_full = on_full
        self._state = State.RUNNING
        self._actor: Actor[M] | None = None
        self._error: BaseException | None = None
        self._handling = False
        self._releasing = False
        self._task: asyncio.Task[None] | None = None
        self._reply: PendingReply | None = None
        self._wait: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._mailbox: deque[_Item] | None = None
        self._children: dict[str, Cell[Any]] | None = None
        self._leaving: dict[Cell[Any], None] | None = None
        self._timers: dict[str, asyncio.TimerHandle] | None = None
        self._runs: dict[asyncio.Task[None], str] | None = None
        self._deferred: dict[PendingReply, None] | None = None
        self._crashes: list[float] | None = None
        self._chance: Chance | None = None
        self._log: FilteringBoundLogger | None = None

    # --- the Ref

    def tell(self, message: M) -> None:
        self._deliver(message, None, current_cause())

    async def ask(self, message: M, *, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        reply = PendingReply(self.address, self._system.log, loop.create_future())
        deadline = loop.call_later(timeout_s, reply.expire, timeout_s)
        self._deliver(message, reply, current_cause())
        try:
            return await reply.future
        finally:
            deadline.cancel()

    def _deliver(self, message: M, reply: PendingReply | None, cause: str) -> None:
        if self._state is State.STOPPING or self._state is State.STOPPED:
            self.dropped += 1
            if reply is not None:
                reply.give_up(f"{self.address} is stopped")
            return
        mailbox = self._mailbox
        if mailbox is None:
            mailbox = self._mailbox = deque()
        elif len(mailbox) >= self._capacity and not self._make_room(mailbox):
            return
        mailbox.append((message, reply, cause))
        if self._task is None and self._state is State.RUNNING:
            self.wake(cause)

    def _make_room(self, mailbox: deque[_Item]) -> bool:
        """What the full mailbox does; whether the new message may come in. A dropped ask times out."""
        self.dropped += 1
        if (
            self.dropped & (self.dropped - 1) == 0
        ):  # the 1st, 2nd, 4th, 8th, …: a flood must not flood the log
            self.log.warning("mailbox full", policy=self._on_full.value, dropped=self.dropped)
        if self._on_full is OnFull.DROP_OLDEST:
            mailbox.popleft()
            return True
        if self._on_full is OnFull.CRASH:
            self.fail(MailboxFull(f"{self.address} has {len(mailbox)} messages waiting"))
        return False

    # --- the Context

    @property
    def ref(self) -> Ref[M]:
        return self

    @property
    def clock(self) -> Clock:
        return self._system.clock

    @property
    def chance(self) -> Chance:
        if self._chance is None:
            self._chance = self._system.chance.fork(self.address)
        return self._chance

    @property
    def log(self) -> FilteringBoundLogger:
        if self._log is None:
            self._log = self._system.log.bind(actor=self.address)
        return self._log

    def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        restart: Restart = HEAL,
        mailbox: int = 10_000,
        on_full: OnFull = OnFull.DROP_OLDEST,
    ) -> Ref[N]:
        self._refuse_when_stopping(f"spawn {name}")
        if self._children is None:
            self._children = {}
        if name in self._children:
            raise ValueError(f"{self.address or 'the actor system'} already has a child named {name!r}")
        child = Cell(self._system, self, name, factory, restart, mailbox, on_full)
        self._children[name] = child
        child.wake(current_cause())
        return child

    def stop(self, child: Ref[Any]) -> None:
        if not isinstance(child, Cell) or child._parent is not self:
            raise ValueError(f"{child.address} is not a child of {self.address or 'the actor system'}")
        child.begin_stop()

    def stop_self(self) -> None:
        self.begin_stop()

    def after(self, delay_s: float, message: M, *, key: str) -> None:
        if self._releasing or self._state is State.STOPPED:
            return
        if self._timers is None:
            self._timers = {}
        else:
            self.cancel(key)
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self._ring, key, message)

    def _ring(self, key: str, message: M) -> None:
        if self._timers is not None:
            self._timers.pop(key, None)
        self._deliver(message, None, f"t-{self.address}/{key}")

    def cancel(self, key: str) -> None:
        timer = self._timers.pop(key, None) if self._timers is not None else None
        if timer is not None:
            timer.cancel()

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if self._releasing or self._state is State.STOPPED:
            work.close()
        self._refuse_when_stopping(f"run {name}")
        if self._runs is None:
            self._runs = {}
        if name in self._runs.values():
            work.close()
            raise ValueError(f"{self.address} already runs {name!r}")
        task = start_task(f"{self.address}:{name}", work)
        self._runs[task] = name
        task.add_done_callback(self._run_ended)

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        if self._runs is not None:
            self._runs.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def cancel_run(self, name: str) -> None:
        for task, its_name in (self._runs or {}).items():
            if its_name == name and self._runs is not None:
                self._runs[task] = ""  # still waited for at a stop, but the name is free again
                task.cancel()
                return

    def reply(self, value: Any) -> None:
        if self._reply is not None:
            self._reply.send(value)

    def defer_reply(self) -> Reply:
        reply, self._reply = self._reply, None
        if reply is None:
            return NO_REPLY
        if self._deferred is None:
            self._deferred = {}
        deferred = self._deferred
        deferred[reply] = None
        reply.future.add_done_callback(lambda _: deferred.pop(reply, None))
        return reply

    def _refuse_when_stopping(self, what: str) -> None:
        if self._releasing or self._state is State.STOPPED:
            raise RuntimeError(f"{self.address or 'the actor system'} can't {what}: it is stopping")

    # --- handling messages

    def wake(self, cause: str) -> None:
        """Starts the drain task. It has the system's context variables, not those of whoever told."""
        self._task = start_task(self.address, self._drain(cause), context=self._system.context.copy())

    async def _drain(self, cause: str) -> None:
        resume_cause(cause)
        self._handling = True
        try:
            await self._handle()
        except asyncio.CancelledError:
            self._interrupted()
        except Exception as error:  # noqa: BLE001 (the actor loop: a bug crashes this actor, and only it)
            self._error = self._error or error
        self._handling = False
        if self._error is not None and self._state is State.RUNNING:
            await self._recover(self._error)
        elif self._error is not None:
            self.log.error("error while stopping", exc_info=self._error)
        if self._state is State.STOPPING:
            await self._tear_down()
        self._task = None

    async def _handle(self) -> None:
        if self._actor is None and self._error is None and self._state is State.RUNNING:
            actor = self._factory()
            actor.context = self
            await actor.started()
            self._actor = actor
        handled = 0
        while (
            self._mailbox and self._state is State.RUNNING and self._error is None and self._actor is not None
        ):
            message, self._reply, cause = self._mailbox.popleft()
            resume_cause(cause)
            await self._actor.receive(message)
            if self._state is State.RUNNING:  # otherwise the release answers it
                self._reply = None
            handled += 1
            if handled % BURST == 0:
                await asyncio.sleep(0)
        if not self._mailbox:
            self._mailbox = None

    def _interrupted(self) -> None:
        """The drain task was cancelled: by `fail`, by the end of a grace, or by a loop that is closing."""
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        if self._error is None:
            self.begin_stop()

    # --- crashing and stopping

    def fail(self, error: BaseException) -> None:
        """Crashes the actor for an error outside its mailbox: of side work, or of a child that gave up."""
        if self._state is not State.RUNNING or self._releasing:
            self.log.error("error while stopping", exc_info=error)
            return
        if self._error is None:
            self._error = error
        if self._task is None:
            self.wake(current_cause())
        elif self._handling and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _recover(self, error: BaseException) -> None:
        self.log.error("actor crashed", exc_info=error)
        await self._release(f"{self.address} crashed: {error!r}")
        self._error = None
        if self._state is not State.RUNNING:
            return
        now = self.clock.monotonic()
        recent = [at for at in self._crashes or () if now - at <= self._restart.within_s]
        self._crashes = [*recent, now]
        if len(recent) >= self._restart.limit:
            self._escalate(error)
            return
        self._state = State.BACKING_OFF
        delay_s = min(self._restart.backoff_initial_s * 2 ** len(recent), self._restart.backoff_max_s)
        self._wait = asyncio.get_running_loop().call_later(delay_s, self._restart_now)

    def _restart_now(self) -> None:
        self._wait = None
        self._state = State.RUNNING
        self.log.info("actor restarted", crashes=len(self._crashes or ()))
        self.wake(current_cause())

    def _escalate(self, error: BaseException) -> None:
        self.begin_stop()
        if self._parent is None:
            self._system.give_up(error)
        else:
            self._parent.fail(error)

    def begin_stop(self) -> None:
        """Starts the stop, once; `stopped_for_good` waits for it."""
        if self._state is State.STOPPING or self._state is State.STOPPED:
            return
        self._state = State.STOPPING
        if self._parent is not None:
            self._parent.child_leaves(self)
        if self._wait is not None:
            self._wait.cancel()
        self._reject_mailbox()
        if self._task is None:
            self.wake(current_cause())
        elif self._handling:
            self._wait = asyncio.get_running_loop().call_later(STOP_GRACE_S, self._interrupt)

    def _interrupt(self) -> None:
        if self._handling and self._task is not None:
            self.log.warning("interrupted: it did not finish its message in time", grace_s=STOP_GRACE_S)
            self._task.cancel()

    def child_leaves(self, child: Cell[Any]) -> None:
        """A stopping child's name is free again; the child itself is still waited for."""
        if self._children is not None and self._children.get(child.name) is child:
            del self._children[child.name]
        if self._leaving is None:
            self._leaving = {}
        self._leaving[child] = None

    async def stopped_for_good(self) -> None:
        if self._state is not State.STOPPED:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await settled(self._waiter)

    async def _tear_down(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
        await self._release(f"{self.address} is stopped")
        self._state = State.STOPPED
        if self._parent is not None and self._parent._leaving is not None:
            self._parent._leaving.pop(self, None)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _reject_mailbox(self) -> None:
        for _, reply, _ in self._mailbox or ():
            self.dropped += 1
            if reply is not None:
                reply.give_up(f"{self.address} is stopped")
        self._mailbox = None

    async def _release(self, why: str) -> None:
        """Lets go of everything the present instance has."""
        self._releasing = True
        self._fail_unanswered(why)
        while self._children:
            next(reversed(self._children.values())).begin_stop()
            await self._leavers_gone()
        await self._leavers_gone()
        while self._runs:
            await end_task(next(reversed(self._runs)))
            await asyncio.sleep(0)  # its done-callback takes it out
        for timer in (self._timers or {}).values():
            timer.cancel()
        self._timers = None
        actor, self._actor = self._actor, None
        if actor is not None:
            await self._run_stopped_hook(actor)
        self._releasing = False

    def _fail_unanswered(self, why: str) -> None:
        if self._reply is not None:
            self._reply.give_up(why)
            self._reply = None
        for reply in list(self._deferred or ()):
            reply.give_up(why)
        self._deferred = None

    async def _leavers_gone(self) -> None:
        while self._leaving:
            await next(reversed(self._leaving)).stopped_for_good()

    async def _run_stopped_hook(self, actor: Actor[M]) -> None:
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await actor.stopped()
        except Exception as error:
            self.log.error("error in stopped()", exc_info=error)


def _is_context(cell: Cell[M]) -> Context[M]:
    """Lets the type checker compare the two."""
    return cell

"""Actors: order, asks, timers, side work, crashes, stops; all on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import structlog

from broker.actor import NEVER, Actor, ActorStopped, AskTimeout, OnFull, Ref, Reply, Restart
from broker.cause import caused_by, current_cause
from broker.chance import Chance
from broker.clock import LoopClock
from broker.system import ActorSystem
from broker.virtualtime import run_virtual

Body = Callable[[ActorSystem], Coroutine[Any, Any, None]]


def simulate(body: Body) -> None:
    """Runs `body` with an actor system on virtual time, and stops the system afterwards."""

    async def main() -> None:
        system = ActorSystem(
            clock=LoopClock(asyncio.get_running_loop()), chance=Chance(1), log=structlog.get_logger()
        )
        try:
            await body(system)
        finally:
            await system.stop()

    run_virtual(main())


def now() -> float:
    return asyncio.get_running_loop().time()


class Diary(Actor[Any]):
    """Writes down what happens to it; messages tell it what to do."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries

    async def started(self) -> None:
        self.entries.append("started")

    async def stopped(self) -> None:
        self.entries.append("stopped")

    async def receive(self, message: Any) -> None:
        match message:
            case "crash":
                raise ValueError("told to")
            case "echo":
                self.context.reply("echo")
            case ("sleep", seconds):
                await asyncio.sleep(seconds)
                self.entries.append("slept")
            case ("do", action):
                result = action(self.context)
                if asyncio.iscoroutine(result):
                    await result
            case _:
                self.entries.append(message)


def diary(system: ActorSystem, name: str = "diary", **options: Any) -> tuple[Ref[Any], list[Any]]:
    entries: list[Any] = []
    return system.spawn(name, lambda: Diary(entries), **options), entries


class TestMessages:
    def test_arrive_in_order_once_after_started(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            for number in range(1000):
                ref.tell(number)
            await ref.ask("echo", timeout_s=1)
            assert entries == ["started", *range(1000)]

        simulate(body)

    def test_carry_their_cause_and_not_their_senders_other_context(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            note = ("do", lambda _: entries.append(current_cause()))
            with caused_by("r-1"):
                ref.tell(note)
            with caused_by("r-2"):
                ref.tell(note)
            ref.tell(note)
            await ref.ask("echo", timeout_s=1)
            assert entries == ["started", "r-1", "r-2", ""]

        simulate(body)

    def test_a_busy_actor_leaves_turns_to_others(self) -> None:
        """10,000 messages do not hold up another actor's single one."""

        async def body(system: ActorSystem) -> None:
            busy, entries = diary(system, "busy")
            quick, _ = diary(system, "quick")
            for number in range(10_000):
                busy.tell(number)
            await quick.ask("echo", timeout_s=1)
            assert len(entries) < 1000

        simulate(body)

    @pytest.mark.parametrize(
        ("policy", "kept"),
        [(OnFull.DROP_OLDEST, [7, 8, 9]), (OnFull.DROP_NEWEST, [0, 1, 2])],
        ids=["oldest", "newest"],
    )
    def test_a_full_mailbox_drops(self, policy: OnFull, kept: list[int]) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system, mailbox=3, on_full=policy)
            for number in range(10):
                ref.tell(number)
            await asyncio.sleep(1)
            assert entries == ["started", *kept]

        simulate(body)

    def test_a_full_mailbox_may_crash_the_actor(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system, mailbox=1, on_full=OnFull.CRASH)
            ref.tell(1)
            ref.tell(2)
            await asyncio.sleep(1)
            assert entries == ["started", 1]

        simulate(body)


class TestAsk:
    def test_times_out_at_its_deadline(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            with pytest.raises(AskTimeout, match=r"diary did not reply in 3"):
                await ref.ask("no answer", timeout_s=3)
            assert now() == 3

        simulate(body)

    @pytest.mark.parametrize("waiting_in", ["mailbox", "deferred", "handling"])
    def test_is_answered_when_the_actor_stops(self, waiting_in: str) -> None:
        """Well before the asker's own deadline of 60 s."""

        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            match waiting_in:
                case "mailbox":
                    ref.tell(("sleep", 2))
                    question: Any = "echo"
                case "deferred":
                    question = ("do", lambda context: context.defer_reply() and None)
                case _:
                    question = ("sleep", 2)
            asyncio.get_running_loop().call_later(1, system.stop_actor, ref)
            with pytest.raises(ActorStopped):
                await ref.ask(question, timeout_s=60)
            assert now() <= 2

        simulate(body)

    def test_of_a_stopped_actor_fails_at_once(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            system.stop_actor(ref)
            with pytest.raises(ActorStopped):
                await ref.ask("echo", timeout_s=60)

        simulate(body)

    def test_is_answered_when_the_actor_crashes_over_it(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            with pytest.raises(ActorStopped, match="told to"):
                await ref.ask("crash", timeout_s=60)

        simulate(body)

    def test_can_be_answered_later_and_only_once(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            replies: list[Reply] = []
            loop = asyncio.get_running_loop()
            loop.call_later(5, lambda: (replies[0].send("late"), replies[0].send("again")))
            answer = await ref.ask(
                ("do", lambda context: replies.append(context.defer_reply())), timeout_s=60
            )
            assert (answer, now()) == ("late", 5)

        simulate(body)

    def test_raises_what_the_actor_failed_it_with(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system)
            with pytest.raises(LookupError, match="nothing there"):
                await ref.ask(
                    ("do", lambda context: context.defer_reply().fail(LookupError("nothing there"))),
                    timeout_s=1,
                )

        simulate(body)


class TestTimers:
    def test_come_as_messages_at_their_time_caused_by_themselves(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            ring = ("do", lambda _: entries.append((now(), current_cause())))
            ref.tell(("do", lambda context: context.after(2.5, ring, key="k")))
            await asyncio.sleep(10)
            assert entries == ["started", (2.5, "t-diary/k")]

        simulate(body)

    def test_with_the_same_key_replace_each_other_and_can_be_cancelled(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            ref.tell(("do", lambda context: context.after(1, "first", key="k")))
            ref.tell(("do", lambda context: context.after(2, "second", key="k")))
            ref.tell(("do", lambda context: context.after(3, "other", key="x")))
            ref.tell(("do", lambda context: context.cancel("x")))
            await asyncio.sleep(10)
            assert entries == ["started", "second"]

        simulate(body)


class TestCrash:
    def test_restarts_with_a_new_instance_after_a_growing_back_off(self) -> None:
        """0.1 s, 0.2 s, 0.4 s: the messages that wait meanwhile are kept."""

        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            for number in range(3):
                ref.tell("crash")
                ref.tell(number)
            ref.tell(("do", lambda _: entries.append(now())))
            await asyncio.sleep(5)
            assert entries == [
                *("started", "stopped", "started", 0, "stopped", "started", 1, "stopped", "started", 2),
                pytest.approx(0.7),
            ]

        simulate(body)

    def test_over_the_limit_goes_to_the_parent_whose_restart_makes_everything_new(self) -> None:
        async def body(system: ActorSystem) -> None:
            entries: list[str] = []

            class Parent(Actor[str]):
                async def started(self) -> None:
                    entries.append("parent started")
                    self.child = self.context.spawn("child", lambda: Diary(entries), restart=Restart(limit=1))

                async def receive(self, message: str) -> None:
                    self.child.tell(message)

                async def stopped(self) -> None:
                    entries.append("parent stopped")

            parent = system.spawn("parent", Parent)
            parent.tell("crash")
            parent.tell("crash")
            await asyncio.sleep(5)
            one_child = ["started", "stopped"]
            assert entries == [
                "parent started",
                *one_child * 2,
                "parent stopped",
                "parent started",
                "started",
            ]

        simulate(body)

    def test_crashes_far_apart_never_add_up(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system, restart=Restart(limit=1, within_s=60))
            for _ in range(5):
                ref.tell("crash")
                await asyncio.sleep(61)
            assert entries.count("started") == 6

        simulate(body)

    def test_that_nobody_heals_stops_the_system_and_is_raised(self) -> None:
        async def body(system: ActorSystem) -> None:
            other, entries = diary(system, "other")
            ref, _ = diary(system, restart=NEVER)
            await other.ask("echo", timeout_s=1)
            ref.tell("crash")
            with pytest.raises(ValueError, match="told to"):
                await system.failed()
            await system.stop()
            assert entries == ["started", "stopped"]

        simulate(body)

    def test_of_side_work_interrupts_the_message_being_handled(self) -> None:
        async def body(system: ActorSystem) -> None:
            async def broken() -> None:
                await asyncio.sleep(1)
                raise RuntimeError("side work")

            ref, entries = diary(system)
            ref.tell(("do", lambda context: context.run("work", broken())))
            ref.tell(("sleep", 1000))
            await asyncio.sleep(2)
            assert entries == ["started", "stopped", "started"]

        simulate(body)

    def test_in_started_counts_too(self) -> None:
        async def body(system: ActorSystem) -> None:
            class Stillborn(Actor[None]):
                async def started(self) -> None:
                    raise OSError("no")

                async def receive(self, message: None) -> None:
                    raise AssertionError("never runs")

            system.spawn("stillborn", Stillborn, restart=Restart(limit=2))
            with pytest.raises(OSError, match="no"):
                await system.failed()
            assert now() == pytest.approx(0.3)

        simulate(body)


class TestStop:
    def test_finishes_the_message_then_children_newest_first_then_side_work_then_itself(self) -> None:
        async def body(system: ActorSystem) -> None:
            entries: list[str] = []

            class Named(Actor[None]):
                def __init__(self, name: str) -> None:
                    self.name = name

                async def started(self) -> None:
                    for child in ("a", "b"):
                        if len(self.name) < 3:
                            self.context.spawn(child, lambda child=child: Named(self.name + child))

                async def receive(self, message: None) -> None: ...

                async def stopped(self) -> None:
                    entries.append(self.name)

            async def work() -> None:
                try:
                    await asyncio.sleep(1000)
                finally:
                    entries.append("work")

            def prepare(context: Any) -> None:
                context.spawn("a", lambda: Named("a"))
                context.spawn("b", lambda: Named("b"))
                context.run("work", work())

            ref = system.spawn("top", lambda: Diary(entries))
            ref.tell(("do", prepare))
            ref.tell(("sleep", 3))
            ref.tell("never handled")
            await asyncio.sleep(1)
            await system.stop()
            b_tree = ["bbb", "bba", "bb", "bab", "baa", "ba", "b"]
            a_tree = ["abb", "aba", "ab", "aab", "aaa", "aa", "a"]
            assert entries == ["started", "slept", *b_tree, *a_tree, "work", "stopped"]
            assert now() == 3

        simulate(body)

    def test_interrupts_a_message_that_takes_too_long(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)
            ref.tell(("sleep", 1000))
            await asyncio.sleep(1)
            await system.stop()
            assert (entries, now()) == (["started", "stopped"], 6)

        simulate(body)

    def test_frees_the_name_at_once(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system, "n")
            with pytest.raises(ValueError, match="already"):
                diary(system, "n")
            ref.tell(("sleep", 2))
            await asyncio.sleep(1)
            system.stop_actor(ref)
            again, entries = diary(system, "n")
            await again.ask("echo", timeout_s=1)
            assert entries == ["started"]

        simulate(body)

    def test_during_back_off_does_not_wait_for_it(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, _ = diary(system, restart=Restart(backoff_initial_s=100, backoff_max_s=100))
            ref.tell("crash")
            await asyncio.sleep(1)
            await system.stop()
            assert now() == 1

        simulate(body)

    def test_cancelled_side_work_frees_its_name_and_crashes_nobody(self) -> None:
        async def body(system: ActorSystem) -> None:
            ref, entries = diary(system)

            def action(context: Any) -> None:
                context.run("work", asyncio.sleep(1000))
                context.cancel_run("work")
                context.run("work", asyncio.sleep(1000))

            ref.tell(("do", action))
            await asyncio.sleep(1)
            assert entries == ["started"]

        simulate(body)

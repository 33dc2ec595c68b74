"""Load through a Service, as a scenario's step: what its users saw, counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from service_objects import make_service

from agents import http
from agents.memorynetwork import MemoryNetwork
from broker.chance import Chance
from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api.objects import Object
from cluster.api.resource import Resource
from scenarios import steps
from scenarios.document import Comparison, Seconds
from scenarios.load import Outcome, Traffic, TrafficError, complaints

IP = "127.200.0.1"
Answer = Callable[[http.Request], Awaitable[http.Response | None]]


class Client:
    """Knows one Service."""

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        return make_service(name, clusterIP=IP)


def play(answer: Answer, story: Callable[[Traffic], Awaitable[None]]) -> None:
    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        await network.attach(IP)
        listener = await network.listen(IP, 80, lambda r, w: http.serve(r, w, answer))
        client: Any = Client()
        traffic = Traffic(client, network, LoopClock(asyncio.get_running_loop()))
        await story(traffic)
        await traffic.close()
        await listener.close()
        await network.close()

    run_virtual(main())


def test_requests_leave_at_their_rate_and_every_failure_is_counted() -> None:
    """In ten seconds 20 per second are 200 requests; every fourth is answered with an error, one hangs."""
    count = 0

    async def answer(request: http.Request) -> http.Response:
        nonlocal count
        count += 1
        if count == 10:
            await asyncio.sleep(60)
        return http.Response(status=503 if count % 4 == 0 else 200, body=b"v1")

    async def story(traffic: Traffic) -> None:
        await traffic.start(steps.Load(service="web", rate=20))
        await asyncio.sleep(9.99)
        outcome = await traffic.end("web")
        assert outcome.requests == 200
        assert outcome.failures == Counter({"HTTP 503": 50, "timed out": 1})
        assert outcome.answers_with("v1") == 149
        assert 0 < outcome.quantile(0.5) < 0.02

    play(answer, story)


def test_a_load_needs_a_first_answer() -> None:
    async def answer(request: http.Request) -> http.Response:
        return http.Response(status=500)

    async def story(traffic: Traffic) -> None:
        with pytest.raises(TrafficError, match=r"no good answer from 127.200.0.1:80 in 10 s: HTTP 500"):
            await traffic.start(steps.Load(service="web"))
        with pytest.raises(TrafficError, match="there is no load 'web'; running: none"):
            await traffic.end("web")

    play(answer, story)


OUTCOME = Outcome(
    requests=10,
    failures=Counter({"timed out": 2}),
    bodies=Counter({"pod v1": 5, "pod v2": 3}),
    latencies_s=[0.001] * 7 + [0.5],
)
REPORTS = {
    "as wanted": (steps.Report(load="w", failures=Comparison("<=", 2), requests=Comparison("==", 10)), []),
    "failures": (steps.Report(load="w", failures=Comparison("==", 0)), ["2 failures, expected 0"]),
    "requests": (steps.Report(load="w", requests=Comparison(">", 10)), ["10 requests, expected > 10"]),
    "answers": (
        steps.Report(load="w", answers={"v1": Comparison("==", 5), "v2": Comparison("==", 0)}),
        ["'v2' in 3 answers, expected 0"],
    ),
    "slow": (steps.Report(load="w", p99=Seconds(0.1)), ["p99 0.5 s, expected at most 0.1 s"]),
}


@pytest.mark.parametrize("case", list(REPORTS))
def test_a_report_names_what_is_not_as_wanted(case: str) -> None:
    wanted, wrong = REPORTS[case]
    assert complaints(OUTCOME, wanted) == wrong


def test_an_outcome_in_words() -> None:
    assert (
        str(OUTCOME) == "10 requests, 2 failures (2 timed out); median 1.0 ms, p99 500.0 ms, slowest 500.0 ms"
    )

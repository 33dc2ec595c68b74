"""Load through a Service, as a scenario's step: what its users saw, counted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from service_objects import make_service

from agents import http
from agents.loopback import LoopbackNetwork
from agents.memorynetwork import MemoryNetwork
from broker.chance import Chance
from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api.objects import Object
from cluster.api.resource import Resource
from scenarios import load, sender, steps
from scenarios.document import Comparison, Seconds
from scenarios.load import NetworkSender, Outcome, Traffic, TrafficError, complaints

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
        sender = NetworkSender(network, LoopClock(asyncio.get_running_loop()))
        traffic = Traffic(client, sender)
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


async def test_a_load_is_sent_by_another_process() -> None:
    """As in a node's container: it starts, is told to end, and its outcome comes back whole."""

    async def answer(request: http.Request) -> http.Response:
        return http.Response(status=200, body=request.header("host").encode())

    network = LoopbackNetwork()
    ip, port = f"127.234.{os.getpid() % 250}.1", 18580
    listener = await network.listen(ip, port, lambda r, w: http.serve(r, w, answer))
    wanted = steps.Load(service="web", host="a.example", timeout=Seconds(5.0))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scenarios.sender", sender.encoded(wanted, ip, port),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert json.loads(await process.stdout.readline()) == {"started": True}
        await asyncio.sleep(0.1)
        out, _ = await process.communicate(b"end\n")
    outcome = Outcome.decoded(json.loads(out)["outcome"])
    assert outcome.requests == outcome.answers_with("a.example") > 0
    assert len(outcome.latencies_s) == outcome.requests
    await listener.close()


async def test_another_process_says_why_it_can_not_send(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(sender, "_say", lambda **what: said.append(what))
    monkeypatch.setattr(load, "FIRST_ANSWER_S", 0.0)
    await sender.send(sender.encoded(steps.Load(service="web"), "127.234.255.1", 18581))
    assert said == [{"error": "no good answer from 127.234.255.1:18581 in 0 s: connection refused"}]

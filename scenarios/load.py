"""Constant load through a Service, and what its users saw.

Open-loop: requests leave at their rate whether or not earlier ones were answered, as users come without
waiting for each other; a closed loop would slow down exactly when the service does and hide the outage.
Each request has a connection of its own, so that each is a new choice of an endpoint. Requests still under
way when too many are (`MAX_UNDER_WAY`) count as failures and are not sent.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents import http
from agents.network import Network
from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.objects import Object
from scenarios import steps

FIRST_ANSWER_S = 10.0
POLL_S = 0.1
MAX_UNDER_WAY = 2000
MAX_BODIES = 2000
"""Different answers that are told apart."""


class TrafficError(Exception):
    """There is no way to send this load, or none of this name."""


@dataclass(slots=True)
class Outcome:
    """What a load's users saw."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    """Of the answers that count as good."""

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def quantile(self, share: float) -> float:
        """Seconds; 0 where nothing was answered."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0

    def answers_with(self, text: str) -> int:
        return sum(count for body, count in self.bodies.items() if text in body)

    def encoded(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "requests": self.requests,
            "failures": dict(self.failures),
            "bodies": dict(self.bodies),
            "latencies_s": [round(latency, 6) for latency in self.latencies_s],
        }

    @classmethod
    def decoded(cls, given: dict[str, Any]) -> Outcome:
        counted = {name: Counter[str](given[name]) for name in ("failures", "bodies")}
        return cls(requests=given["requests"], latencies_s=given["latencies_s"], **counted)

    def __str__(self) -> str:
        why = ", ".join(f"{count} {reason}" for reason, count in self.failures.most_common(4))
        times = ", ".join(f"{name} {self.quantile(share) * 1000:.1f} ms" for name, share in QUANTILES)
        return f"{self.requests} requests, {self.failed} failures{f' ({why})' if why else ''}; {times}"


QUANTILES = (("median", 0.5), ("p99", 0.99), ("slowest", 1.0))


def complaints(outcome: Outcome, wanted: steps.Report) -> list[str]:
    """What is not as wanted."""
    wrong = []
    if wanted.failures is not None and not wanted.failures.holds(outcome.failed):
        wrong.append(f"{outcome.failed} failures, expected {wanted.failures}")
    if wanted.requests is not None and not wanted.requests.holds(outcome.requests):
        wrong.append(f"{outcome.requests} requests, expected {wanted.requests}")
    if wanted.p99 is not None and outcome.quantile(0.99) > wanted.p99:
        wrong.append(f"p99 {outcome.quantile(0.99):g} s, expected at most {wanted.p99:g} s")
    for text, count in wanted.answers.items():
        seen = outcome.answers_with(text)
        if not count.holds(seen):
            wrong.append(f"{text!r} in {seen} answers, expected {count}")
    return wrong


class Running(Protocol):
    """A load that is being sent."""

    async def end(self) -> Outcome:
        """Stops it and waits for the last answers. Raises TrafficError."""


class Sender(Protocol):
    """Sends loads from somewhere where the cluster's addresses can be reached."""

    async def send(self, wanted: steps.Load, ip: str, port: int) -> Running:
        """Returns once the first answer came. Raises TrafficError."""

    async def close(self) -> None:
        """Breaks off what still runs."""


class Traffic:
    """The loads of one scenario, by name. `sender`: None where there is none."""

    def __init__(self, client: ApiClient, sender: Sender | None) -> None:
        self._client = client
        self._sender = sender
        self._loads: dict[str, Running] = {}

    async def start(self, wanted: steps.Load) -> str:
        """Returns once the first answer came. Raises TrafficError, ApiError."""
        name = wanted.name or wanted.service
        if self._sender is None:
            raise TrafficError("the cluster's Services can't be reached from here")
        if name in self._loads:
            raise TrafficError(f"load {name!r} runs already")
        service = await self._client.get(kinds.SERVICES, wanted.service, namespace=wanted.namespace)
        ip, port = await self._target(service, wanted)
        self._loads[name] = await self._sender.send(wanted, ip, port)
        return f"load on {ip}:{port}"

    async def end(self, name: str) -> Outcome:
        """Stops the load and waits for the last answers."""
        if name not in self._loads:
            known = ", ".join(self._loads) or "none"
            raise TrafficError(f"there is no load {name!r}; running: {known}")
        return await self._loads.pop(name).end()

    async def close(self) -> None:
        self._loads.clear()
        if self._sender is not None:
            await self._sender.close()

    async def _target(self, service: Object, wanted: steps.Load) -> tuple[str, int]:
        ports = service["spec"].get("ports") or []
        chosen = [p for p in ports if wanted.port in ("", p.get("name"), str(p["port"]))]
        if not chosen:
            raise TrafficError(f"service/{wanted.service} has no port {wanted.port!r}")
        port = chosen[0]
        match wanted.via:
            case "node-port":
                nodes = (await self._client.list(kinds.NODES)).items
                addresses = [a for node in nodes for a in node["status"].get("addresses", ())]
                ip = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "")
                number = port.get("nodePort", 0)
            case "load-balancer":
                ip, number = _balancer(service), port["port"]
            case "ingress":
                ingresses = (await self._client.list(kinds.INGRESSES, namespace=wanted.namespace)).items
                ip = next((found for found in map(_balancer, ingresses) if found), "")
                number = 80
            case _:
                ip, number = service["spec"].get("clusterIP", ""), port["port"]
        if ip in ("", "None") or not number:
            raise TrafficError(f"service/{wanted.service} can't be reached by {wanted.via}")
        return ip, number


def _balancer(obj: Object) -> str:
    entries = (obj.get("status") or {}).get("loadBalancer", {}).get("ingress") or [{}]
    address: str = entries[0].get("ip", "")
    return address


class NetworkSender:
    """Sends from this process."""

    def __init__(self, network: Network, clock: Clock) -> None:
        self._network = network
        self._clock = clock
        self._tasks = Tasks()

    async def send(self, wanted: steps.Load, ip: str, port: int) -> Running:
        load = _Load(wanted, ip, port, self._network, self._clock, self._tasks)
        await load.start()
        return load

    async def close(self) -> None:
        await self._tasks.close()


class _Load:
    def __init__(
        self, wanted: steps.Load, ip: str, port: int, network: Network, clock: Clock, tasks: Tasks
    ) -> None:
        self._wanted = wanted
        self._address = (ip, port)
        self._network = network
        self._clock = clock
        self._tasks = tasks
        self._under_way = 0
        self._idle: asyncio.Future[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._request = http.Request(
            method="GET",
            target=wanted.path,
            headers=[("Host", wanted.host or wanted.service), ("User-Agent", "kubemu-load")],
        )
        self._outcome = Outcome()

    async def start(self) -> None:
        await self._first_answer()
        self._sending = self._tasks.start(f"load {self._wanted.name or self._wanted.service}", self._run())

    async def end(self) -> Outcome:
        if self._sending is not None:
            self._sending.cancel()
        if self._under_way:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        return self._outcome

    async def _first_answer(self) -> None:
        deadline = self._clock.monotonic() + FIRST_ANSWER_S
        while reason := (await self._fetch())[0]:
            if self._clock.monotonic() >= deadline:
                ip, port = self._address
                raise TrafficError(f"no good answer from {ip}:{port} in {FIRST_ANSWER_S:g} s: {reason}")
            await asyncio.sleep(POLL_S)

    async def _run(self) -> None:
        started = self._clock.monotonic()
        number = 0
        while True:
            due = started + number / self._wanted.rate
            await asyncio.sleep(max(due - self._clock.monotonic(), 0.0))
            number += 1
            self._outcome.requests += 1
            if self._under_way >= MAX_UNDER_WAY:
                self._outcome.failures["not sent, too many under way"] += 1
                continue
            self._under_way += 1
            self._tasks.start(f"request {number}", self._one())

    async def _one(self) -> None:
        started = self._clock.monotonic()
        try:
            reason, body = await self._fetch()
            if reason:
                self._outcome.failures[reason] += 1
                return
            self._outcome.latencies_s.append(self._clock.monotonic() - started)
            if body in self._outcome.bodies or len(self._outcome.bodies) < MAX_BODIES:
                self._outcome.bodies[body] += 1
        finally:
            self._under_way -= 1
            if not self._under_way and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    async def _fetch(self) -> tuple[str, str]:
        """Why it failed (empty: it did not), and the answer's body."""
        try:
            async with asyncio.timeout(self._wanted.timeout):
                answer = await http.fetch(self._network, *self._address, self._request)
        except TimeoutError:
            return "timed out", ""
        except http.BadAnswer:
            return "broken off", ""
        except OSError as error:
            return (os.strerror(error.errno) if error.errno else type(error).__name__).lower(), ""
        if answer.status >= 400:
            return f"HTTP {answer.status}", ""
        return "", answer.body.decode(errors="replace")

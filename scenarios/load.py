"""Constant load through a Service, and what its users saw.

Open-loop: requests leave at their rate whether or not earlier ones were answered, as users come without
waiting for each other; a closed loop would slow down exactly when the service does and hide the outage.
Each request has a connection of its own, so that each is a new choice of an endpoint. Requests still under
way when too many are (`MAX_UNDER_WAY`) count as failures and are not sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

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


class Traffic:
    """The loads of one scenario, by name."""

    def __init__(self, client: ApiClient, network: Network | None, clock: Clock) -> None:
        self._client = client
        self._network = network
        self._clock = clock
        self._tasks = Tasks()
        self._loads: dict[str, tuple[_Load, asyncio.Task[None]]] = {}

    async def start(self, wanted: steps.Load) -> str:
        """Returns once the first answer came. Raises TrafficError, ApiError."""
        name = wanted.name or wanted.service
        if self._network is None:
            raise TrafficError("Services of a cluster in containers can't be reached from this machine")
        if name in self._loads:
            raise TrafficError(f"load {name!r} runs already")
        service = await self._client.get(kinds.SERVICES, wanted.service, namespace=wanted.namespace)
        ip, port = await self._target(service, wanted)
        load = _Load(wanted, ip, port, self._network, self._clock, self._tasks)
        await load.first_answer()
        self._loads[name] = (load, self._tasks.start(f"load {name}", load.run()))
        return f"load on {ip}:{port}"

    async def end(self, name: str) -> Outcome:
        """Stops the load and waits for the last answers."""
        if name not in self._loads:
            known = ", ".join(self._loads) or "none"
            raise TrafficError(f"there is no load {name!r}; running: {known}")
        load, task = self._loads.pop(name)
        task.cancel()
        await load.drained()
        return load.outcome

    async def close(self) -> None:
        self._loads.clear()
        await self._tasks.close()

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
        self._request = http.Request(
            method="GET",
            target=wanted.path,
            headers=[("Host", wanted.host or wanted.service), ("User-Agent", "kubemu-load")],
        )
        self.outcome = Outcome()

    async def first_answer(self) -> None:
        deadline = self._clock.monotonic() + FIRST_ANSWER_S
        while reason := (await self._fetch())[0]:
            if self._clock.monotonic() >= deadline:
                ip, port = self._address
                raise TrafficError(f"no good answer from {ip}:{port} in {FIRST_ANSWER_S:g} s: {reason}")
            await asyncio.sleep(POLL_S)

    async def run(self) -> None:
        started = self._clock.monotonic()
        number = 0
        while True:
            due = started + number / self._wanted.rate
            await asyncio.sleep(max(due - self._clock.monotonic(), 0.0))
            number += 1
            self.outcome.requests += 1
            if self._under_way >= MAX_UNDER_WAY:
                self.outcome.failures["not sent, too many under way"] += 1
                continue
            self._under_way += 1
            self._tasks.start(f"request {number}", self._one())

    async def drained(self) -> None:
        if self._under_way:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def _one(self) -> None:
        started = self._clock.monotonic()
        try:
            reason, body = await self._fetch()
            if reason:
                self.outcome.failures[reason] += 1
                return
            self.outcome.latencies_s.append(self._clock.monotonic() - started)
            if body in self.outcome.bodies or len(self.outcome.bodies) < MAX_BODIES:
                self.outcome.bodies[body] += 1
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
            return (error.strerror or type(error).__name__).lower(), ""
        if answer.status >= 400:
            return f"HTTP {answer.status}", ""
        return "", answer.body.decode(errors="replace")

"""The image resource-consumer: uses processor and memory as it is told over HTTP, for trying autoscalers.

What it uses counts in the container's figures (`World.load`), so metrics and the autoscaler see it. Custom
metrics are shown at /metrics. Memory that it uses does not end it, whatever its limit.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from agents import http
from agents.emulated.agnhost.netexec import form
from agents.emulated.program import Program, problem, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import CPU, MEMORY, Load, Run

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

MEGABYTE = 1 << 20
_ORDERS = {"/ConsumeCPU": (CPU, "millicores", 1e-3), "/ConsumeMem": (MEMORY, "megabytes", MEGABYTE)}


def resource_consumer(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, "port"))
    world = shell.world
    metrics = Load()
    shown: dict[str, None] = {}

    async def handle(request: http.Request) -> http.Response:
        if request.path == "/metrics":
            return text("".join(_gauge(name, metrics.of(name, world.now())) for name in shown))
        if request.method != "POST":
            return problem("Bad request. Not a POST request", 400)
        values = form(request)
        try:
            return _ordered(request.path, values)
        except KeyError:
            return problem("not given function argument", 400)
        except ValueError:
            return problem("incorrect function argument", 400)

    def _ordered(path: str, values: dict[str, str]) -> http.Response:
        """Raises KeyError, ValueError."""
        if path in _ORDERS:
            kind, unit, scale = _ORDERS[path]
            amount = int(values[unit])
            seconds = int(values["durationSec"])
            world.load.add(kind, amount * scale, world.now() + timedelta(seconds=seconds))
            return text(f"{path[1:]}\n{amount} {unit}\n{seconds} durationSec\n")
        if path == "/BumpMetric":
            name, delta, seconds = values["metric"], float(values["delta"]), int(values["durationSec"])
            shown[name] = None
            metrics.add(name, delta, world.now() + timedelta(seconds=seconds))
            return text(f"BumpMetric\n{name} metric\n{delta:g} delta\n{seconds} durationSec\n")
        return problem(f"unknown function: {path}", 404)

    async def start(program: Program) -> None:
        await program.serve_http(int(given.get("port") or 8080), handle)

    return (yield from served(world, start))


def _gauge(name: str, value: float) -> str:
    return f"# HELP {name} info message.\n# TYPE {name} gauge\n{name} {value:f}\n"

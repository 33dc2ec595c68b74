"""agnhost grpc-health-checking: a gRPC health service, and HTTP to make it well and unwell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents import grpchealth, http
from agents.emulated.program import Program, routed, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run

if TYPE_CHECKING:
    from agents.emulated.shell import Shell


def grpc_health_checking(shell: Shell, words: list[str]) -> Run:
    """With --delay-unhealthy-sec it becomes unwell by itself; -1 is never."""
    given, _ = options(spaced(words, "port", "http-port", "delay-unhealthy-sec", "service"))
    port, http_port = int(given.get("port") or 5000), int(given.get("http-port") or 8080)
    unhealthy_after_s = float(given.get("delay-unhealthy-sec") or -1)
    services = ("", given.get("service") or "")
    health = grpchealth.Health.SERVING

    async def start(program: Program) -> None:
        async def turn(request: http.Request) -> http.Response:
            nonlocal health
            well = request.path == "/make-serving"
            health = grpchealth.Health.SERVING if well else grpchealth.Health.NOT_SERVING
            program.log(f"Mark as {'serving' if well else 'not serving'}")
            return text("")

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await grpchealth.serve(reader, writer, lambda name: health if name in services else None)

        async def sicken() -> None:
            nonlocal health
            await asyncio.sleep(unhealthy_after_s)
            health = grpchealth.Health.NOT_SERVING

        await program.serve_http(http_port, routed({"/make-serving": turn, "/make-not-serving": turn}))
        await program.serve_tcp(port, answer)
        program.log(f"Http server starting to listen on :{http_port}")
        program.log(f"gRPC server starting to listen on :{port}")
        if unhealthy_after_s >= 0:
            program.beside("sicken", sicken())

    return (yield from served(shell.world, start))

"""Loads on a cluster in containers: its addresses are those of its own network, so a node's container sends.

The last agent does it, since scenarios break the first ones; if it dies, the load ends with it. The program
is `scenarios.sender`, run through the Docker API in the image that every agent has.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from scenarios import sender, steps
from scenarios.containers import ContainerFaults, Execution
from scenarios.faults import FaultError
from scenarios.load import FIRST_ANSWER_S, Outcome, Running, TrafficError

START_S = FIRST_ANSWER_S + 20.0
"""Until the first answer, with the program's own start."""
END_S = 60.0


class ContainerSender:
    """`scenarios.load.Sender` of one compose project."""

    def __init__(self, faults: ContainerFaults) -> None:
        self._faults = faults
        self._executions: list[Execution] = []

    async def send(self, wanted: steps.Load, ip: str, port: int) -> Running:
        nodes = await self._faults.nodes()
        if not nodes:
            raise TrafficError("there is no node to send from")
        command = ["python", "-m", "scenarios.sender", sender.encoded(wanted, ip, port)]
        execution = await self._faults.execute(nodes[-1], command)
        self._executions.append(execution)
        load = _Load(execution, nodes[-1])
        await load.said("started", START_S)
        return load

    async def close(self) -> None:
        for execution in self._executions:
            execution.close()
        self._executions.clear()


class _Load:
    def __init__(self, execution: Execution, node: str) -> None:
        self._execution = execution
        self._node = node

    async def end(self) -> Outcome:
        try:
            await self._execution.write(b"end\n")
        except OSError as error:
            raise TrafficError(f"the load ended with {self._node}: {error}") from error
        outcome = Outcome.decoded(await self.said("outcome", END_S))
        self._execution.close()
        return outcome

    async def said(self, what: str, within_s: float) -> Any:
        """What the program says next, which has to be this. Raises TrafficError."""
        try:
            async with asyncio.timeout(within_s):
                line = await self._execution.line()
        except TimeoutError:
            raise TrafficError(f"the load on {self._node} said nothing in {within_s:g} s") from None
        except (FaultError, OSError) as error:
            raise TrafficError(f"the load ended with {self._node}: {error}") from error
        found: dict[str, Any] = json.loads(line)
        if what not in found:
            raise TrafficError(found.get("error", f"unexpected: {line}"))
        return found[what]

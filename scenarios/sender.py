"""`python -m scenarios.sender LOAD` sends a scenario's load from where it runs: inside a node's container.

LOAD is a JSON object with the load's fields and the address. Each line of the output is a JSON object:
{"started": true} once the first answer came, at the end {"outcome": …}, or {"error": …}. The end of the
input, or any line on it, ends the load.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agents.loopback import LoopbackNetwork
from broker.clock import SystemClock
from scenarios import steps
from scenarios.document import Seconds
from scenarios.load import NetworkSender, TrafficError


def encoded(wanted: steps.Load, ip: str, port: int) -> str:
    """What the program is given."""
    load = {name: getattr(wanted, name) for name in ("service", "rate", "name", "path", "host")}
    return json.dumps({"ip": ip, "port": port, "load": {**load, "timeout": float(wanted.timeout)}})


async def send(text: str) -> None:
    given = json.loads(text)
    load: dict[str, Any] = given["load"]
    wanted = steps.Load(**{**load, "timeout": Seconds(load["timeout"])})
    sender = NetworkSender(LoopbackNetwork(), SystemClock())
    try:
        running = await sender.send(wanted, given["ip"], given["port"])
        _say(started=True)
        await asyncio.to_thread(sys.stdin.readline)
        _say(outcome=(await running.end()).encoded())
    except TrafficError as error:
        _say(error=str(error))
    finally:
        await sender.close()


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(send(sys.argv[1]))

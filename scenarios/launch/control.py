"""The launcher's control socket: faults on the machines of a cluster that another command runs.

A Unix socket in the cluster's directory, one JSON object a line each way:
{"do": "kill_node", "node": "node-2"} is answered by {"result": …} or {"error": "why not"}.
Only the owner of the directory can open it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from scenarios.faults import CentralProcess, FaultError, Faults

NODE_OPERATIONS = (
    "kill_node", "stop_node", "start_node", "freeze_node", "thaw_node", "partition_node", "heal_node",
)  # fmt: skip

REQUEST_LIMIT = 65_536


class ControlServer:
    """Serves one `Faults` on a socket."""

    def __init__(self, faults: Faults, path: Path) -> None:
        self._faults = faults
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=REQUEST_LIMIT)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                try:
                    answer: dict[str, Any] = {"result": await self._carry_out(json.loads(line))}
                except (FaultError, json.JSONDecodeError) as error:
                    answer = {"error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _carry_out(self, request: Any) -> Any:
        operation = request.get("do") if isinstance(request, dict) else None
        if operation == "nodes":
            return await self._faults.nodes()
        if operation == "bounce" and request.get("process") in ("controller-manager", "broker"):
            return await self._faults.bounce(request["process"])
        if operation in NODE_OPERATIONS and isinstance(request.get("node"), str):
            return await getattr(self._faults, operation)(request["node"])
        raise FaultError(f"not a request: {request!r}")


class ControlledCluster:
    """`Faults` of a cluster behind a control socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def _ask(self, **request: str) -> Any:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=REQUEST_LIMIT)
        except OSError as error:
            raise FaultError(f"the cluster's launcher does not answer: {error.strerror}") from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise FaultError("the cluster's launcher ended")
        answer = json.loads(line)
        if "error" in answer:
            raise FaultError(answer["error"])
        return answer["result"]

    async def nodes(self) -> list[str]:
        names: list[str] = await self._ask(do="nodes")
        return names

    async def kill_node(self, node: str) -> None:
        await self._ask(do="kill_node", node=node)

    async def stop_node(self, node: str) -> None:
        await self._ask(do="stop_node", node=node)

    async def start_node(self, node: str) -> None:
        await self._ask(do="start_node", node=node)

    async def freeze_node(self, node: str) -> None:
        await self._ask(do="freeze_node", node=node)

    async def thaw_node(self, node: str) -> None:
        await self._ask(do="thaw_node", node=node)

    async def partition_node(self, node: str) -> None:
        await self._ask(do="partition_node", node=node)

    async def heal_node(self, node: str) -> None:
        await self._ask(do="heal_node", node=node)

    async def bounce(self, process: CentralProcess) -> None:
        await self._ask(do="bounce", process=process)

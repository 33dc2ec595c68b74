"""Faults on a cluster that runs in containers (`docker compose up`), through the Docker API.

Docker Engine listens on a Unix socket and speaks plain HTTP; the few calls needed here go through aiohttp.
The agents are the containers of the project's `agent` service; a node's name is in the container's
`KUBEMU_NODE` or, as compose.yaml sets it up, `agent-<number>`.
"""

from __future__ import annotations

import asyncio
import json
import os
from types import TracebackType
from typing import Any, Self

import aiohttp

from scenarios.faults import CentralProcess, FaultError

PROJECT, SERVICE, NUMBER = (
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.compose.container-number",
)
ERROR_BYTES = 2000
"""What is kept of a command's error output, from its end."""
SERVICES: dict[CentralProcess, str] = {"controller-manager": "controller-manager", "broker": "broker"}


class ContainerFaults:
    """`Faults` of one compose project. Use as an async context manager."""

    def __init__(self, project: str, socket: str = "") -> None:
        self._project = project
        host = os.environ.get("DOCKER_HOST", "")
        self._socket = socket or host.removeprefix("unix://") or "/var/run/docker.sock"
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._socket))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _docker(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        if self._session is None:
            raise RuntimeError("use as an async context manager")
        try:
            async with self._session.request(
                method, f"http://docker{path}", params=query, json=body
            ) as answer:
                text = await answer.text()
                if answer.status >= 400:
                    raise FaultError(f"docker: {json.loads(text).get('message', text)}")
                return json.loads(text) if text else None
        except aiohttp.ClientConnectionError as error:
            raise FaultError(f"the Docker engine can't be reached: {error}") from error

    async def _containers(self, service: str) -> dict[str, str]:
        """Node or service name → container id, in the order of the containers' numbers."""
        labels = [f"{PROJECT}={self._project}", f"{SERVICE}={service}"]
        found = await self._docker(
            "GET", "/containers/json", all="true", filters=json.dumps({"label": labels})
        )
        found.sort(key=lambda container: int(container["Labels"][NUMBER]))
        return {f"{service}-{c['Labels'][NUMBER]}": c["Id"] for c in found}

    async def _agent(self, node: str) -> str:
        containers = await self._containers("agent")
        if node not in containers:
            raise FaultError(f"there is no container for node {node!r}")
        return containers[node]

    async def nodes(self) -> list[str]:
        return list(await self._containers("agent"))

    async def kill_node(self, node: str) -> None:
        await self._docker("POST", f"/containers/{await self._agent(node)}/kill", signal="SIGKILL")

    async def stop_node(self, node: str) -> None:
        await self._docker("POST", f"/containers/{await self._agent(node)}/stop")

    async def start_node(self, node: str) -> None:
        await self._docker("POST", f"/containers/{await self._agent(node)}/start")

    async def freeze_node(self, node: str) -> None:
        await self._docker("POST", f"/containers/{await self._agent(node)}/pause")

    async def thaw_node(self, node: str) -> None:
        await self._docker("POST", f"/containers/{await self._agent(node)}/unpause")

    async def partition_node(self, node: str) -> None:
        """Disconnects the container from the project's networks."""
        container = await self._agent(node)
        details = await self._docker("GET", f"/containers/{container}/json")
        networks = details["NetworkSettings"]["Networks"]
        self._addresses[node] = networks
        for name in networks:
            await self._docker(
                "POST", f"/networks/{name}/disconnect", {"Container": container, "Force": True}
            )

    async def heal_node(self, node: str) -> None:
        container = await self._agent(node)
        networks = self._addresses.pop(node, None) or {f"{self._project}_default": {}}
        for name, was in networks.items():
            endpoint = {"Aliases": was.get("Aliases")}
            await self._docker(
                "POST", f"/networks/{name}/connect", {"Container": container, "EndpointConfig": endpoint}
            )

    async def execute(self, node: str, command: list[str]) -> Execution:
        """Runs a command in a node's container, with its input and output in our hands."""
        wanted = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": command}
        made = await self._docker("POST", f"/containers/{await self._agent(node)}/exec", wanted)
        return await Execution.start(self._socket, made["Id"])

    async def bounce(self, process: CentralProcess) -> None:
        for container in (await self._containers(SERVICES[process])).values():
            await self._docker("POST", f"/containers/{container}/kill", signal="SIGKILL")
            await self._docker("POST", f"/containers/{container}/start")


class Execution:
    """A command that runs in a container."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._output = b""
        self._errors = b""

    @classmethod
    async def start(cls, socket: str, id: str) -> Self:
        """The Docker API turns this connection into the command's input and output."""
        body = json.dumps({"Detach": False, "Tty": False}).encode()
        head = (
            f"POST /exec/{id}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
            f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split()[1] not in (b"101", b"200"):
            writer.close()
            raise FaultError(f"docker: {answer.splitlines()[0].decode()}")
        return cls(reader, writer)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def line(self) -> str:
        """The next line of the output. Raises FaultError with what it says on its error output at the end."""
        while b"\n" not in self._output:
            try:
                head = await self._reader.readexactly(8)
                data = await self._reader.readexactly(int.from_bytes(head[4:]))
            except asyncio.IncompleteReadError:
                raise FaultError(self._errors.decode(errors="replace").strip() or "it ended") from None
            if head[0] == 2:
                self._errors = (self._errors + data)[-ERROR_BYTES:]
            else:
                self._output += data
        line, _, self._output = self._output.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        self._writer.close()

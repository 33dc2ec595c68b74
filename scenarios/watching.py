"""The live status line of `kubemu up`: nodes and pods, read through the API like any other client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.api import kinds
from cluster.api.errors import ApiError
from cluster.api.objects import condition_of
from cluster.server.remote import RemoteClient
from scenarios.expectation import is_ready
from scenarios.report import Printer

STARTING_PERIOD_S = 0.05
SHOWING_PERIOD_S = 1.0


class NodeWatch:
    """Looks at the cluster again and again and shows what it sees. Use as an async context manager."""

    def __init__(self, kubeconfig: Path, printer: Printer, *, expected: int) -> None:
        self._client = RemoteClient.from_kubeconfig(kubeconfig)
        self._printer = printer
        self._expected = expected
        self.ready = 0

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def until_ready(self, ended: asyncio.Event) -> None:
        """Returns when all nodes are Ready, or `ended` is set."""
        while not ended.is_set():
            await self._look_at_nodes()
            if self.ready >= self._expected:
                return
            self._printer.status(f"  {self.ready}/{self._expected} nodes Ready")
            await _pause(ended, STARTING_PERIOD_S)

    async def show_until(self, ended: asyncio.Event) -> None:
        """Keeps the status line fresh until `ended` is set."""
        while not ended.is_set():
            try:
                await self._look_at_nodes()
                pods = (await self._client.list(kinds.PODS)).items
            except (ApiError, OSError, TimeoutError) as error:
                self._printer.status(f"  the API does not answer: {error}")
            else:
                running = sum(is_ready(pod) for pod in pods)
                nodes_text = f"{self.ready}/{self._expected} nodes Ready"
                self._printer.status(f"  {nodes_text}, {running}/{len(pods)} pods Ready; Ctrl-C ends")
            await _pause(ended, SHOWING_PERIOD_S)

    async def _look_at_nodes(self) -> None:
        nodes = (await self._client.list(kinds.NODES)).items
        conditions = [condition_of(node, "Ready") for node in nodes]
        self.ready = sum(condition is not None and condition["status"] == "True" for condition in conditions)


async def _pause(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return

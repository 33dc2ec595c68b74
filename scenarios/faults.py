"""What a scenario can do to the machines of a cluster, as a Protocol.

Implementations: `scenarios.launch.cluster` (processes on this machine), `scenarios.attached` (a cluster
that `kubemu up` runs, through its control socket), `scenarios.containers` (docker compose) and
`scenarios.simulation` (virtual machines on virtual time).
"""

from __future__ import annotations

from typing import Literal, Protocol

CentralProcess = Literal["controller-manager", "broker"]


class FaultError(Exception):
    """The fault can't be injected: no such node, or it is not in a state for it."""


class Faults(Protocol):
    """Every method returns once the fault is in place and raises FaultError where it can't be."""

    async def nodes(self) -> list[str]:
        """All nodes of the cluster, running or not, in the order of their names."""

    async def kill_node(self, node: str) -> None:
        """Ends the node's process without a chance to say goodbye."""

    async def stop_node(self, node: str) -> None:
        """Ends the node's process in an orderly way."""

    async def start_node(self, node: str) -> None:
        """Starts a killed or stopped node; returns when the process runs, before the node is Ready."""

    async def freeze_node(self, node: str) -> None:
        """Suspends the node's process."""

    async def thaw_node(self, node: str) -> None: ...

    async def partition_node(self, node: str) -> None:
        """Cuts the node off from the broker."""

    async def heal_node(self, node: str) -> None: ...

    async def bounce(self, process: CentralProcess) -> None:
        """Kills a central process and starts it again; returns when it runs."""

"""A cluster of real processes on this machine: a broker, a controller manager, node agents.

The controller manager starts first, since it takes longest, then broker and agents: they all keep trying
until they reach each other. They are stopped agents first, broker last. It is its own `Faults`: killing a
node is SIGKILL to its agent, a partition is a link rule that the agent reads again on SIGHUP.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.chance import Chance
from broker.credentials import new_password
from broker.embedded import EmbeddedBroker, free_port
from broker.rules import Rule, Verdict, dump_rules
from broker.topics import CONTROL_USER
from scenarios.faults import CentralProcess, FaultError
from scenarios.launch.child import Child
from scenarios.launch.place import NetworkSlot, ProcessRecord, State, write_state

READY_WITHIN_S = 60.0
LOOK_PERIOD_S = 0.02


class LaunchError(Exception):
    """The cluster does not start; the text says which process, and its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What to start."""

    name: str = "kubemu"
    nodes: int = 3
    per_process: int = 1
    """Nodes that share one agent process."""
    profile: str = "standard"
    broker_url: str = ""
    """An external broker, mqtt://user:password@host:port; empty: an embedded one."""
    port: int = 0
    """Of the API; 0 is any free one."""
    journal: str = "sqlite"
    log_level: str = "info"
    agent_flags: tuple[str, ...] = ()
    control_flags: tuple[str, ...] = ()


@dataclass(slots=True)
class _Host:
    """One agent process and the nodes in it."""

    child: Child
    nodes: list[str]
    links: Path
    frozen: bool = False
    cut: list[str] = field(default_factory=list)


class LocalCluster:
    """Everything of one cluster under one directory, which the caller owns."""

    def __init__(self, spec: ClusterSpec, directory: Path, *, progress: Callable[[str], None]) -> None:
        self.spec = spec
        self.directory = directory
        self._progress = progress
        self._chance = Chance.from_entropy()
        self._slot = NetworkSlot()
        self._broker: EmbeddedBroker | None = None
        self._control: Child | None = None
        self._hosts: list[_Host] = []
        self._passwords: dict[str, str] = {}
        self._port = spec.port or free_port()  # the same after a restart of the controller manager

    # --- life

    async def start(self) -> None:
        """Starts all processes; returns when the API answers and every agent runs. Raises LaunchError."""
        for folder in ("logs", "data", "links", "broker"):
            (self.directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._slot.acquire()
        names = [f"node-{number}" for number in range(1, self.spec.nodes + 1)]
        self._passwords = {name: new_password(self._chance) for name in (*names, CONTROL_USER)}
        if not self.spec.broker_url:
            self._broker = self._embedded_broker()
        self._control = self._control_child()
        await self._control.start()
        self._progress(f"controller-manager  pid {self._control.pid}")
        if self._broker is not None:
            await self._broker.start()
            self._progress(f"broker              pid {self._broker.pid}")
        size = self.spec.per_process
        groups = [names[at : at + size] for at in range(0, len(names), size)]
        self._hosts = [self._host(group) for group in groups]
        for host in self._hosts:
            await host.child.start()
            self._progress(f"{host.child.name:<18}  pid {host.child.pid}")
        await self._until_serving(self._children())
        self.write_state()

    async def stop(self) -> None:
        """Ends every process, agents first."""
        for host in self._hosts:
            host.child.signal(signal.SIGCONT)
            host.child.signal(signal.SIGTERM)
        for host in self._hosts:
            await host.child.stop()
        if self._control is not None:
            await self._control.stop()
        if self._broker is not None:
            await self._broker.stop()
        self._slot.release()

    def _embedded_broker(self) -> EmbeddedBroker:
        return EmbeddedBroker(
            self.directory / "broker",
            cluster=self.spec.name,
            passwords=self._passwords,
            port=free_port(),  # known before it listens
            log=self.directory / "logs" / "broker.log",
        )

    @property
    def broker_url(self) -> str:
        return self._broker.url if self._broker is not None else self.spec.broker_url

    def password(self, user: str) -> str:
        """A node's or the controller manager's, at the embedded broker."""
        return self._passwords[user]

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def control_socket(self) -> Path:
        return self.directory / "control.sock"

    def _control_child(self) -> Child:
        command = [
            sys.executable, "-m", "cluster",
            "--cluster", self.spec.name,
            "--broker", self.broker_url,
            "--data", str(self.directory / "data"),
            "--journal", self.spec.journal,
            "--port", str(self._port),
            "--profile", self.spec.profile,
            "--cluster-cidr", self._slot.cluster_cidr,
            "--service-cidr", self._slot.service_cidr,
            "--load-balancer-cidr", self._slot.load_balancer_cidr,
            "--kubeconfig", str(self.kubeconfig),
            "--log-level", self.spec.log_level,
            *self.spec.control_flags,
        ]  # fmt: skip
        return self._child("controller-manager", command, self._secret(CONTROL_USER))

    def _host(self, nodes: list[str]) -> _Host:
        first, last = nodes[0], nodes[-1]
        name = first if len(nodes) == 1 else f"{first}-to-{last.removeprefix('node-')}"
        links = self.directory / "links" / f"{name}.json"
        links.write_text("[]")
        credentials = self.directory / "broker" / f"{name}.credentials.json"
        credentials.touch(mode=0o600)
        credentials.write_text(json.dumps({node: self._passwords[node] for node in nodes}))
        command = [
            sys.executable, "-m", "agents",
            "--cluster", self.spec.name,
            "--node", ",".join(nodes),
            "--broker", self.broker_url,
            "--credentials", str(credentials),
            "--profile", self.spec.profile,
            "--links", str(links),
            "--volumes", str(self.directory / "data" / "volumes"),
            "--log-level", self.spec.log_level,
            *self.spec.agent_flags,
        ]  # fmt: skip
        return _Host(self._child(name, command, {}), nodes, links)

    def _secret(self, user: str) -> dict[str, str]:
        return {} if self.spec.broker_url else {"KUBEMU_BROKER_PASSWORD": self._passwords[user]}

    def _child(self, name: str, command: list[str], environment: dict[str, str]) -> Child:
        return Child(name, command, log=self.directory / "logs" / f"{name}.log", environment=environment)

    async def _until_serving(self, started: Sequence[Child]) -> None:
        """The controller manager writes the kubeconfig once it serves. Raises LaunchError if one of the
        children that were just started is gone before that."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while not self.kubeconfig.exists():
            for child in started:
                if not child.running:
                    raise LaunchError(
                        f"{child.name} ended at once (exit code {child.exit_code}):\n{child.last_words()}"
                    )
            if loop.time() > deadline:
                raise LaunchError(f"the API was not there after {READY_WITHIN_S:g} s")
            await asyncio.sleep(LOOK_PERIOD_S)

    def _children(self) -> list[Child]:
        control = [self._control] if self._control is not None else []
        return [*control, *(host.child for host in self._hosts)]

    # --- for others to read

    def records(self) -> list[ProcessRecord]:
        broker = [ProcessRecord(name="broker", pid=self._broker.pid)] if self._broker is not None else []
        control = self._control
        assert control is not None
        return [
            *broker,
            ProcessRecord(name=control.name, pid=control.pid),
            *(ProcessRecord(name=h.child.name, pid=h.child.pid, nodes=h.nodes) for h in self._hosts),
        ]

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def write_state(self) -> None:
        state = State(
            cluster=self.spec.name,
            launcher_pid=os.getpid(),
            api_url=self.api_url,
            broker_url=self.broker_url,
            kubeconfig=str(self.kubeconfig),
            control_socket=str(self.control_socket),
            profile=self.spec.profile,
            processes=self.records(),
        )
        write_state(self.directory, state)

    # --- faults

    async def nodes(self) -> list[str]:
        return sorted((node for host in self._hosts for node in host.nodes), key=_natural)

    def _host_of(self, node: str) -> _Host:
        for host in self._hosts:
            if node in host.nodes:
                return host
        raise FaultError(f"there is no node {node!r}")

    def _alone(self, node: str) -> _Host:
        host = self._host_of(node)
        if len(host.nodes) > 1:
            raise FaultError(
                f"{node} shares its process with {len(host.nodes) - 1} other node(s); "
                "start the cluster with one node per process to do this to it alone"
            )
        return host

    async def kill_node(self, node: str) -> None:
        await self._alone(node).child.kill()

    async def stop_node(self, node: str) -> None:
        await self._alone(node).child.stop()

    async def start_node(self, node: str) -> None:
        host = self._alone(node)
        if host.child.running:
            raise FaultError(f"{node} runs already")
        await host.child.start()
        self.write_state()

    async def freeze_node(self, node: str) -> None:
        self._alone(node).child.signal(signal.SIGSTOP)

    async def thaw_node(self, node: str) -> None:
        self._alone(node).child.signal(signal.SIGCONT)

    async def partition_node(self, node: str) -> None:
        host = self._host_of(node)
        host.cut.append(node)
        self._write_links(host)

    async def heal_node(self, node: str) -> None:
        host = self._host_of(node)
        if node in host.cut:
            host.cut.remove(node)
        self._write_links(host)

    def _write_links(self, host: _Host) -> None:
        rules = [Rule(verdict=Verdict.CUT, sender=node) for node in host.cut]
        host.links.write_text(dump_rules(rules))
        host.child.signal(signal.SIGHUP)

    async def bounce(self, process: CentralProcess) -> None:
        if process == "broker":
            if self._broker is None:
                raise FaultError("the broker is not ours to kill")
            await self._broker.kill()
            await self._broker.start()
        elif self._control is not None:
            await self._control.kill()
            self.kubeconfig.unlink(missing_ok=True)
            await self._control.start()
            await self._until_serving([self._control])
        self.write_state()


def _natural(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdecimal() else (name, 0)

"""Where a running cluster keeps its things, and which addresses it has for itself.

A cluster on this machine owns a directory (data, logs, kubeconfig, credentials, `state.json`) and a slot
of the loopback network: pods out of 127.64.0.0/10, Services out of 127.128.0.0/10, cut into sixteen parts,
so that several clusters run side by side. A slot is held by a name of a socket, which the kernel releases
when the holder dies. A janitor, a shell that waits for its standard input to close, removes a temporary
directory even when its owner is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

SLOTS = 16


class NoFreeSlot(Exception):
    """As many clusters as there are network slots run on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    name: str
    pid: int
    nodes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What other commands need to know of a running cluster; `state.json`."""

    cluster: str
    launcher_pid: int
    api_url: str
    broker_url: str
    kubeconfig: str
    control_socket: str
    profile: str
    processes: list[ProcessRecord]


def clusters_root() -> Path:
    """The directory under which `kubemu up` keeps its clusters, one folder each."""
    home = os.environ.get("KUBEMU_HOME")
    if home:
        return Path(home)
    state_home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state_home) / "kubemu"


def write_state(directory: Path, state: State) -> None:
    fresh = directory / "state.json.new"
    fresh.write_text(json.dumps(asdict(state), indent=2))
    fresh.replace(directory / "state.json")


def read_state(directory: Path) -> State | None:
    """The cluster that runs there; None where there is none (or its launcher died)."""
    try:
        data = json.loads((directory / "state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    data["processes"] = [ProcessRecord(**record) for record in data["processes"]]
    state = State(**data)
    return state if alive(state.launcher_pid) else None


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
    except FileNotFoundError:
        pass  # no such process, or no such file system: the signal tells
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class NetworkSlot:
    """One sixteenth of the loopback addresses, held until released or until the process ends.

    The loopback addresses are everybody's who is in the same network namespace, whichever user; so are the
    abstract names of Unix sockets, and the kernel frees those when their holder ends.
    """

    def __init__(self) -> None:
        self._lock: socket.socket | None = None
        self.number = -1

    def acquire(self) -> None:
        """Raises NoFreeSlot."""
        for number in range(SLOTS):
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0kubemu-network-{number}")
            except OSError:
                lock.close()
                continue
            if _still_used(number):
                lock.close()
                continue
            self._lock, self.number = lock, number
            return
        raise NoFreeSlot(f"{SLOTS} clusters run on this machine already; end one with `kubemu down`")

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def cluster_cidr(self) -> str:
        """Pod addresses: a /14, so that 1,024 nodes get a /24 each."""
        return f"127.{64 + 4 * self.number}.0.0/14"

    @property
    def service_cidr(self) -> str:
        return f"127.{128 + 4 * self.number}.0.0/16"

    @property
    def load_balancer_cidr(self) -> str:
        return f"127.{129 + 4 * self.number}.0.0/24"


def _still_used(number: int) -> bool:
    """Whether agents of a former holder answer there yet: for DNS, with privileges or without."""
    for port in (53, 60053):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((f"127.{128 + 4 * number}.0.10", port))
            except PermissionError:
                continue
            except OSError:
                return True
    return False


class TemporaryPlace:
    """A directory that disappears with its owner, however that ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kubemu-"))
        self._janitor = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; sleep 1; rm -rf "$0"', str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._janitor.send_signal(signal.SIGKILL)
        if self._janitor.stdin:
            self._janitor.stdin.close()
        self._janitor.wait()

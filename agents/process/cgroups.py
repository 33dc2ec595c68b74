"""Limits that the kernel keeps: a control group per container, where the machine grants them (root, and the
memory and CPU controllers of either version mounted at their usual place).

A container's process joins before it becomes its command, so that all it starts is counted; joining takes the
kernel a moment (tens of milliseconds, more on a busy machine), so containers without limits have no group,
and what `exec` starts is in none. Where the machine grants none, the memory limit is watched instead
(`agents.process.container`) and CPU limits have no effect. CPU requests have none anywhere: shares would be
measured against the machine's other work, and a small one would starve.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cluster.api.objects import Object
from cluster.api.quantity import parse

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "kubemu-"
PERIOD_US = 100_000
LEAST_QUOTA_US = 1_000
UNLIMITED = "-1"


@cache
def version() -> int:
    """1, 2, or 0 where no groups can be made."""
    if os.geteuid() != 0:
        return 0
    if (MOUNT / "cgroup.controllers").exists():
        try:
            (MOUNT / "cgroup.subtree_control").write_text("+memory +cpu")
        except OSError:
            return 0
        return 2 if _works([MOUNT]) else 0
    return 1 if _works([MOUNT / "memory", MOUNT / "cpu"]) else 0


def _works(parents: list[Path]) -> bool:
    for parent in parents:
        trial = parent / f"{PREFIX}{os.getpid()}-trial"
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError:
            return False
    return True


class ControlGroup:
    """Of one container with limits. Use only where `version()` is not 0."""

    def __init__(self, name: str) -> None:
        own = f"{PREFIX}{os.getpid()}-{name}"
        parents = [MOUNT] if version() == 2 else [MOUNT / "memory", MOUNT / "cpu"]
        self._memory, self._cpu = parents[0] / own, parents[-1] / own

    def make(self, resources: Object) -> None:
        """Raises OSError."""
        for place in self._places():
            place.mkdir()
        if version() == 2:
            (self._memory / "memory.oom.group").write_text("1")
        self.limit(resources)

    def limit(self, resources: Object) -> None:
        """Raises OSError; a memory limit below what is used may be refused."""
        limits = resources.get("limits") or {}
        memory = str(parse(limits["memory"]).value()) if "memory" in limits else UNLIMITED
        quota = UNLIMITED
        if "cpu" in limits:
            quota = str(max(parse(limits["cpu"]).milli() * PERIOD_US // 1000, LEAST_QUOTA_US))
        if version() == 2:
            (self._memory / "memory.max").write_text("max" if memory == UNLIMITED else memory)
            (self._cpu / "cpu.max").write_text(f"{'max' if quota == UNLIMITED else quota} {PERIOD_US}")
        else:
            (self._memory / "memory.limit_in_bytes").write_text(memory)
            (self._cpu / "cpu.cfs_quota_us").write_text(quota)

    def joining(self) -> list[str]:
        """Steps of a shell that make itself a member, and with it what it becomes and starts."""
        return [f"echo 0 > {shlex.quote(str(place / 'cgroup.procs'))}" for place in self._places()]

    def killed_for_memory(self) -> bool:
        """The kernel ended one of its processes."""
        name = "memory.events" if version() == 2 else "memory.oom_control"
        try:
            text = (self._memory / name).read_text()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in text.splitlines())

    def remove(self) -> bool:
        """False while there are processes left in it."""
        try:
            for place in self._places():
                if place.exists():
                    place.rmdir()
        except OSError:
            return False
        return True

    def _places(self) -> list[Path]:
        return list(dict.fromkeys((self._memory, self._cpu)))


def sweep() -> None:
    """Removes groups of agents that were killed."""
    for place in _left():
        pid = place.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                place.rmdir()


def _left() -> Iterator[Path]:
    for parent in (MOUNT, MOUNT / "memory", MOUNT / "cpu"):
        yield from parent.glob(f"{PREFIX}*")

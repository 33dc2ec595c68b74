"""The log lines of all processes of a cluster, merged in the order of their time.

Each process writes its own file of JSON lines, in order. Reading merges them with a heap that holds one
line a file. Lines that are not JSON (a traceback, the broker's own) keep the time of the line before them.
Following polls the files; lines of one poll are sorted among each other.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
FOLLOW_PERIOD_S = 0.2

_NATS_LINE = re.compile(r"\[\d+\] (\d+)/(\d+)/(\d+) ([\d:.]+) \[(\w+)\] (.*)")
_NATS_LEVELS = {"INF": "debug", "WRN": "warning", "ERR": "error", "FTL": "critical"}
"""What the embedded broker finds worth telling, a cluster's user mostly does not."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    time: str
    source: str
    """The process it comes from."""
    number: int
    fields: dict[str, Any] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which lines are wanted; empty fields want everything."""

    node: str = ""
    pod: str = ""
    """A pod's name, or namespace/name."""
    level: str = ""
    """The lowest one."""

    def wants(self, line: Line) -> bool:
        fields = line.fields
        if self.node and fields.get("node") != self.node and line.source != self.node:
            return False
        if self.pod and str(fields.get("pod", "")) not in (self.pod, f"default/{self.pod}"):
            return False
        if self.level:
            level = str(fields.get("level", "info"))
            return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level)
        return True


class _File:
    """One process' log, read from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._number = 0
        self._time = ""

    def fresh(self) -> Iterator[Line]:
        """The complete lines that came since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                self._number += 1
                yield self._line(raw)

    def _line(self, raw: bytes) -> Line:
        text = raw.decode(errors="replace").rstrip("\n")
        try:
            fields = json.loads(text)
        except json.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            fields = _nats_fields(text) or {"event": text}
        self._time = str(fields.setdefault("time", self._time))
        fields.setdefault("component", self._path.stem)
        return Line(self._time, self._path.stem, self._number, fields)


def _nats_fields(text: str) -> dict[str, Any] | None:
    """A line of the embedded broker, which has a form of its own."""
    found = _NATS_LINE.fullmatch(text)
    if found is None:
        return None
    year, month, day, clock, level, event = found.groups()
    return {
        "time": f"{year}-{month}-{day}T{clock}Z",
        "level": _NATS_LEVELS.get(level, "debug"),
        "event": event,
    }


class Logbook:
    """The logs under one directory, `<process>.log` each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, _File] = {}

    def _all(self) -> Iterable[_File]:
        for path in sorted(self._directory.glob("*.log")):
            self._files.setdefault(path, _File(path))
        return [self._files[path] for path in sorted(self._files)]

    def read(self, wanted: Filter) -> Iterator[Line]:
        """Everything new since the last call, merged."""
        merged = heapq.merge(*(file.fresh() for file in self._all()))
        return (line for line in merged if wanted.wants(line))

    async def follow(self, wanted: Filter) -> AsyncIterator[Line]:
        """Everything so far, then what comes, for ever."""
        while True:
            for line in self.read(wanted):
                yield line
            await asyncio.sleep(FOLLOW_PERIOD_S)


_COLOURS = {"warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m", "debug": "\033[2m"}
_FIRST = ("time", "level", "component", "event")


def render(line: Line, *, colours: bool) -> str:
    """A line for a person: time, level, process, what happened, then the rest as key=value."""
    fields = line.fields
    level = str(fields.get("level", "info"))
    rest = " ".join(
        f"{key}={value}" for key, value in fields.items() if key not in _FIRST and value not in ("", None)
    )
    clock = str(fields.get("time", ""))[11:23]
    text = f"{clock:<12} {level:<7} {line.source:<18} {fields.get('event', '')}"
    if colours and level in _COLOURS:
        text = f"{_COLOURS[level]}{text}\033[0m"
    return f"{text}  {rest}" if rest else text

"""Persistent volumes of emulated containers: in memory, and where a directory is given, kept there too.

The directory is what outlives an agent and what agents of one machine share: every `SYNC_S`, and when a
volume is let go, what changed in memory since the last time is written, and what others changed meanwhile is
read; where both changed, memory wins. Simulations have no directory: all nodes share one shelf.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agents.files import MemoryDirectory, MemoryFile, MemoryLink, MemoryNode

SYNC_S = 1.0
VOLUME_MODE = 0o777


class Look(NamedTuple):
    """A file, link or directory as it was seen, for comparison with what it is."""

    kind: str
    mode: int
    text: bytes


class Shelf:
    """`directory` None: memory only."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._volumes: dict[str, MemoryDirectory] = {}
        self._users: dict[str, dict[str, None]] = {}
        """Volume → the pods that have it, by uid."""
        self._known: dict[str, dict[str, Look]] = {}
        """Volume → what memory and directory agreed on, by path."""
        self._timer: asyncio.TimerHandle | None = None

    def volume(self, name: str, uid: str) -> MemoryDirectory:
        """For a pod, until `discard`."""
        if name not in self._volumes:
            self._volumes[name] = MemoryDirectory(mode=VOLUME_MODE)
            self._sync(name)
        self._users.setdefault(name, {})[uid] = None
        if self._directory is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_S, self._again)
        return self._volumes[name]

    def discard(self, uid: str) -> None:
        """The pod is gone."""
        for name in [name for name, users in self._users.items() if uid in users]:
            del self._users[name][uid]
            self._sync(name)
            if not self._users[name] and self._directory is not None:
                del self._users[name], self._volumes[name], self._known[name]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for name in list(self._volumes):
            self._sync(name)

    def _again(self) -> None:
        self._timer = None
        for name in self._volumes:
            self._sync(name)
        if self._volumes:
            self._timer = asyncio.get_running_loop().call_later(SYNC_S, self._again)

    def _sync(self, name: str) -> None:
        if self._directory is None:
            return
        root = self._directory / name.replace("/", "_")
        if not root.is_dir():
            root.mkdir(parents=True)
            root.chmod(VOLUME_MODE)
        top, known = self._volumes[name], self._known.get(name, {})
        theirs, ours = dict(_stored(root)), dict(_held(top))
        for path in dict.fromkeys((*theirs, *ours, *known)):
            mine, other, before = ours.get(path), theirs.get(path), known.get(path)
            if mine == other:
                continue
            if mine != before:
                _store(root / path, mine)
            else:
                _hold(top, path, other)
        self._known[name] = dict(_held(top))


def _held(directory: MemoryDirectory, prefix: str = "") -> Iterator[tuple[str, Look]]:
    for name, node in directory.entries.items():
        path = prefix + name
        match node:
            case MemoryDirectory():
                yield path, Look("directory", node.mode, b"")
                yield from _held(node, f"{path}/")
            case MemoryFile():
                yield path, Look("file", node.mode, node.data)
            case MemoryLink():
                yield path, Look("link", 0, node.target.encode())


def _stored(directory: Path, prefix: str = "") -> Iterator[tuple[str, Look]]:
    for name in sorted(os.listdir(directory)):
        place, path = directory / name, prefix + name
        try:
            mode = place.lstat().st_mode & 0o7777
            if place.is_symlink():
                yield path, Look("link", 0, os.readlink(place).encode())
            elif place.is_dir():
                yield path, Look("directory", mode, b"")
                yield from _stored(place, f"{path}/")
            elif place.is_file():
                yield path, Look("file", mode, place.read_bytes())
        except OSError:
            continue  # somebody else removed it meanwhile, or keeps it to himself


def _store(place: Path, look: Look | None) -> None:
    if place.is_dir() and not place.is_symlink() and (look is None or look.kind != "directory"):
        shutil.rmtree(place, ignore_errors=True)
    elif place.is_symlink() or (look is None and place.exists()):
        place.unlink(missing_ok=True)
    if look is None:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    match look.kind:
        case "link":
            place.symlink_to(look.text.decode())
            return
        case "directory":
            place.mkdir(exist_ok=True)
        case _:
            place.write_bytes(look.text)
    place.chmod(look.mode)


def _hold(top: MemoryDirectory, path: str, look: Look | None) -> None:
    *way, name = path.split("/")
    here: MemoryNode = top
    for part in way:
        if not isinstance(here, MemoryDirectory) or part not in here.entries:
            return  # its directory went as well
        here = here.entries[part]
    if not isinstance(here, MemoryDirectory):
        return
    match look:
        case None:
            here.entries.pop(name, None)
        case Look(kind="link"):
            here.entries[name] = MemoryLink(look.text.decode())
        case Look(kind="directory"):
            known = here.entries.get(name)
            if isinstance(known, MemoryDirectory):
                known.mode = look.mode
            else:
                here.entries[name] = MemoryDirectory(mode=look.mode)
        case _:
            known = here.entries.get(name)
            if isinstance(known, MemoryFile):
                known.data, known.mode = look.text, look.mode
            else:
                here.entries[name] = MemoryFile(look.text, look.mode)

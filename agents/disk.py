"""Where a node keeps its pods' volumes: in memory, or in directories of the machine.

One disk belongs to one node. Persistent volumes are kept beside the pods', by their own name, and are shared
by all disks made from the same `Shelf` or directory: what a pod wrote is found by its successor, on another
node too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from agents.files import DirectoryFiles, Files, MemoryDirectory, MemoryFiles
from agents.shelf import Shelf

EMPTY_DIR_MODE = 0o777


class Disk(Protocol):
    def volume(self, uid: str, name: str) -> Files:
        """A pod's own volume; made when first asked for."""

    def persistent(self, volume: str, uid: str) -> Files:
        """By the PersistentVolume's name; for a pod, until that is discarded."""

    def host(self, path: str) -> Files:
        """A directory of the node itself, made when missing."""

    def discard(self, uid: str) -> None:
        """The pod is gone, its volumes with it."""


class MemoryDisk:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pods: dict[str, dict[str, MemoryDirectory]] = {}
        self._host = MemoryFiles()

    def volume(self, uid: str, name: str) -> MemoryFiles:
        volumes = self._pods.setdefault(uid, {})
        if name not in volumes:
            volumes[name] = MemoryDirectory(mode=EMPTY_DIR_MODE)
        return MemoryFiles(volumes[name])

    def persistent(self, volume: str, uid: str) -> MemoryFiles:
        return MemoryFiles(self._shelf.volume(volume, uid))

    def host(self, path: str) -> MemoryFiles:
        self._host.make_directory(path, parents=True)
        node = self._host.node(path)
        assert isinstance(node, MemoryDirectory)
        return MemoryFiles(node)

    def discard(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._shelf.discard(uid)


class DirectoryDisk:
    """Below `root`, which is the agent's own; `shared` outlives it."""

    def __init__(self, root: Path, shared: Path) -> None:
        self._root = root
        self._shared = shared

    def volume(self, uid: str, name: str) -> DirectoryFiles:
        return _directory(self._root / "pods" / uid / name)

    def persistent(self, volume: str, uid: str) -> DirectoryFiles:
        return _directory(self._shared / volume.replace("/", "_"))

    def host(self, path: str) -> DirectoryFiles:
        real = Path(path)
        real.mkdir(parents=True, exist_ok=True)
        return DirectoryFiles(real)

    def discard(self, uid: str) -> None:
        shutil.rmtree(self._root / "pods" / uid, ignore_errors=True)


def _directory(path: Path) -> DirectoryFiles:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(EMPTY_DIR_MODE)
    return DirectoryFiles(path)

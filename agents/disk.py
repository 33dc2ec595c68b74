"""Where a node keeps its pods' volumes: in memory, or in directories of the machine.

One disk belongs to one node. Persistent volumes are kept beside the pods', by their own name, and are shared
by all disks made from the same `Shelf` or directory: what a pod wrote is found by its successor, on another
node too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from agents.files import DirectoryFiles, Files, MemoryDirectory, MemoryFiles, exists
from agents.shelf import Shelf

EMPTY_DIR_MODE = 0o777


class WrongKind(Exception):
    """Something else than a hostPath volume asks for is at its path; worded as the kubelet does."""


KINDS = {
    "Directory": ("directory", "a directory"),
    "DirectoryOrCreate": ("directory", "a directory"),
    "File": ("file", "a file"),
    "FileOrCreate": ("file", "a file"),
    "Socket": ("socket", "a socket file"),
    "CharDevice": ("character device", "a character device"),
    "BlockDevice": ("block device", "a block device"),
}
HOST_DIRECTORIES = (
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin",
    "/srv", "/sys", "/tmp", "/usr", "/var/lib/kubelet", "/var/log/pods", "/var/run", "/var/tmp",
)  # fmt: skip
"""What every machine has, emulated ones too."""
HOST_FILES = {
    "/etc/hostname": b"localhost\n",
    "/etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "/etc/os-release": b'NAME="kubemu"\nID=kubemu\nPRETTY_NAME="kubemu"\n',
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
}


class Disk(Protocol):
    def volume(self, uid: str, name: str, *, in_memory: bool = False) -> Files:
        """A pod's own volume; made when first asked for. `in_memory`: on a file system in memory."""

    def persistent(self, volume: str, uid: str) -> Files:
        """By the PersistentVolume's name; for a pod, until that is discarded."""

    def host(self, path: str) -> tuple[Files, str]:
        """A directory of the node itself, made when missing; for a file its directory, and its name there."""

    def claim_host_path(self, path: str, type: str) -> None:
        """Before a hostPath volume of the type is used. Raises WrongKind."""

    def discard(self, uid: str) -> None:
        """The pod is gone, its volumes with it."""


class MemoryDisk:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pods: dict[str, dict[str, MemoryDirectory]] = {}
        self._machine: MemoryFiles | None = None

    def volume(self, uid: str, name: str, *, in_memory: bool = False) -> MemoryFiles:
        volumes = self._pods.setdefault(uid, {})
        if name not in volumes:
            volumes[name] = MemoryDirectory(mode=EMPTY_DIR_MODE)
        return MemoryFiles(volumes[name])

    def persistent(self, volume: str, uid: str) -> MemoryFiles:
        return MemoryFiles(self._shelf.volume(volume, uid))

    @property
    def _host(self) -> MemoryFiles:
        """Made when a pod first wants it."""
        if self._machine is None:
            self._machine = MemoryFiles()
            for path in HOST_DIRECTORIES:
                self._machine.make_directory(path, parents=True)
            for path, content in HOST_FILES.items():
                self._machine.write(path, content)
            for path in ("/tmp", "/var/tmp"):
                self._machine.chmod(path, 0o1777)
        return self._machine

    def host(self, path: str) -> tuple[MemoryFiles, str]:
        if exists(self._host, path) and self._host.stat(path).kind != "directory":
            directory, _, name = path.rpartition("/")
            return self.host(directory or "/")[0], name
        self._host.make_directory(path, parents=True)
        node = self._host.node(path)
        assert isinstance(node, MemoryDirectory)
        return MemoryFiles(node), ""

    def claim_host_path(self, path: str, type: str) -> None:
        found = self._host.stat(path).kind if exists(self._host, path) else ""
        if not found and type.endswith("OrCreate"):
            if type.startswith("File"):
                self._host.write(path, b"", mode=0o644)
            else:
                self._host.make_directory(path, parents=True)
        else:
            _check_kind(path, type, found)

    def discard(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._shelf.discard(uid)


class DirectoryDisk:
    """Below `root`, which is the agent's own, as is `memory`; `shared` outlives it."""

    def __init__(self, root: Path, shared: Path, memory: Path) -> None:
        self._root = root
        self._shared = shared
        self._memory = memory

    def volume(self, uid: str, name: str, *, in_memory: bool = False) -> DirectoryFiles:
        root = self._memory if in_memory else self._root
        return _directory(root / "pods" / uid / name)

    def persistent(self, volume: str, uid: str) -> DirectoryFiles:
        return _directory(self._shared / volume.replace("/", "_"))

    def host(self, path: str) -> tuple[DirectoryFiles, str]:
        real = Path(path)
        if real.exists() and not real.is_dir():
            return DirectoryFiles(real.parent), real.name
        real.mkdir(parents=True, exist_ok=True)
        return DirectoryFiles(real), ""

    def claim_host_path(self, path: str, type: str) -> None:
        real = Path(path)
        found = next((name for name, there in _TESTS if there(real)), "")
        if not found and type == "FileOrCreate":
            try:
                real.touch(mode=0o644)
            except OSError as error:
                raise WrongKind(f"open {path}: {(error.strerror or '').lower()}") from error
        elif not found and type == "DirectoryOrCreate":
            real.mkdir(parents=True)
        else:
            _check_kind(path, type, found)

    def discard(self, uid: str) -> None:
        for root in (self._root, self._memory):
            shutil.rmtree(root / "pods" / uid, ignore_errors=True)


_TESTS = (
    ("directory", Path.is_dir),
    ("file", Path.is_file),
    ("socket", Path.is_socket),
    ("character device", Path.is_char_device),
    ("block device", Path.is_block_device),
)


def _check_kind(path: str, type: str, found: str) -> None:
    if type in KINDS and found != KINDS[type][0]:
        raise WrongKind(f"{path} is not {KINDS[type][1]}")


def _directory(path: Path) -> DirectoryFiles:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(EMPTY_DIR_MODE)
    return DirectoryFiles(path)

"""Files as a small Protocol: in memory for emulated containers and simulations, in a directory for real ones.

Paths are absolute within the tree ("/a/b"). Errors are the operating system's own (`FileNotFoundError`,
`IsADirectoryError`, …), so that commands can word them as usual. A memory tree may have other nodes mounted
into it: volumes are shared by the containers of a pod, and an emulated container's view is its own root
with those mounts.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

MAX_FILE_BYTES = 64 << 20
"""What one file of an emulated container may hold; beyond it the device is full."""
MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    kind: str
    """file | directory | link"""
    mode: int
    size: int
    target: str = ""
    """Of a link."""
    uid: int = 0
    gid: int = 0


class Files(Protocol):
    """A tree of files. All methods but `stat(follow=False)`, `link`, `remove` and `rename` follow links."""

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, data: bytes, *, append: bool = False, mode: int | None = None) -> None: ...

    def names(self, path: str) -> list[str]:
        """What a directory holds, sorted."""

    def stat(self, path: str, *, follow: bool = True) -> Stat: ...

    def make_directory(self, path: str, *, parents: bool = False, mode: int = 0o755) -> None: ...

    def link(self, target: str, path: str) -> None:
        """A symbolic link at `path`."""

    def remove(self, path: str) -> None:
        """A file, a link, or a directory with everything in it."""

    def rename(self, old: str, new: str) -> None:
        """Replaces what is at `new`, in one step."""

    def chmod(self, path: str, mode: int) -> None: ...

    def chown(self, path: str, uid: int, gid: int) -> None:
        """-1 leaves one as it is."""


def exists(files: Files, path: str) -> bool:
    try:
        files.stat(path)
    except OSError:
        return False
    return True


def used(files: Files, path: str = "/") -> int:
    """Bytes that the files below hold; links are not followed."""
    total = 0
    for name in files.names(path):
        here = f"{path.rstrip('/')}/{name}"
        found = files.stat(here, follow=False)
        total += used(files, here) if found.kind == "directory" else found.size
    return total


def split(path: str) -> list[str]:
    """The parts of a path, with . and .. worked in."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


# --- in memory


@dataclass(slots=True)
class MemoryFile:
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(slots=True)
class MemoryLink:
    target: str


@dataclass(slots=True)
class MemoryDirectory:
    entries: dict[str, MemoryNode] = field(default_factory=dict)
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


MemoryNode: TypeAlias = MemoryFile | MemoryLink | MemoryDirectory


class MemoryFiles:
    """Implements `Files`. What is mounted read-only refuses changes."""

    def __init__(self, root: MemoryDirectory | None = None) -> None:
        self.root = root if root is not None else MemoryDirectory()
        self._mounts: dict[str, tuple[MemoryNode, bool]] = {}
        self.root_read_only = False
        """What is not mounted refuses changes too."""

    def mount(self, path: str, node: MemoryNode, *, read_only: bool) -> None:
        parts = split(path)
        place = "/" + "/".join(parts)
        if isinstance(node, MemoryDirectory):
            self.make_directory(place, parents=True)
        else:
            self.make_directory("/" + "/".join(parts[:-1]), parents=True)
            self.write(place, b"")
        self._mounts[place] = (node, read_only)

    def mounts(self) -> Mapping[str, tuple[MemoryNode, bool]]:
        """Path → (node, read-only)."""
        return self._mounts

    def node(self, path: str) -> MemoryNode:
        """What is there, links followed."""
        return self._walk(path, follow=True)[0]

    def read(self, path: str) -> bytes:
        node = self.node(path)
        if isinstance(node, MemoryDirectory):
            raise _error(errno.EISDIR, path)
        assert isinstance(node, MemoryFile)
        return node.data

    def write(self, path: str, data: bytes, *, append: bool = False, mode: int | None = None) -> None:
        try:
            node, where = self._walk(path, follow=True)
        except FileNotFoundError:
            parent, name, read_only = self._parent(path)
            if read_only:
                raise _error(errno.EROFS, path) from None
            node = parent.entries[name] = MemoryFile()
            where = False
        if where:
            raise _error(errno.EROFS, path)
        if not isinstance(node, MemoryFile):
            raise _error(errno.EISDIR, path)
        if len(data) + (len(node.data) if append else 0) > MAX_FILE_BYTES:
            raise _error(errno.ENOSPC, path)
        node.data = node.data + data if append else data
        if mode is not None:
            node.mode = mode

    def names(self, path: str) -> list[str]:
        node = self.node(path)
        if not isinstance(node, MemoryDirectory):
            raise _error(errno.ENOTDIR, path)
        return sorted(node.entries)

    def stat(self, path: str, *, follow: bool = True) -> Stat:
        match self._walk(path, follow=follow)[0]:
            case MemoryFile(data=data, mode=mode, uid=uid, gid=gid):
                return Stat(kind="file", mode=mode, size=len(data), uid=uid, gid=gid)
            case MemoryLink(target=target):
                return Stat(kind="link", mode=0o777, size=len(target), target=target)
            case MemoryDirectory(mode=mode, uid=uid, gid=gid):
                return Stat(kind="directory", mode=mode, size=4096, uid=uid, gid=gid)

    def make_directory(self, path: str, *, parents: bool = False, mode: int = 0o755) -> None:
        parts = split(path)
        for depth in range(1 if parents else len(parts), len(parts) + 1):
            here = "/" + "/".join(parts[:depth])
            try:
                node = self.node(here)
            except FileNotFoundError:
                parent, name, read_only = self._parent(here)
                if read_only:
                    raise _error(errno.EROFS, path) from None
                parent.entries[name] = MemoryDirectory(mode=mode)
                continue
            if not parents or not isinstance(node, MemoryDirectory):
                raise _error(errno.EEXIST, path)

    def link(self, target: str, path: str) -> None:
        parent, name, read_only = self._parent(path)
        if read_only:
            raise _error(errno.EROFS, path)
        if name in parent.entries:
            raise _error(errno.EEXIST, path)
        parent.entries[name] = MemoryLink(target)

    def remove(self, path: str) -> None:
        parent, name, read_only = self._parent(path)
        if name not in parent.entries:
            raise _error(errno.ENOENT, path)
        if read_only:
            raise _error(errno.EROFS, path)
        if "/" + "/".join(split(path)) in self._mounts:
            raise _error(errno.EBUSY, path)
        del parent.entries[name]

    def rename(self, old: str, new: str) -> None:
        parent, name, read_only = self._parent(old)
        if name not in parent.entries:
            raise _error(errno.ENOENT, old)
        target, target_name, target_read_only = self._parent(new)
        if read_only or target_read_only:
            raise _error(errno.EROFS, old)
        target.entries[target_name] = parent.entries.pop(name)

    def chmod(self, path: str, mode: int) -> None:
        node, read_only = self._walk(path, follow=True)
        if read_only:
            raise _error(errno.EROFS, path)
        if not isinstance(node, MemoryLink):
            node.mode = mode

    def chown(self, path: str, uid: int, gid: int) -> None:
        node, read_only = self._walk(path, follow=True)
        if read_only:
            raise _error(errno.EROFS, path)
        if not isinstance(node, MemoryLink):
            node.uid, node.gid = uid if uid >= 0 else node.uid, gid if gid >= 0 else node.gid

    def _parent(self, path: str) -> tuple[MemoryDirectory, str, bool]:
        parts = split(path)
        if not parts:
            raise _error(errno.EBUSY, path)
        node, read_only = self._walk("/" + "/".join(parts[:-1]), follow=True)
        if not isinstance(node, MemoryDirectory):
            raise _error(errno.ENOTDIR, path)
        return node, parts[-1], read_only

    def _walk(self, path: str, *, follow: bool) -> tuple[MemoryNode, bool]:
        """The node at a path, and whether it is mounted read-only."""
        todo, done = split(path)[::-1], list[str]()
        links = 0
        stack: list[tuple[MemoryNode, bool]] = [(self.root, self.root_read_only)]
        while todo:
            part = todo.pop()
            node, read_only = stack[-1]
            if part == "..":
                if done:
                    done.pop()
                    stack.pop()
                continue
            if not isinstance(node, MemoryDirectory):
                raise _error(errno.ENOTDIR, path)
            if part not in node.entries:
                raise _error(errno.ENOENT, path)
            place = "/" + "/".join([*done, part])
            found, read_only = self._at(place, node.entries[part], read_only)
            if isinstance(found, MemoryLink) and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    raise _error(errno.ELOOP, path)
                if found.target.startswith("/"):
                    done, stack = [], stack[:1]
                todo += [p for p in found.target.split("/")[::-1] if p not in ("", ".")]
                continue
            done.append(part)
            stack.append((found, read_only))
        return stack[-1]

    def _at(self, place: str, node: MemoryNode, read_only: bool) -> tuple[MemoryNode, bool]:
        return self._mounts.get(place, (node, read_only)) if self._mounts else (node, read_only)


# --- in a directory


class DirectoryFiles:
    """Implements `Files` below a directory of the machine. For volumes, which the agent itself fills: links
    are followed as the machine sees them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def real(self, path: str) -> Path:
        return self.root.joinpath(*split(path))

    def read(self, path: str) -> bytes:
        return self.real(path).read_bytes()

    def write(self, path: str, data: bytes, *, append: bool = False, mode: int | None = None) -> None:
        real = self.real(path)
        with real.open("ab" if append else "wb") as file:
            file.write(data)
        if mode is not None:
            real.chmod(mode)

    def names(self, path: str) -> list[str]:
        return sorted(os.listdir(self.real(path)))

    def stat(self, path: str, *, follow: bool = True) -> Stat:
        real = self.real(path)
        found = real.stat() if follow else real.lstat()
        target = os.readlink(real) if not follow and real.is_symlink() else ""
        kind = "link" if target else "directory" if real.is_dir() else "file"
        return Stat(
            kind=kind,
            mode=found.st_mode & 0o7777,
            size=found.st_size,
            target=target,
            uid=found.st_uid,
            gid=found.st_gid,
        )

    def make_directory(self, path: str, *, parents: bool = False, mode: int = 0o755) -> None:
        real = self.real(path)
        real.mkdir(parents=parents, exist_ok=parents)
        real.chmod(mode)

    def link(self, target: str, path: str) -> None:
        self.real(path).symlink_to(target)

    def remove(self, path: str) -> None:
        real = self.real(path)
        if real.is_dir() and not real.is_symlink():
            shutil.rmtree(real)
        else:
            real.unlink()

    def rename(self, old: str, new: str) -> None:
        self.real(old).replace(self.real(new))

    def chmod(self, path: str, mode: int) -> None:
        self.real(path).chmod(mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Nothing, where the agent is not root: all its pods' processes are its own user's then."""
        if os.geteuid() == 0:
            os.chown(self.real(path), uid, gid)

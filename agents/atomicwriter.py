"""Writes a volume's contents so that a reader sees all of the old or all of the new ones.

The files lie in a directory of their own; `..data` is a link to it, and what users see are links through
`..data`. A change writes a new directory and turns the one link, by renaming.
"""

from __future__ import annotations

from collections.abc import Mapping

from agents.files import Files
from agents.volumes import Content

DATA = "..data"
_NEW = "..data_tmp"


GROUP_READS = 0o440
"""What a volume that nobody writes to gets for the pod's group."""


def publish(files: Files, contents: Mapping[str, Content], stamp: str, group: int | None = None) -> bool:
    """Makes the tree hold exactly these; False where it did already. `stamp` names the new directory, `group`
    is to be able to read all."""
    names = files.names("/")
    added = GROUP_READS if group is not None else 0
    wanted = {path: (content.data, content.mode | added) for path, content in contents.items()}
    if DATA in names and _held(files, f"/{DATA}") == wanted:
        return False
    old = files.stat(f"/{DATA}", follow=False).target if DATA in names else ""
    directory = f"..{stamp}"
    files.make_directory(f"/{directory}")
    for path, content in contents.items():
        head = path.rpartition("/")[0]
        if head:
            files.make_directory(f"/{directory}/{head}", parents=True)
        files.write(f"/{directory}/{path}", content.data, mode=content.mode | added)
        if content.uid or group is not None:
            files.chown(f"/{directory}/{path}", content.uid, group if group is not None else -1)
    if group is not None:
        files.chown("/", -1, group)
    files.link(directory, f"/{_NEW}")
    files.rename(f"/{_NEW}", f"/{DATA}")
    top = {path.partition("/")[0]: None for path in contents}
    for name in top:
        if name not in names:
            files.link(f"{DATA}/{name}", f"/{name}")
    for name in names:
        if name not in top and not name.startswith(".."):
            files.remove(f"/{name}")
    if old:
        files.remove(f"/{old}")
    return True


def _held(files: Files, path: str, prefix: str = "") -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    for name in files.names(path):
        here = f"{path}/{name}"
        stat = files.stat(here)
        if stat.kind == "directory":
            found.update(_held(files, here, f"{prefix}{name}/"))
        else:
            found[prefix + name] = (files.read(here), stat.mode)
    return found

"""agnhost mounttest: writes and reads files of the pod's volumes and says what they are like.

What is asked for is done in a fixed order, whatever the order of the flags: so one command can write a file
and then look at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.emulated.textcommands import options
from agents.emulated.world import Run, Sleep, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

LOOK_S = 2.0
FRESH = "mount-tester new file\n"
_NEW = ("new_file_0644", "new_file_0666", "new_file_0660", "new_file_0777")


def mounttest(shell: Shell, words: list[str]) -> Run:
    given, _ = options(words)
    failed = False
    for name in ("fs_type", *_NEW, "file_mode", "file_perm", "file_owner", "file_content"):
        if path := given.get(name, ""):
            failed = (yield from _look(shell, name, path)) != 0 or failed
    if path := given.get("file_content_in_loop", ""):
        breaks = given.get("break_on_expected_content", "true") != "false"
        seconds = float(given.get("retry_time") or 180)
        failed = (yield from _in_loop(shell, path, seconds, breaks)) != 0 or failed
    return 1 if failed else 0


def _look(shell: Shell, name: str, path: str) -> Run:
    files = shell.world.files
    try:
        match name:
            case "file_content":
                return (yield from _content(shell, path))
            case "file_mode":
                stat = files.stat(path)
                yield out(f'mode of file "{path}": {mode_text(stat.kind, stat.mode)}\n')
            case "file_perm":
                yield out(f'perms of file "{path}": {mode_text("file", files.stat(path).mode)}\n')
            case "file_owner":
                stat = files.stat(path)
                yield out(f'owner UID of "{path}": {stat.uid}\nowner GID of "{path}": {stat.gid}\n')
            case "fs_type":
                files.stat(path)
                kind = "tmpfs" if path in shell.world.memory_mounts else "61267"
                yield out(f'mount type of "{path}": {kind}\n')
            case _:
                files.write(path, FRESH.encode(), mode=int(name[-4:], 8))
                return (yield from _content(shell, path))
    except OSError as error:
        what = "writing new file" if name in _NEW else f"reading {name}"
        yield out(f'error {what} "{path}": {_said(path, error)}\n')
        return 1
    return 0


def _content(shell: Shell, path: str) -> Run:
    try:
        text = shell.world.files.read(path).decode(errors="surrogateescape")
    except OSError as error:
        yield out(f'error reading file content for "{path}": {_said(path, error)}\n')
        return 1
    yield out(f'content of file "{path}": {text}\n')
    return 0


def _said(path: str, error: OSError) -> str:
    return f"open {path}: {(error.strerror or '').lower()}"


def mode_text(kind: str, mode: int) -> str:
    """As Go writes a file mode: letters of the special bits, then the permissions."""
    letters = "".join(c if mode >> (8 - at) & 1 else "-" for at, c in enumerate("rwxrwxrwx"))
    special = "d" if kind == "directory" else ""
    special += "".join(letter for bit, letter in ((0o4000, "u"), (0o2000, "g"), (0o1000, "t")) if mode & bit)
    return (special or "-") + letters


def _in_loop(shell: Shell, path: str, seconds: float, breaks: bool) -> Run:
    waited, failed = 0.0, False
    while waited < seconds:
        try:
            text = shell.world.files.read(path).decode(errors="surrogateescape")
            failed = False
            yield out(f'content of file "{path}": {text}\n')
            if breaks:
                if text == FRESH:
                    break
                yield out(f"Unexpected content. Expected: {FRESH}. Retrying")
        except OSError as error:
            failed = True
            yield out(f"Error reading file {path}: {_said(path, error)}, retrying\n")
        yield Sleep(LOOK_S)
        waited += LOOK_S
    return 1 if failed else 0

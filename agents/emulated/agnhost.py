"""What the image agnhost, with which clusters are tested, does besides serving: its one-off commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.emulated.textcommands import options
from agents.emulated.world import FOREVER_S, Run, Sleep, err, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

COMMANDS = ("entrypoint-tester", "help", "mounttest", "pause")
LOOK_S = 1.0


def agnhost(shell: Shell, words: list[str]) -> Run:
    match words:
        case ["entrypoint-tester", *arguments]:
            yield out(f"[/agnhost entrypoint-tester{''.join(f' {word}' for word in arguments)}]\n")
            return 0
        case ["mounttest", *arguments]:
            return (yield from _mounttest(shell, arguments))
        case ["pause", *_] | []:
            yield out("Paused\n")
            yield Sleep(FOREVER_S)
            return 0
    yield err(f'Error: unknown command "{words[0]}" for "app"\n')
    return 1


def _mounttest(shell: Shell, words: list[str]) -> Run:
    given, _ = options(words)
    code = 0
    for name, value in given.items():
        for path in value.split(",") if value else ():
            code = (yield from _look(shell, name, path, given)) or code
    return code


def _look(shell: Shell, name: str, path: str, given: dict[str, str]) -> Run:
    files = shell.world.files
    try:
        match name:
            case "file_content":
                yield out(f'content of file "{path}": {files.read(path).decode(errors="replace")}\n')
            case "file_content_in_loop":
                return (yield from _in_loop(shell, path, float(given.get("retry_time") or 180)))
            case "file_mode":
                stat = files.stat(path)
                yield out(f'mode of file "{path}": {_mode(stat.kind, stat.mode)}\n')
            case "file_perm":
                yield out(f'perms of file "{path}": {_mode("file", files.stat(path).mode)}\n')
            case "fs_type":
                files.stat(path)
                yield out(f'mount type of "{path}": 61267\n')
            case "new_file_0644" | "new_file_0660" | "new_file_0666" | "new_file_0777":
                files.write(path, b"mount-tester new file\n", mode=int(name[-4:], 8))
    except OSError as error:
        yield err(f'error reading file content for "{path}": open {path}: {(error.strerror or "").lower()}\n')
        return 1
    return 0


def _mode(kind: str, mode: int) -> str:
    letters = "".join(c if mode >> (8 - at) & 1 else "-" for at, c in enumerate("rwxrwxrwx"))
    return ("d" if kind == "directory" else "-") + letters


def _in_loop(shell: Shell, path: str, seconds: float) -> Run:
    waited = 0.0
    while waited < seconds:
        try:
            text = shell.world.files.read(path).decode(errors="replace")
            yield out(f'content of file "{path}": {text}\n')
        except OSError as error:
            yield err(f"Error reading file {path}: open {path}: {(error.strerror or '').lower()}, retrying\n")
        yield Sleep(LOOK_S)
        waited += LOOK_S
    return 0

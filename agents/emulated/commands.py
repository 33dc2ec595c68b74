"""The commands of the small shell: each a generator over the container's world, see `agents.emulated.shell`.

Their options are those that manifests use; output and errors are worded as busybox words them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from agents.emulated.world import FOREVER_S, Ended, Run, Sleep, Write

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

_SUFFIX_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Command: TypeAlias = Callable[["Shell", list[str]], Run]


def _echo(shell: Shell, words: list[str]) -> Run:
    end, escapes = "\n", False
    while words and re.fullmatch("-[neE]+", words[0]):
        end = "" if "n" in words[0] else end
        escapes = escapes or "e" in words[0]
        words = words[1:]
    text = " ".join(words)
    if escapes:
        text = text.replace("\\n", "\n").replace("\\t", "\t")
    yield Write("stdout", text + end)
    return 0


def _printf(shell: Shell, words: list[str]) -> Run:
    if words:
        text = words[0].replace("\\n", "\n").replace("\\t", "\t")
        values = iter(words[1:])
        yield Write("stdout", re.sub(r"%[sd]", lambda _: next(values, ""), text))
    return 0


def _sleep(shell: Shell, words: list[str]) -> Run:
    seconds = 0.0
    for word in words:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", word)
        if match is None and word not in ("inf", "infinity"):
            yield Write("stderr", f"sleep: invalid number '{word}'\n")
            return 1
        seconds += FOREVER_S if match is None else float(match[1]) * _SUFFIX_S[match[2] or "s"]
    yield Sleep(seconds)
    return 0


def _exit(shell: Shell, words: list[str]) -> Run:
    yield from ()
    raise Ended(int(words[0]) & 255 if words and words[0].isdigit() else shell.status)


def _cat(shell: Shell, words: list[str]) -> Run:
    if not words:
        yield Write("stdout", shell.stdin)
    code = 0
    for word in words:
        path = shell.path(word)
        content = shell.world.files.get(path)
        if path == "/etc/hostname":
            yield Write("stdout", shell.world.hostname + "\n")
        elif content is None:
            yield Write("stderr", f"cat: can't open '{word}': No such file or directory\n")
            code = 1
        else:
            yield Write("stdout", content.decode(errors="replace"))
    return code


def _env(shell: Shell, words: list[str]) -> Run:
    if words:
        for word in words:
            if word in shell.variables:
                yield Write("stdout", shell.variables[word] + "\n")
        return 0 if all(word in shell.variables for word in words) else 1
    yield Write("stdout", "".join(f"{name}={value}\n" for name, value in shell.variables.items()))
    return 0


def _ls(shell: Shell, words: list[str]) -> Run:
    paths = [word for word in words if not word.startswith("-")] or [shell.world.directory]
    code = 0
    for path in paths:
        full = shell.path(path)
        prefix = full.rstrip("/") + "/"
        inside = sorted({f[len(prefix) :].split("/")[0] for f in shell.world.files if f.startswith(prefix)})
        if inside or full == "/":
            yield Write("stdout", "".join(f"{name}\n" for name in inside))
        elif full in shell.world.files:
            yield Write("stdout", f"{path}\n")
        else:
            yield Write("stderr", f"ls: {path}: No such file or directory\n")
            code = 1
    return code


def _touch(shell: Shell, words: list[str]) -> Run:
    yield from ()
    for word in words:
        if not word.startswith("-"):
            shell.world.files.setdefault(shell.path(word), b"")
    return 0


def _rm(shell: Shell, words: list[str]) -> Run:
    options = "".join(word for word in words if word.startswith("-"))
    code = 0
    for word in words:
        if word.startswith("-"):
            continue
        path = shell.path(word)
        found = [f for f in shell.world.files if f == path or f.startswith(path + "/")]
        for name in found:
            del shell.world.files[name]
        if not found and "f" not in options:
            yield Write("stderr", f"rm: can't remove '{word}': No such file or directory\n")
            code = 1
    return code


def _test(shell: Shell, words: list[str]) -> Run:
    yield from ()
    words = words[:-1] if words and words[-1] == "]" else words
    return 0 if _holds(shell, words) else 1


def _holds(shell: Shell, words: list[str]) -> bool:
    match words:
        case ["!", *rest]:
            return not _holds(shell, rest)
        case ["-z", text]:
            return text == ""
        case ["-n", text] | [text]:
            return text != ""
        case ["-f" | "-e" | "-r" | "-s", path]:
            return shell.path(path) in shell.world.files
        case ["-d", path]:
            prefix = shell.path(path).rstrip("/") + "/"
            return any(name.startswith(prefix) for name in shell.world.files)
        case [left, "=" | "==", right]:
            return left == right
        case [left, "!=", right]:
            return left != right
        case [left, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" as how, right]:
            if not (left.lstrip("-").isdigit() and right.lstrip("-").isdigit()):
                return False
            difference = int(left) - int(right)
            return {
                "-eq": difference == 0, "-ne": difference != 0, "-lt": difference < 0,
                "-le": difference <= 0, "-gt": difference > 0, "-ge": difference >= 0,
            }[how]  # fmt: skip
    return False


def _tail(shell: Shell, words: list[str]) -> Run:
    paths = [word for word in words if not word.startswith("-") and not word.isdigit()]
    for path in paths:
        content = shell.world.files.get(shell.path(path))
        if content:
            yield Write("stdout", content.decode(errors="replace"))
    if any(word in ("-f", "-F") for word in words):
        yield Sleep(FOREVER_S)
    return 0


def _grep(shell: Shell, words: list[str]) -> Run:
    options = "".join(word for word in words if word.startswith("-"))
    rest = [word for word in words if not word.startswith("-")]
    text = shell.stdin
    if len(rest) > 1:
        text = "".join(shell.world.files.get(shell.path(f), b"").decode(errors="replace") for f in rest[1:])
    try:
        wanted = re.compile(rest[0] if rest else "", re.IGNORECASE if "i" in options else 0)
    except re.error as error:
        yield Write("stderr", f"grep: bad regex: {error}\n")
        return 2
    found = [line for line in text.splitlines() if (wanted.search(line) is None) == ("v" in options)]
    if "q" not in options:
        yield Write("stdout", "".join(f"{line}\n" for line in found))
    return 0 if found else 1


def _trap(shell: Shell, words: list[str]) -> Run:
    yield from ()
    shell.world.traps = shell.world.traps or any(w in ("TERM", "SIGTERM", "15", "EXIT") for w in words[1:])
    return 0


def _export(shell: Shell, words: list[str]) -> Run:
    yield from ()
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value
    return 0


def _cd(shell: Shell, words: list[str]) -> Run:
    yield from ()
    shell.world.directory = shell.path(words[0] if words else "/")
    return 0


def _exec(shell: Shell, words: list[str]) -> Run:
    if not words:
        return 0
    code = yield from shell.execute(words)
    raise Ended(code)


def _seq(shell: Shell, words: list[str]) -> Run:
    numbers = [int(word) for word in words if word.lstrip("-").isdigit()] or [0]
    first, last = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[-1])
    step = numbers[1] if len(numbers) == 3 and numbers[1] else 1
    yield Write("stdout", "".join(f"{n}\n" for n in range(first, last + (1 if step > 0 else -1), step)))
    return 0


def _says(text: Callable[[Shell], str]) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        yield Write("stdout", text(shell) + "\n")
        return 0

    return command


def _returns(code: int) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        yield from ()
        return code

    return command


COMMANDS: dict[str, Command] = {
    ":": _returns(0),
    "[": _test,
    "cat": _cat,
    "cd": _cd,
    "chmod": _returns(0),
    "chown": _returns(0),
    "date": _says(lambda shell: shell.world.now().strftime("%a %b %e %H:%M:%S UTC %Y")),
    "echo": _echo,
    "env": _env,
    "exec": _exec,
    "exit": _exit,
    "export": _export,
    "false": _returns(1),
    "grep": _grep,
    "hostname": _says(lambda shell: shell.world.hostname),
    "id": _says(lambda shell: "uid=0(root) gid=0(root) groups=0(root)"),
    "ls": _ls,
    "mkdir": _returns(0),
    "printenv": _env,
    "printf": _printf,
    "pwd": _says(lambda shell: shell.world.directory),
    "rm": _rm,
    "seq": _seq,
    "set": _returns(0),
    "sleep": _sleep,
    "tail": _tail,
    "test": _test,
    "touch": _touch,
    "trap": _trap,
    "true": _returns(0),
    "uname": _says(lambda shell: "Linux"),
    "wait": _returns(0),
    "whoami": _says(lambda shell: "root"),
}

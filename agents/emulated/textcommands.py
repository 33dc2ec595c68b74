"""Commands of the small shell that work on text: each a generator over the container's world."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeAlias

from agents.emulated.world import FOREVER_S, Run, Sleep, Step, Write, err, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

Command: TypeAlias = Callable[["Shell", list[str]], Run]

FOLLOW_S = 0.5
"""How often `tail -f` looks."""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "\\": "\\", "0": "\0"}


def options(words: list[str], with_value: str = "") -> tuple[dict[str, str], list[str]]:
    """Short options (those of `with_value` take one), long ones as --name[=value], and the rest."""
    found: dict[str, str] = {}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            return found, rest + queue
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value
        elif word.startswith("-") and len(word) > 1:
            for position, letter in enumerate(word[1:], 2):
                if letter in with_value:
                    found[letter] = word[position:] or (queue.pop(0) if queue else "")
                    break
                found[letter] = ""
        else:
            rest.append(word)
    return found, rest


def spaced(words: list[str], *names: str) -> list[str]:
    """With `--name value` of these names written as `--name=value`."""
    found: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        takes = word.startswith("--") and word[2:] in names and queue
        found.append(f"{word}={queue.pop(0)}" if takes else word)
    return found


def inputs(shell: Shell, name: str, paths: list[str]) -> Generator[Step, object, tuple[bytes, int]]:
    """All that the files hold, or the standard input; and the exit code so far."""
    if not paths:
        return (yield from shell.read_all()), 0
    data, code = b"", 0
    for path in paths:
        if path == "-":
            data += yield from shell.read_all()
            continue
        try:
            data += shell.world.files.read(shell.path(path))
        except IsADirectoryError:
            yield err(f"{name}: read error: Is a directory\n")
            code = 1
        except OSError as error:
            yield err(f"{name}: can't open '{path}': {error.strerror}\n")
            code = 1
    return data, code


def lines_of(data: bytes) -> list[str]:
    return data.decode(errors="surrogateescape").splitlines()


def joined(lines: list[str]) -> Write:
    return out("".join(f"{line}\n" for line in lines))


def unescaped(text: str) -> str:
    text = re.sub(r"\\0?([0-7]{3})|\\x([0-9a-fA-F]{1,2})", _coded, text)
    return re.sub(r"\\([ntrabe\\0])", lambda match: _ESCAPES[match[1]], text)


def _coded(match: re.Match[str]) -> str:
    return chr(int(match[1], 8) if match[1] else int(match[2], 16))


def echo(shell: Shell, words: list[str]) -> Run:
    end, escapes = "\n", False
    while words and re.fullmatch("-[neE]+", words[0]):
        end = "" if "n" in words[0] else end
        escapes = escapes or "e" in words[0]
        words = words[1:]
    text = " ".join(words)
    yield out((unescaped(text) if escapes else text) + end)
    return 0


def printf(shell: Shell, words: list[str]) -> Run:
    if not words:
        yield err("printf: usage: printf FORMAT [ARG...]\n")
        return 1
    form, values = unescaped(words[0]), words[1:]
    count = len(re.findall(r"%[^%]", form.replace("%%", "")))
    while True:
        yield out(_filled(form, iter(values[:count])))
        values = values[count:]
        if not values or not count:
            return 0


def _filled(form: str, values: Iterator[str]) -> str:
    return re.sub(r"%(-?0?\d*(?:\.\d+)?)([sdixfgcb%])", lambda match: _formatted(match, values), form)


def _formatted(match: re.Match[str], values: Iterator[str]) -> str:
    width, kind = match[1], match[2]
    if kind == "%":
        return "%"
    value = next(values, "")
    if kind in "sc":
        return str(f"%{width}s" % value)
    if kind == "b":
        return unescaped(value)
    try:
        number: float = float(value or 0) if kind in "fg" else int(value or "0", 0)
        return str(f"%{width}{kind}" % number)
    except ValueError:
        return "0"


def cat(shell: Shell, words: list[str]) -> Run:
    _, paths = options(words)
    if not paths:
        while (line := (yield from shell.read_line())) is not None:
            yield out(line)
        return 0
    code = 0
    for path in paths:
        data, failed = yield from inputs(shell, "cat", [path])
        code = code or failed
        if data:
            yield Write("stdout", data)
    return code


def head(shell: Shell, words: list[str]) -> Run:
    words = [re.sub(r"^-(\d+)$", r"-n\1", word) for word in words]
    given, paths = options(words, "nc")
    if not paths and "c" not in given and not shell.stdin.ended:
        for _ in range(int(given.get("n", "10"))):
            line = yield from shell.read_line()
            if line is None:
                break
            yield out(line)
        return 0
    data, code = yield from inputs(shell, "head", paths)
    if "c" in given:
        yield Write("stdout", data[: _size(given["c"])])
    else:
        count = int(given.get("n", "10"))
        parts = data.splitlines(keepends=True)
        yield Write("stdout", b"".join(parts[:count]))
    return code


def tail(shell: Shell, words: list[str]) -> Run:
    words = [re.sub(r"^-(\d+)$", r"-n\1", word) for word in words]
    given, paths = options(words, "nc")
    data, code = yield from inputs(shell, "tail", paths)
    count = given.get("n", "10")
    if "c" in given:
        yield Write("stdout", data[-_size(given["c"]) :])
    else:
        parts = data.splitlines(keepends=True)
        first = int(count[1:]) - 1 if count.startswith("+") else max(len(parts) - int(count), 0)
        yield Write("stdout", b"".join(parts[first:]))
    if not paths or not given.keys() & {"f", "F"}:
        return code
    if paths == ["/dev/null"]:
        yield Sleep(FOREVER_S)
    shown = len(data)
    while True:
        yield Sleep(FOLLOW_S)
        try:
            data = shell.world.files.read(shell.path(paths[-1]))
        except OSError:
            continue
        if len(data) < shown:
            shown = 0
        if len(data) > shown:
            yield Write("stdout", data[shown:])
            shown = len(data)


def _size(text: str) -> int:
    return int(text.rstrip("kKmMb")) * {"k": 1024, "m": 1 << 20}.get(text[-1:].lower(), 1)


def grep(shell: Shell, words: list[str]) -> Run:
    given, rest = options(words, "emABC")
    pattern = given["e"] if "e" in given else rest.pop(0) if rest else ""
    try:
        if "F" in given:
            pattern = re.escape(pattern)
        elif "E" not in given:
            # basic expressions: these are special only with a backslash before them
            pattern = re.sub(r"\\?[|+?(){}]", lambda m: m[0][1:] if len(m[0]) > 1 else f"\\{m[0]}", pattern)
        if "w" in given:
            pattern = rf"\b(?:{pattern})\b"
        wanted = re.compile(pattern, re.IGNORECASE if "i" in given else 0)
    except re.error as error:
        yield err(f"grep: bad regex '{pattern}': {error}\n")
        return 2
    found, failed = 0, 0
    for path in _places(shell, rest, recursive=bool(given.keys() & {"r", "R"})) or [""]:
        data, code = yield from inputs(shell, "grep", [path] if path else [])
        failed = failed or 2 * code
        prefix = f"{path}:" if len(rest) > 1 or given.keys() & {"r", "R", "H"} else ""
        prefix = "" if "h" in given else prefix
        count = 0
        for number, line in enumerate(lines_of(data), 1):
            match = wanted.search(line)
            if (match is None) != ("v" in given):
                continue
            count += 1
            if not given.keys() & {"q", "c", "l"}:
                shown = match[0] if match is not None and "o" in given else line
                yield out(f"{prefix}{f'{number}:' if 'n' in given else ''}{shown}\n")
            if "m" in given and count >= int(given["m"]):
                break
        if "c" in given:
            yield out(f"{prefix}{count}\n")
        elif "l" in given and count:
            yield out(f"{path}\n")
        found += count
    return 0 if found else failed or 1


def _places(shell: Shell, paths: list[str], *, recursive: bool) -> list[str]:
    if not recursive:
        return paths
    found: list[str] = []
    for path in paths or ["."]:
        try:
            names = shell.world.files.names(shell.path(path))
        except NotADirectoryError:
            found.append(path)
        except OSError:
            continue
        else:
            found += (
                _places(shell, [f"{path.rstrip('/')}/{name}" for name in names], recursive=True)
                if names
                else []
            )
    return found


def wc(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    data, code = yield from inputs(shell, "wc", paths)
    counts = {"l": data.count(b"\n"), "w": len(data.split()), "c": len(data)}
    chosen = [letter for letter in "lwc" if letter in given] or list("lwc")
    text = " ".join(str(counts[letter]) for letter in chosen)
    yield out(f"{text} {paths[0]}\n" if len(paths) == 1 else f"{text}\n")
    return code


def _leading_number(line: str) -> float:
    match = re.match(r"\s*-?\d+(\.\d+)?", line)
    return float(match[0]) if match is not None else 0.0


def sort(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words, "kt")
    data, code = yield from inputs(shell, "sort", paths)
    lines = lines_of(data)
    if "n" in given:
        lines.sort(
            key=lambda line: float(match[0]) if (match := re.match(r"\s*-?\d+(\.\d+)?", line)) else 0.0
        )
    else:
        lines.sort()
    if "r" in given:
        lines.reverse()
    yield joined(list(dict.fromkeys(lines)) if "u" in given else lines)
    return code


def uniq(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    data, code = yield from inputs(shell, "uniq", paths)
    counted: list[tuple[str, int]] = []
    for line in lines_of(data):
        if counted and counted[-1][0] == line:
            counted[-1] = (line, counted[-1][1] + 1)
        else:
            counted.append((line, 1))
    yield joined([f"{count:7d} {line}" if "c" in given else line for line, count in counted])
    return code


def cut(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words, "dfc")
    data, code = yield from inputs(shell, "cut", paths)
    shown = []
    for line in lines_of(data):
        parts = list(line) if "c" in given else line.split(given.get("d", "\t"))
        places = _numbers(given.get("c") or given.get("f", "1"), len(parts))
        shown.append(("" if "c" in given else given.get("d", "\t")).join(parts[n - 1] for n in places))
    yield joined(shown)
    return code


def _numbers(text: str, last: int) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, end = part.partition("-")
        stop = int(end or last) if dash else int(first)
        found += range(int(first or 1), min(stop, last) + 1)
    return found


def tr(shell: Shell, words: list[str]) -> Run:
    given, sets = options(words)
    text = (yield from shell.read_all()).decode(errors="surrogateescape")
    old = _characters(sets[0]) if sets else ""
    if "d" in given:
        yield out("".join(character for character in text if character not in old))
    elif len(sets) > 1:
        new = _characters(sets[1]) or " "
        table = {character: new[min(place, len(new) - 1)] for place, character in enumerate(old)}
        yield out("".join(table.get(character, character) for character in text))
    return 0


def _characters(text: str) -> str:
    named = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:space:]": " \\t\\n"}
    text = unescaped(named.get(text, text))
    return re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), text)


def sed(shell: Shell, words: list[str]) -> Run:
    """Substitutions (s/old/new/flags), `-n Np` and `Nd`, also in place."""
    given, rest = options(words, "e")
    script = given["e"] if "e" in given else rest.pop(0) if rest else ""
    data, code = yield from inputs(shell, "sed", rest)
    lines = lines_of(data)
    simple = re.fullmatch(r"(\d+|\$)([pd])", script)
    if simple is not None:
        number = len(lines) if simple[1] == "$" else int(simple[1])
        lines = [line for n, line in enumerate(lines, 1) if (n == number) == (simple[2] == "p")]
    elif script.startswith("s") and len(script) > 3:
        parts = re.split(rf"(?<!\\){re.escape(script[1])}", script[2:])
        if len(parts) != 3:
            yield err("sed: bad option in substitution expression\n")
            return 1
        old, new, flags = parts
        new = re.sub(r"(?<!\\)&", r"\\g<0>", new)
        count = 0 if "g" in flags else 1
        lines = [re.sub(old, new, line, count=count) for line in lines]
    else:
        yield err(f"sed: unsupported command {script}\n")
        return 1
    if "i" in given:
        for path in rest:
            shell.world.files.write(shell.path(path), "".join(f"{line}\n" for line in lines).encode())
    else:
        yield joined(lines)
    return code


def seq(shell: Shell, words: list[str]) -> Run:
    numbers = [int(word) for word in words if re.fullmatch(r"-?\d+", word)] or [0]
    first, last = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[-1])
    step = numbers[1] if len(numbers) == 3 and numbers[1] else 1
    yield joined([str(number) for number in range(first, last + (1 if step > 0 else -1), step)])
    return 0


def tee(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    data = yield from shell.read_all()
    for path in paths:
        shell.world.files.write(shell.path(path), data, append="a" in given)
    yield Write("stdout", data)
    return 0


def base64_(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words, "w")
    data, code = yield from inputs(shell, "base64", paths)
    if given.keys() & {"d", "decode"}:
        yield Write("stdout", base64.b64decode(data))
    else:
        yield Write("stdout", base64.b64encode(data) + b"\n")
    return code


def hexdump(shell: Shell, words: list[str]) -> Run:
    """In the canonical form: place, sixteen bytes, and what of them can be printed."""
    _, paths = options(words)
    data, code = yield from inputs(shell, "hexdump", paths)
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        halves = " ".join(f"{byte:02x}" for byte in piece[:8]), " ".join(f"{byte:02x}" for byte in piece[8:])
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield out(f"{at:08x}  {halves[0]:<23}  {halves[1]:<23}  |{shown}|\n")
    yield out(f"{len(data):08x}\n")
    return code


COMMANDS: dict[str, Command] = {
    "base64": base64_,
    "cat": cat,
    "cut": cut,
    "echo": echo,
    "egrep": lambda shell, words: grep(shell, ["-E", *words]),
    "fgrep": lambda shell, words: grep(shell, ["-F", *words]),
    "grep": grep,
    "head": head,
    "hexdump": hexdump,
    "printf": printf,
    "sed": sed,
    "seq": seq,
    "sort": sort,
    "tail": tail,
    "tee": tee,
    "tr": tr,
    "uniq": uniq,
    "wc": wc,
}

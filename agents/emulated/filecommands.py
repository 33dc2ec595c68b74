"""Commands of the small shell that work on files: worded as busybox words them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Generator, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agents.emulated.textcommands import Command, options
from agents.emulated.world import Run, Step, Write, err, out
from agents.files import MemoryDirectory, exists

if TYPE_CHECKING:
    from agents.emulated.shell import Shell
    from agents.files import Stat


def _permissions(stat: Stat) -> str:
    letters = "".join(
        letter if stat.mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx")
    )
    return {"directory": "d", "link": "l"}.get(stat.kind, "-") + letters


def ls(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    code = 0
    files = shell.world.files
    for path in paths or ["."]:
        full = shell.path(path)
        try:
            stat = files.stat(full)
            entries = files.names(full) if stat.kind == "directory" and "d" not in given else None
        except OSError as error:
            yield err(f"ls: {path}: {error.strerror}\n")
            code = 1
            continue
        if len(paths) > 1 and entries is not None:
            yield out(f"{path}:\n")
        if entries is None:
            yield out(_listed(shell, full, path, given))
            continue
        if "a" in given:
            entries = [".", "..", *entries]
        elif "A" not in given:
            entries = [name for name in entries if not name.startswith(".")]
        yield out("".join(_listed(shell, f"{full}/{name}", name, given) for name in entries))
    return code


def _listed(shell: Shell, full: str, name: str, given: dict[str, str]) -> str:
    if "l" not in given:
        return f"{name}\n"
    stat = shell.world.files.stat(full, follow=False)
    when = shell.world.now().strftime("%b %e %H:%M")
    arrow = f" -> {stat.target}" if stat.target else ""
    owner = f"{stat.uid:<8} {stat.gid:<8}" if "n" in given else f"{'root':<8} {'root':<8}"
    return f"{_permissions(stat)} {1:4} {owner} {stat.size:9} {when} {name}{arrow}\n"


def _each(name: str, what: str, paths: list[str], work: Callable[[str], None]) -> Run:
    """Does something to every path; says what failed."""
    code = 0
    for path in paths:
        try:
            work(path)
        except OSError as error:
            yield err(f"{name}: {what.format(path)}: {error.strerror}\n")
            code = 1
    return code


def touch(shell: Shell, words: list[str]) -> Run:
    _, paths = options(words)
    return _each("touch", "{}", paths, lambda p: shell.world.files.write(shell.path(p), b"", append=True))


def mkdir(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words, "m")
    mode = int(given["m"], 8) if "m" in given else 0o755

    def work(path: str) -> None:
        shell.world.files.make_directory(shell.path(path), parents="p" in given, mode=mode)

    return _each("mkdir", "can't create directory '{}'", paths, work)


def rm(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    code = 0
    for path in paths:
        full = shell.path(path)
        try:
            kind = shell.world.files.stat(full, follow=False).kind
            if kind == "directory" and not given.keys() & {"r", "R"}:
                raise IsADirectoryError(21, "is a directory")
            shell.world.files.remove(full)
        except FileNotFoundError as error:
            if "f" not in given:
                yield err(f"rm: can't remove '{path}': {error.strerror}\n")
                code = 1
        except OSError as error:
            if isinstance(error, IsADirectoryError):
                yield err(f"rm: '{path}' is a directory\n")
            else:
                yield err(f"rm: can't remove '{path}': {error.strerror}\n")
            code = 1
    return code


def rmdir(shell: Shell, words: list[str]) -> Run:
    def work(path: str) -> None:
        if shell.world.files.names(shell.path(path)):
            raise OSError(39, "Directory not empty")
        shell.world.files.remove(shell.path(path))

    return _each("rmdir", "'{}'", options(words)[1], work)


def _goal(shell: Shell, source: str, target: str) -> str:
    full = shell.path(target)
    if exists(shell.world.files, full) and shell.world.files.stat(full).kind == "directory":
        return f"{full.rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}"
    return full


def cp(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    if len(paths) < 2:
        yield err("cp: missing file operand\n")
        return 1
    *sources, target = paths

    def work(path: str) -> None:
        _copy(shell, shell.path(path), _goal(shell, path, target), bool(given.keys() & {"r", "R", "a"}))

    return (yield from _each("cp", "can't stat '{}'", sources, work))


def _copy(shell: Shell, source: str, target: str, recursive: bool) -> None:
    files = shell.world.files
    stat = files.stat(source)
    if stat.kind != "directory":
        files.write(target, files.read(source), mode=stat.mode)
        return
    if not recursive:
        raise IsADirectoryError(21, "omitting directory")
    files.make_directory(target, parents=True, mode=stat.mode)
    for name in files.names(source):
        _copy(shell, f"{source}/{name}", f"{target}/{name}", recursive)


def mv(shell: Shell, words: list[str]) -> Run:
    _, paths = options(words)
    if len(paths) < 2:
        yield err("mv: missing file operand\n")
        return 1
    *sources, target = paths

    def work(path: str) -> None:
        shell.world.files.rename(shell.path(path), _goal(shell, path, target))

    return (yield from _each("mv", "can't rename '{}'", sources, work))


def ln(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    if len(paths) != 2:
        yield err("ln: missing file operand\n")
        return 1
    goal = _goal(shell, paths[0], paths[1])

    def work(path: str) -> None:
        if "f" in given and exists(shell.world.files, goal):
            shell.world.files.remove(goal)
        shell.world.files.link(path, goal)

    return (yield from _each("ln", "{}", paths[:1], work))


def chmod(shell: Shell, words: list[str]) -> Run:
    _, rest = options([word for word in words if not re.fullmatch(r"-[rwx]+", word)])
    if len(rest) < 2:
        return 0
    how, *paths = rest

    def work(path: str) -> None:
        full = shell.path(path)
        old = shell.world.files.stat(full).mode
        shell.world.files.chmod(full, int(how, 8) if how.isdigit() else _changed(old, how))

    return (yield from _each("chmod", "{}", paths, work))


def _changed(mode: int, how: str) -> int:
    for who, sign, what in re.findall(r"([ugoa]*)([-+=])([rwx]*)", how):
        bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in what)
        for place, shift in (("u", 6), ("g", 3), ("o", 0)):
            if not who or place in who or "a" in who:
                if sign == "=":
                    mode &= ~(7 << shift)
                mode = mode & ~(bits << shift) if sign == "-" else mode | bits << shift
    return mode


def stat(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words, "c")
    code = 0
    for path in paths:
        try:
            found = shell.world.files.stat(shell.path(path), follow="L" in given)
        except OSError as error:
            yield err(f"stat: can't stat '{path}': {error.strerror}\n")
            code = 1
            continue
        kinds = {"file": "regular file", "directory": "directory", "link": "symbolic link"}
        values = {
            "%a": f"{found.mode:o}", "%A": _permissions(found), "%s": str(found.size), "%n": path,
            "%F": kinds[found.kind], "%u": str(found.uid), "%g": str(found.gid), "%U": "root", "%G": "root",
        }  # fmt: skip
        form = given.get("c", "  File: %n\n  Size: %s\t%F\nAccess: (0%a/%A)  Uid: (%u/%U)   Gid: (%g/%G)")
        for name, value in values.items():
            form = form.replace(name, value)
        yield out(form + "\n")
    return code


def _tree(shell: Shell, path: str, shown: str) -> Iterator[tuple[str, str]]:
    yield path, shown
    if shell.world.files.stat(path, follow=False).kind == "directory":
        for name in shell.world.files.names(path):
            yield from _tree(shell, f"{path.rstrip('/')}/{name}", f"{shown.rstrip('/')}/{name}")


def find(shell: Shell, words: list[str]) -> Run:
    roots = []
    while words and not words[0].startswith("-"):
        roots.append(words.pop(0))
    tests = dict(zip(words[::2], words[1::2], strict=False))
    kinds = {"f": "file", "d": "directory", "l": "link"}
    code = 0
    for root in roots or ["."]:
        try:
            for path, shown in _tree(shell, shell.path(root), root):
                if "-name" in tests and not fnmatchcase(shown.rpartition("/")[2], tests["-name"]):
                    continue
                kind = shell.world.files.stat(path, follow=False).kind
                if "-type" not in tests or kinds.get(tests["-type"]) == kind:
                    yield out(f"{shown}\n")
        except OSError as error:
            yield err(f"find: {root}: {error.strerror}\n")
            code = 1
    return code


def du(shell: Shell, words: list[str]) -> Run:
    _, paths = options(words)
    for root in paths or ["."]:
        size = sum(
            shell.world.files.stat(p, follow=False).size for p, _ in _tree(shell, shell.path(root), root)
        )
        yield out(f"{-(-size // 1024)}\t{root}\n")
    return 0


def mount(shell: Shell, words: list[str]) -> Run:
    yield out("overlay on / type overlay (rw,relatime)\n")
    for path, (node, read_only) in shell.world.files.mounts().items():
        kind = "ext4" if isinstance(node, MemoryDirectory) else "tmpfs"
        yield out(f"/dev/root on {path} type {kind} ({'ro' if read_only else 'rw'},relatime)\n")
    return 0


def test(shell: Shell, words: list[str]) -> Run:
    yield from ()
    words = words[:-1] if words and words[-1] in ("]", "]]") else words
    return 0 if _holds(shell, words) else 1


def _holds(shell: Shell, words: list[str]) -> bool:
    for joint in ("-o", "-a"):
        if joint in words[1:-1]:
            at = words.index(joint, 1)
            before, after = _holds(shell, words[:at]), _holds(shell, words[at + 1 :])
            return before or after if joint == "-o" else before and after
    match words:
        case ["!", *rest]:
            return not _holds(shell, rest)
        case ["-z", text]:
            return text == ""
        case ["-n", text]:
            return text != ""
        case ["-f" | "-e" | "-r" | "-s" | "-d" | "-w" | "-x" | "-L" | "-h" as how, path]:
            return _is(shell, how, path)
        case ["-t", _]:
            return shell.world.terminal is not None
        case [text]:
            return text != ""
        case [left, "=" | "==", right]:
            return left == right
        case [left, "!=", right]:
            return left != right
        case [left, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" as how, right]:
            return _compared(left, how, right)
    return False


def _compared(left: str, how: str, right: str) -> bool:
    if not (left.strip().lstrip("-").isdigit() and right.strip().lstrip("-").isdigit()):
        return False
    difference = int(left) - int(right)
    return {
        "-eq": difference == 0, "-ne": difference != 0, "-lt": difference < 0,
        "-le": difference <= 0, "-gt": difference > 0, "-ge": difference >= 0,
    }[how]  # fmt: skip


def _is(shell: Shell, how: str, path: str) -> bool:
    try:
        found = shell.world.files.stat(shell.path(path), follow=how not in ("-L", "-h"))
    except OSError:
        return False
    match how:
        case "-f":
            return found.kind == "file"
        case "-d":
            return found.kind == "directory"
        case "-L" | "-h":
            return found.kind == "link"
        case "-s":
            return found.size > 0
        case "-x":
            return found.kind == "directory" or bool(found.mode & 0o111)
    return True


# --- tar, which `kubectl cp` talks to


def tar(shell: Shell, words: list[str]) -> Run:
    if words and not words[0].startswith("-"):
        words = [f"-{words[0]}", *words[1:]]
    given, paths = options(words, "fCX")
    outer = shell.directory
    if "C" in given:
        shell.directory = shell.path(given["C"])
    try:
        if "c" in given:
            return (yield from _create(shell, given, paths))
        return (yield from _extract(shell, given))
    finally:
        shell.directory = outer


def _create(shell: Shell, given: dict[str, str], paths: list[str]) -> Run:
    buffer, code = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w:gz" if "z" in given else "w") as archive:
        for path in paths:
            try:
                for full, shown in _tree(shell, shell.path(path), path.lstrip("/") or "."):
                    _archive(shell, archive, full, shown)
            except OSError as error:
                yield err(f"tar: {path}: {error.strerror}\n")
                code = 1
    target = given.get("f", "-")
    if target == "-":
        yield Write("stdout", buffer.getvalue())
    else:
        shell.world.files.write(shell.path(target), buffer.getvalue())
    return code


def _archive(shell: Shell, archive: tarfile.TarFile, full: str, shown: str) -> None:
    found = shell.world.files.stat(full, follow=False)
    entry = tarfile.TarInfo(shown)
    entry.mode, entry.mtime = found.mode, int(shell.world.now().timestamp())
    if found.kind == "directory":
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    elif found.kind == "link":
        entry.type, entry.linkname = tarfile.SYMTYPE, found.target
        archive.addfile(entry)
    else:
        data = shell.world.files.read(full)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))


def _extract(shell: Shell, given: dict[str, str]) -> Run:
    source = given.get("f", "-")
    try:
        data = (yield from shell.read_all()) if source == "-" else shell.world.files.read(shell.path(source))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                if "t" in given:
                    yield out(f"{entry.name}\n")
                else:
                    yield from _unpack(shell, archive, entry)
    except tarfile.TarError:
        yield err("tar: invalid tar magic\n")
        return 1
    except OSError as error:
        yield err(f"tar: can't open '{error.filename or source}': {error.strerror}\n")
        return 1
    return 0


def _unpack(shell: Shell, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Generator[Step, object, None]:
    yield from ()
    files, path = shell.world.files, shell.path(entry.name.lstrip("/"))
    if entry.isdir():
        files.make_directory(path, parents=True, mode=entry.mode)
        return
    files.make_directory(path.rpartition("/")[0] or "/", parents=True)
    if entry.issym():
        files.link(entry.linkname, path)
    elif (content := archive.extractfile(entry)) is not None:
        files.write(path, content.read(), mode=entry.mode)


COMMANDS: dict[str, Command] = {
    "[": test,
    "[[": test,
    "chmod": chmod,
    "cp": cp,
    "du": du,
    "find": find,
    "ln": ln,
    "ls": ls,
    "mkdir": mkdir,
    "mount": mount,
    "mv": mv,
    "rm": rm,
    "rmdir": rmdir,
    "stat": stat,
    "tar": tar,
    "test": test,
    "touch": touch,
}

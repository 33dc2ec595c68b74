"""Commands of the small shell that copy, pack and sum up bytes."""

from __future__ import annotations

import gzip as packing
import hashlib
import zlib
from typing import TYPE_CHECKING

from agents.emulated.textcommands import Command, inputs, options
from agents.emulated.world import Run, Write, err, out
from agents.files import exists

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

_UNITS = {"c": 1, "w": 2, "b": 512, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
BLOCK = 512
MAX_COPY = 1 << 30


def gzip(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    if given.keys() & {"d", "decompress"}:
        return (yield from gunzip(shell, [*(["-c"] if "c" in given else []), *paths]))
    data, code = yield from inputs(shell, "gzip", paths)
    if code:
        return code
    packed = packing.compress(data, mtime=0)
    if not paths or "c" in given:
        yield Write("stdout", packed)
        return 0
    shell.world.files.write(shell.path(f"{paths[0]}.gz"), packed)
    if "k" not in given:
        shell.world.files.remove(shell.path(paths[0]))
    return 0


def gunzip(shell: Shell, words: list[str]) -> Run:
    given, paths = options(words)
    packed, code = yield from inputs(shell, "gunzip", paths)
    if code:
        return code
    try:
        data = packing.decompress(packed)
    except (OSError, EOFError, zlib.error):
        yield err("gunzip: invalid magic\n")
        return 1
    if not paths or "c" in given:
        yield Write("stdout", data)
        return 0
    shell.world.files.write(shell.path(paths[0].removesuffix(".gz")), data)
    shell.world.files.remove(shell.path(paths[0]))
    return 0


def _size(text: str) -> int:
    """Raises ValueError."""
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)


def dd(shell: Shell, words: list[str]) -> Run:
    """Divergence: /dev/random and /dev/urandom give a fixed pattern."""
    given = dict(word.partition("=")[::2] for word in words)
    try:
        block = _size(given.get("bs") or str(BLOCK))
        count = _size(given["count"]) if "count" in given else None
        skip, seek = _size(given.get("skip") or "0") * block, _size(given.get("seek") or "0") * block
    except ValueError:
        yield err("dd: invalid number\n")
        return 1
    source = given.get("if", "")
    wanted = min(MAX_COPY if count is None else count * block, MAX_COPY)
    if source in ("/dev/zero", "/dev/random", "/dev/urandom"):
        pattern = b"\0" if source == "/dev/zero" else hashlib.sha512(source.encode()).digest()
        data = (pattern * (wanted // len(pattern) + 1))[:wanted]
    else:
        data, code = yield from inputs(shell, "dd", [source] if source else [])
        if code:
            return code
        data = data[skip : skip + wanted]
    if "of" in given:
        path = shell.path(given["of"])
        try:
            before = shell.world.files.read(path)[:seek] if seek and exists(shell.world.files, path) else b""
            shell.world.files.write(path, before.ljust(seek, b"\0") + data)
        except OSError as error:
            yield err(f"dd: can't open '{given['of']}': {error.strerror}\n")
            return 1
    else:
        yield Write("stdout", data)
    whole, rest = divmod(len(data), block)
    if given.get("status") != "none":
        records = f"{whole}+{1 if rest else 0}"
        yield err(f"{records} records in\n{records} records out\n{len(data)} bytes copied\n")
    return 0


def _digest(name: str) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        _, paths = options(words)
        code = 0
        for path in paths or ["-"]:
            data, failed = yield from inputs(shell, f"{name}sum", [path])
            code = code or failed
            if not failed:
                yield out(f"{hashlib.new(name, data).hexdigest()}  {path}\n")
        return code

    return command


def mktemp(shell: Shell, words: list[str]) -> Run:
    """Divergence: the names are counted, not drawn."""
    given, rest = options(words, "p")
    template = rest[0] if rest else f"{given.get('p') or '/tmp'}/tmp.XXXXXX"
    start = template.rstrip("X")
    width = len(template) - len(start)
    number = 0
    while exists(shell.world.files, path := shell.path(f"{start}{number:0{width}d}")):
        number += 1
    if "d" in given:
        shell.world.files.make_directory(path, mode=0o700)
    else:
        shell.world.files.write(path, b"", mode=0o600)
    yield out(f"{path}\n")
    return 0


def chown(shell: Shell, words: list[str]) -> Run:
    given, rest = options(words)
    if len(rest) < 2:
        yield err("chown: missing operand\n")
        return 1
    who, *paths = rest
    user, _, group = who.replace(".", ":", 1).partition(":")
    if shell.world.user != 0:
        yield err("".join(f"chown: {path}: Operation not permitted\n" for path in paths))
        return 1
    try:
        uid, gid = (0 if name == "root" else int(name) if name else -1 for name in (user, group))
        for path in paths:
            _owned(shell, shell.path(path), uid, gid, recursive="R" in given)
    except ValueError:
        yield err(f"chown: unknown user {who}\n")
        return 1
    except OSError as error:
        yield err(f"chown: {path}: {error.strerror}\n")
        return 1
    return 0


def _owned(shell: Shell, path: str, uid: int, gid: int, *, recursive: bool) -> None:
    files = shell.world.files
    files.chown(path, uid, gid)
    if recursive and files.stat(path).kind == "directory":
        for name in files.names(path):
            _owned(shell, f"{path}/{name}", uid, gid, recursive=True)


COMMANDS: dict[str, Command] = {
    "chgrp": lambda shell, words: chown(
        shell, [f":{word}" if at == 0 else word for at, word in enumerate(words)]
    ),
    "chown": chown,
    "dd": dd,
    "gunzip": gunzip,
    "gzip": gzip,
    "md5sum": _digest("md5"),
    "mktemp": mktemp,
    "sha1sum": _digest("sha1"),
    "sha256sum": _digest("sha256"),
    "zcat": lambda shell, words: gunzip(shell, ["-c", *words]),
}

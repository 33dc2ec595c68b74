"""agnhost logs-generator: so many lines in so long a time, each with a number of its own.

Divergence: methods, names and codes follow from the line's number and the host: a run can be repeated.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from agents.emulated.program import seconds_of
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, Sleep, World, err

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

_METHODS = ("GET", "POST", "PUT")
_NAMESPACES = ("kube-system", "default", "ns")
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def klog(world: World, text: str, severity: str = "I", *, place: str = "logs_generator.go:76") -> str:
    """A line with the usual prefix of Kubernetes' programs; `place` is the program's own."""
    return f"{severity}{world.now():%m%d %H:%M:%S.%f}       1 {place}] {text}\n"


def logs_generator(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, "log-lines-total", "run-duration"), "td")
    world = shell.world
    world.trap = "exit 2"
    total = int(given.get("log-lines-total") or given.get("t") or 0)
    seconds = seconds_of(given.get("run-duration") or given.get("d") or "0")
    if total <= 0:
        yield err(klog(world, f"Invalid total number of lines: {total}", "F"))
        return 255
    if seconds <= 0:
        yield err(klog(world, f"Invalid duration: {seconds:g}s", "F"))
        return 255
    for number in range(total):
        yield err(klog(world, _line(world, number)))
        yield Sleep(seconds / total)
    return 0


def _line(world: World, number: int) -> str:
    drawn = hashlib.blake2b(f"{world.hostname} {number}".encode(), digest_size=8).digest()
    name = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in drawn[: 3 + drawn[7] % 2])
    path = f"/api/v1/namespaces/{_NAMESPACES[drawn[5] % 3]}/pods/{name}"
    return f"{number} {_METHODS[drawn[4] % 3]} {path} {200 + (drawn[6] << 8 | drawn[3]) % 400}"

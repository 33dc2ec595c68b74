"""The last words of a container: its termination message, by path and policy, as the kubelet reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agents.runtime import Exit, LogLine
from cluster.api.objects import Object

DEFAULT_PATH = "/dev/termination-log"
MAX_MESSAGE_BYTES = 4096
MAX_LOG_BYTES = 2048
MAX_LOG_LINES = 80


def with_message(exit: Exit, spec: Object, read: Callable[[str], bytes], lines: Sequence[LogLine]) -> Exit:
    """The exit with the container's message where it has none yet. `read` raises OSError."""
    if exit.message:
        return exit
    try:
        found = read(spec.get("terminationMessagePath") or DEFAULT_PATH)
    except OSError:
        found = b""
    message = found[:MAX_MESSAGE_BYTES].decode(errors="replace")
    if not message and exit.code and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        text = "".join(line.written for line in lines[-MAX_LOG_LINES:])
        message = text.encode()[-MAX_LOG_BYTES:].decode(errors="replace")
    return replace(exit, message=message) if message else exit

"""Many watches of the ConfigMaps in one process: `python -m tests.bench.watchers KUBECONFIG WATCHERS EVENTS`.

Prints a line once all watch, then the seconds from the first event to the moment when every watch has had
EVENTS of them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from broker.supervision import Tasks
from tests.bench.client import Access, Request, access, connect

_WATCH = Request("GET", "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=")
_EVENT_END = b"}\n"


class Count:
    """Of one watch; an event is a line."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.first_at = 0.0
        self._last = b""

    def take(self, data: bytes) -> bool:
        """True when all have come."""
        if not self.first_at:
            self.first_at = time.monotonic()
        self.wanted -= (self._last + data).count(_EVENT_END)
        self._last = data[-1:] if not data.endswith(_EVENT_END) else b""
        return self.wanted <= 0


async def _watch(to: Access, revision: str, count: Count, opened: asyncio.Semaphore) -> None:
    reader, writer = await connect(to)
    writer.write(Request("GET", _WATCH.path + revision).wire())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head, head
    opened.release()
    while not count.take(await reader.read(1 << 20)):
        pass
    writer.close()


async def _revision(to: Access) -> str:
    """Of a list of one: where the watches begin."""
    reader, writer = await connect(to)
    writer.write(Request("GET", "/api/v1/namespaces/default/configmaps?limit=1").wire())
    await reader.readuntil(b'"resourceVersion":"')
    revision = (await reader.readuntil(b'"'))[:-1].decode()
    writer.close()
    return revision


async def _run(to: Access, watchers: int, events: int) -> float:
    revision = await _revision(to)
    counts = [Count(events) for _ in range(watchers)]
    opened = asyncio.Semaphore(0)
    tasks = Tasks()
    running = [
        tasks.start(f"watch-{number}", _watch(to, revision, count, opened))
        for number, count in enumerate(counts)
    ]
    for _ in counts:
        await opened.acquire()
    print("watching", flush=True)
    for task in running:
        await task
    return time.monotonic() - min(count.first_at for count in counts)


def main() -> None:
    import uvloop

    to = access(Path(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(_run(to, int(sys.argv[2]), int(sys.argv[3]))))


if __name__ == "__main__":
    main()

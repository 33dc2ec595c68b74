"""How many requests may be in flight at once: beyond it 429 with Retry-After.

Reading and changing requests have a bound each, as Kubernetes' max-requests-inflight; long-running ones
(watches, streams, proxies) and members of system:masters are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.api.errors import TooManyRequests

RETRY_AFTER_S = 1


@dataclass(slots=True)
class InFlight:
    read_limit: int = 400
    write_limit: int = 200
    reading: int = 0
    writing: int = 0

    @contextmanager
    def reader(self) -> Iterator[None]:
        if self.reading >= self.read_limit:
            raise too_many()
        self.reading += 1
        try:
            yield
        finally:
            self.reading -= 1

    @contextmanager
    def writer(self) -> Iterator[None]:
        if self.writing >= self.write_limit:
            raise too_many()
        self.writing += 1
        try:
            yield
        finally:
            self.writing -= 1


def too_many() -> TooManyRequests:
    return TooManyRequests("Too many requests, please try again later.", retry_after_s=RETRY_AFTER_S)

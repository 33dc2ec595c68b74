"""How many requests may be in flight at once: beyond it 429 with Retry-After.

Reading and changing requests have a bound each, as Kubernetes' max-requests-inflight. Long-running ones
(watches, streams, proxies) and health checks are not counted; members of system:masters are counted, but
never refused, so that an administrator gets through to a server that others keep busy.

Divergence: one bound for all who are no masters, where API Priority and Fairness shares it out among flows.
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
    refused_reads: int = 0
    refused_writes: int = 0

    @contextmanager
    def reader(self, *, exempt: bool = False) -> Iterator[None]:
        """A place for a request that reads. Raises TooManyRequests, unless `exempt`."""
        if self.reading >= self.read_limit and not exempt:
            self.refused_reads += 1
            raise too_many()
        self.reading += 1
        try:
            yield
        finally:
            self.reading -= 1

    @contextmanager
    def writer(self, *, exempt: bool = False) -> Iterator[None]:
        """The same for one that changes something."""
        if self.writing >= self.write_limit and not exempt:
            self.refused_writes += 1
            raise too_many()
        self.writing += 1
        try:
            yield
        finally:
            self.writing -= 1


def too_many() -> TooManyRequests:
    return TooManyRequests("Too many requests, please try again later.", retry_after_s=RETRY_AFTER_S)

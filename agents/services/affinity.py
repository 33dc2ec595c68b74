"""Session affinity: a client keeps its endpoint until it was silent for the Service's time-out.

A new client's endpoint is found by rendezvous hashing of its address: agents that share a machine's loopback
take one client's connections in turns, and so agree without telling each other. A client that was silent
for too long draws anew.

Divergence: of a client whose connections come to several agents in turn (loopback, from outside the pods)
nobody can say when it was last seen, so it keeps its endpoint without a time-out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.services.choices import Backend

MAX_CLIENTS = 65536
"""The one that was seen first is forgotten for a new one."""


@dataclass(slots=True)
class _Session:
    backend: Backend
    seen_at: float
    draws: int


class Affinity:
    """`now` in seconds; `sees_all_of`: whether a client's every connection is known here."""

    def __init__(self, now: Callable[[], float], sees_all_of: Callable[[str], bool]) -> None:
        self._now = now
        self._sees_all_of = sees_all_of
        self._sessions: dict[tuple[object, str], _Session] = {}

    def choose(self, of: object, client: str, candidates: Sequence[Backend], timeout_s: float) -> Backend:
        """Of these candidates, which are not empty. `of`: the port of a Service."""
        if not self._sees_all_of(client):
            return _drawn(client, 0, candidates)
        now, known = self._now(), self._sessions.get((of, client))
        if known is not None and known.backend in candidates and now - known.seen_at < timeout_s:
            known.seen_at = now
            return known.backend
        draws = known.draws + 1 if known is not None else 0
        if known is None and len(self._sessions) >= MAX_CLIENTS:
            del self._sessions[next(iter(self._sessions))]
        backend = _drawn(client, draws, candidates)
        self._sessions[of, client] = _Session(backend, now, draws)
        return backend


def _drawn(client: str, draws: int, candidates: Sequence[Backend]) -> Backend:
    return max(candidates, key=lambda backend: _rank(client, draws, backend))


def _rank(client: str, draws: int, backend: Backend) -> bytes:
    text = f"{client}>{backend.ip}:{backend.port}{f' {draws}' if draws else ''}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()

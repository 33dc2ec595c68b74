"""Which answer to a registration is news, and which came late.

A gateway numbers its sessions, so within one of its lives a lower number is older. Of two gateways the one
that was heard of last is the living one. A late answer must not be begun: its full desired state is of the
past, and pods that came since would be taken for unwanted.
"""

from __future__ import annotations

from collections import deque

REMEMBERED = 64


class Sessions:
    def __init__(self) -> None:
        self.newest = ""
        self._instance = ""
        self._number = 0
        self._past: deque[str] = deque(maxlen=REMEMBERED)
        """The gateways before this one."""

    def is_news(self, session: str) -> bool:
        """Asked once per answer: what was news is not afterwards."""
        instance = session.rstrip("0123456789")
        number = int(session[len(instance) :] or "0")
        if instance in self._past or (instance == self._instance and number <= self._number):
            return False
        if instance != self._instance:
            self._past.append(self._instance)
        self._instance, self._number, self.newest = instance, number, session
        return True

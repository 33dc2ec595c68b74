"""What caused what.

Every piece of work runs with a current cause: the id of the request, message, write or timer that set it
off. Ids are short strings: `r-…` a request (its audit id), `w-<revision>` a write to the store,
`m-<node>-<n>` a message, `s-<step>` a scenario step, `t-<name>` a timer. Whatever the work produces
carries that id on, and the log adds it to every line, so a chain can be walked backwards.

The current cause lives in a context variable: it follows awaits and is copied into callbacks by asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("cause", default="")


def current_cause() -> str:
    """The id of what caused the running code; empty where nothing did."""
    return _current.get()


@contextmanager
def caused_by(cause: str) -> Iterator[None]:
    """Runs the body with `cause` as the current cause."""
    token = _current.set(cause)
    try:
        yield
    finally:
        _current.reset(token)


def resume_cause(cause: str) -> None:
    """Makes `cause` the current one for the rest of the running task or callback.

    For loops that handle one piece of work after another (an actor's mailbox): cheaper than `caused_by`,
    and right only where nothing else runs in the same context.
    """
    _current.set(cause)

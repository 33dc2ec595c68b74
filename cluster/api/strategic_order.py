"""The order of a list after a strategic merge.

Items that the patch (or its $setElementOrder) names come in that order; the others keep theirs; and the
two rows
are zipped so that an item of the server's own stays before a named one if it stood before it on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Identity = Callable[[Any], Any]
"""What makes an item the same item: its merge key's value, or a scalar itself."""


def in_merged_order(
    merged: Sequence[Any], order: Sequence[Any], server: Sequence[Any], identity: Identity
) -> list[Any]:
    """`merged`, ordered by `order` where it names an item, else by `server`."""
    wanted = {identity(item): at for at, item in reversed(list(enumerate(order)))}
    stood = {identity(item): at for at, item in reversed(list(enumerate(server)))}
    named = sorted((i for i in merged if identity(i) in wanted), key=lambda i: wanted[identity(i)])
    own = [item for item in merged if identity(item) not in wanted]
    own.sort(key=lambda item: stood.get(identity(item), len(server)))
    return _zipped(own, named, stood, identity)


def _zipped(own: list[Any], named: list[Any], stood: dict[Any, int], identity: Identity) -> list[Any]:
    result: list[Any] = []
    at_own = at_named = 0
    while at_own < len(own) and at_named < len(named):
        mine, theirs = stood.get(identity(own[at_own])), stood.get(identity(named[at_named]))
        if mine is not None and theirs is not None and mine < theirs:
            result.append(own[at_own])
            at_own += 1
        else:
            result.append(named[at_named])
            at_named += 1
    return result + own[at_own:] + named[at_named:]

"""Following what is served: resources come and go with their definitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cluster.api.registry import Registry
from cluster.reconcile.loop import Watch

RESYNC_S = 1.0
"""How far behind the registry its followers may be."""


async def follow(registry: Registry, look: Callable[[], Sequence[Watch]]) -> None:
    """Begins the watches that `look` gives, at once and after each change of the registry; ends them with
    its own end. `look` gives what is new since it was asked last."""
    changed = asyncio.Event()
    ends = [registry.on_change(changed.set)]
    changed.set()
    try:
        while await changed.wait():
            await asyncio.sleep(RESYNC_S)
            changed.clear()
            ends += [informer.on_change(handler) for informer, handler in look()]
    finally:
        for end in ends:
            end()

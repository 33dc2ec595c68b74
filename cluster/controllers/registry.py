"""Which controllers there are, in the order they start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from cluster.controllers import deployment, replicaset
from cluster.reconcile.loop import Controller
from cluster.reconcile.world import World

Factory: TypeAlias = Callable[[], Controller[Any]]

_CONTROLLERS: dict[str, Callable[[World], Controller[Any]]] = {
    deployment.NAME: deployment.controller,
    replicaset.NAME: replicaset.controller,
}


def all_controllers(world: World) -> list[tuple[str, Factory]]:
    """Names and actor factories. The composition root spawns `Background(world)` first."""
    return [(name, partial(make, world)) for name, make in _CONTROLLERS.items()]

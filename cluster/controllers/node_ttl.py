"""How long a kubelet may keep Secrets and ConfigMaps before it asks again, noted on each Node by the size of
the cluster.

The limits overlap, so that a cluster at a limit does not go back and forth. Nodes that come together are
looked at together.
"""

from __future__ import annotations

from typing import NamedTuple

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Object
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "ttl-controller"
ANNOTATION = "node.alpha.kubernetes.io/ttl"
GATHER_S = 2.0


class Step(NamedTuple):
    least: int
    most: int
    """Nodes."""
    ttl_s: int


STEPS = (
    Step(0, 100, 0),
    Step(90, 500, 15),
    Step(450, 1000, 30),
    Step(900, 2000, 60),
    Step(1800, 10_000, 300),
    Step(9000, 2**31, 600),
)


def controller(world: World) -> Controller[str]:
    queue: WorkQueue[str] = WorkQueue(world.clock)

    def on_node(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None or new is None:
            queue.add_after("", GATHER_S, cause)

    return Controller(NodeTtl(world), queue, watches=[(world.informers.of(kinds.NODES), on_node)], workers=1)


def step_for(nodes: int, step: int) -> int:
    """The step of a cluster of so many nodes that was at `step` before."""
    while nodes > STEPS[step].most:
        step += 1
    while nodes < STEPS[step].least:
        step -= 1
    return step


class NodeTtl:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._nodes = world.informers.of(kinds.NODES)
        self._step = 0

    async def reconcile(self, key: str) -> float | None:
        nodes = list(self._nodes.list())
        self._step = step_for(len(nodes), self._step)
        wanted = str(STEPS[self._step].ttl_s)
        for node in nodes:
            if (node["metadata"].get("annotations") or {}).get(ANNOTATION) == wanted:
                continue
            patch = {"metadata": {"annotations": {ANNOTATION: wanted}}}
            try:
                await self._client.patch(kinds.NODES, node["metadata"]["name"], patch)
            except NotFound:
                continue
        return None

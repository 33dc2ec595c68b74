"""A storm over the controllers: writes that fail, answers that get lost, caches that lag, pods that are
killed, and controllers that are ended and begun again. One seed gives the same storm each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from controlled_cluster import Cluster
from faulty_client import FaultyClient, Trouble

from broker.chance import Chance
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Object
from cluster.api.resource import Resource

RESTARTS = 2
"""How often the controllers are begun again in a storm."""


class Storm:
    """One run: the trouble and the chance that drives it."""

    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed).fork("storm")
        self.trouble = Trouble(self.chance.fork("trouble"))

    def client(self, inner: ApiClient, chance: Chance) -> ApiClient:
        return FaultyClient(inner, self.trouble)

    async def rage(
        self, cluster: Cluster, rounds: int, act: Callable[[int], Awaitable[None]], *, restarts: int = 0
    ) -> None:
        """`act(number)` at random moments, and pods killed in between; then calm."""
        cluster.ready_after_s = self.chance.uniform(0.1, 3)
        cluster.gone_after_s = self.chance.uniform(0.1, 3)
        self.trouble.share, self.trouble.lateness_s = 0.2, self.chance.uniform(0, 0.3)
        begun_again = [self.chance.below(rounds) for _ in range(restarts)]
        for number in range(rounds):
            await cluster.settle(self.chance.uniform(0, 3))
            if number in begun_again:
                await cluster.restart_controllers()
            if self.chance.below(3) == 0:
                await self.kill_one(cluster)
            else:
                await act(number)
        self.trouble.share = self.trouble.lateness_s = 0.0

    async def kill_one(self, cluster: Cluster) -> None:
        pods = await cluster.pods()
        if not pods:
            return
        name = self.chance.choice(pods)["metadata"]["name"]
        grace = self.chance.choice([None, 0])
        try:
            await cluster.client.delete(kinds.PODS, name, namespace="default", grace_period_s=grace)
        except (NotFound, Conflict):
            return


def at_every_change(cluster: Cluster, resource: Resource, check: Callable[[list[Object]], None]) -> None:
    """`check` sees the objects of the API itself, not of a stale cache."""

    def changed(batch: object) -> None:
        check([entry.object for entry in cluster.store.list(resource.qualified)])

    cluster.store.subscribe(changed)


def orphans(cluster: Cluster) -> list[str]:
    """Objects all of whose owners are gone, and that nobody deleted."""
    everything = [
        entry.object
        for resource in cluster.world.registry.all()
        for entry in cluster.store.list(resource.qualified)
    ]
    alive = {obj["metadata"]["uid"]: None for obj in everything}
    return [
        f"{obj['kind']} {obj['metadata']['name']}"
        for obj in everything
        if (owners := obj["metadata"].get("ownerReferences"))
        and "deletionTimestamp" not in obj["metadata"]
        and not any(owner["uid"] in alive for owner in owners)
    ]


async def attempt(work: Awaitable[Any]) -> None:
    """A client that takes no for an answer."""
    try:
        await work
    except ApiError:
        return

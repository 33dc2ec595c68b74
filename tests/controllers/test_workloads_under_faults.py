"""Many seeds: pods are killed at random while workloads roll and scale; afterwards everything converges.

Never two pods of one StatefulSet ordinal, never more pods than allowed, nothing written once converged.
"""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, deployment, simulate
from test_statefulset_order import stateful_set

from broker.chance import Chance
from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Object, controller_of
from cluster.reconcile.pods import is_active, is_ready


async def kill_one(cluster: Cluster, chance: Chance) -> None:
    pods = await cluster.pods()
    if not pods:
        return
    grace = chance.choice([None, 0])
    try:
        name = chance.choice(pods)["metadata"]["name"]
        await cluster.client.delete(kinds.PODS, name, namespace="default", grace_period_s=grace)
    except NotFound:
        return


async def change(cluster: Cluster, chance: Chance, number: int) -> None:
    image = f"image:{number}"
    what = chance.below(4)
    if what == 0:
        template = deployment(image=image)["spec"]["template"]
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"template": template}})
    elif what == 1:
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 1 + chance.below(12)}})
    elif what == 2:
        template = stateful_set(image)["spec"]["template"]
        await cluster.merge(kinds.STATEFUL_SETS, "db", {"spec": {"template": template}})
    else:
        await cluster.merge(kinds.STATEFUL_SETS, "db", {"spec": {"replicas": 1 + chance.below(5)}})


def active_of(cluster: Cluster, kind: str) -> list[Object]:
    pods = cluster.world.informers.of(kinds.PODS).list()
    return [p for p in pods if is_active(p) and (controller_of(p) or {}).get("kind") == kind]


@pytest.mark.parametrize("seed", range(12))
def test_everything_converges_and_stays_within_bounds(seed: int) -> None:
    chance = Chance(seed)

    async def scenario(cluster: Cluster) -> None:
        cluster.ready_after_s, cluster.gone_after_s = chance.uniform(0, 3), chance.uniform(0, 3)
        largest = 0
        twice: list[list[str]] = []

        def check(old: Object | None, new: Object | None, cause: str) -> None:
            nonlocal largest
            names = [p["metadata"]["name"] for p in active_of(cluster, "StatefulSet")]
            if len(names) != len(dict.fromkeys(names)):
                twice.append(names)
            largest = max(largest, len(active_of(cluster, "ReplicaSet")))

        cluster.world.informers.of(kinds.PODS).on_change(check)
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=6))
        await cluster.create(kinds.STATEFUL_SETS, stateful_set())
        for number in range(25):
            await cluster.settle(chance.uniform(0, 4))
            await (kill_one(cluster, chance) if chance.below(2) else change(cluster, chance, number))
        await cluster.settle(180)
        wanted = (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"]
        assert sum(map(is_ready, active_of(cluster, "ReplicaSet"))) == wanted
        wanted = (await cluster.get(kinds.STATEFUL_SETS, "db"))["spec"]["replicas"]
        assert sum(map(is_ready, active_of(cluster, "StatefulSet"))) == wanted
        assert largest <= 12 + 3
        assert twice == []
        await cluster.settle(1000)
        await cluster.expect_quiet()

    simulate(scenario, seed)

"""Controllers that are ended and begun again leave nothing behind, and go on where they were."""

from __future__ import annotations

from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.reconcile.pods import is_ready


def test_a_restart_leaves_no_listener_behind() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.settle(5)
        registry = cluster.world.registry
        listeners = len(registry._listeners)
        old = cluster.world.informers
        for _ in range(3):
            await cluster.restart_controllers()
            await cluster.settle(5)
        assert len(registry._listeners) == listeners
        assert old is not cluster.world.informers
        left = [name for name, informer in old._informers.items() if informer._handlers]
        assert left == []
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_rollout_goes_on_after_each_restart() -> None:
    """Nothing that a controller needs to know is only in its memory."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=6))
        for number in range(8):
            if number == 4:
                container = {"name": "c", "image": "nginx:2"}
                template = {"spec": {"template": {"spec": {"containers": [container]}}}}
                await cluster.merge(kinds.DEPLOYMENTS, "web", template)
            await cluster.settle(0.7)
            await cluster.restart_controllers()
        await cluster.settle(60)
        pods = await cluster.pods()
        assert [p["spec"]["containers"][0]["image"] for p in pods] == ["nginx:2"] * 6
        assert all(map(is_ready, pods))
        await cluster.settle(600)
        await cluster.expect_quiet()

    simulate(scenario)

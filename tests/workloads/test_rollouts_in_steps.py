"""StatefulSets that update several pods at once, daemon pods that fail, proportional scaling, rollover."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate
from staged_nodes import add_nodes
from workload_kinds import DAEMON_SET, STATEFUL_SET

from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from cluster.controllers.deployment.sizes import scaled
from cluster.reconcile.pods import is_active, is_ready


def image(value: str) -> Any:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": value}]}}}}


@pytest.mark.parametrize(
    ("limit", "least"), [pytest.param(1, 5, id="one"), pytest.param(3, 3, id="three"), pytest.param("50%", 3, id="half")]
)  # fmt: skip
def test_a_stateful_set_updates_as_many_at_once_as_allowed(limit: Any, least: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit}}
        body = STATEFUL_SET.body(replicas=6, podManagementPolicy="Parallel", updateStrategy=strategy)
        await cluster.create(kinds.STATEFUL_SETS, body)
        await cluster.settle(20)
        ready: list[int] = []

        def note(old: Object | None, new: Object | None, cause: str) -> None:
            pods = cluster.world.informers.of(kinds.PODS).list()
            ready.append(sum(is_ready(p) and is_active(p) for p in pods))

        cluster.world.informers.of(kinds.PODS).on_change(note)
        await cluster.merge(kinds.STATEFUL_SETS, "w", image("nginx:2"))
        await cluster.settle(120)
        assert min(ready) == least
        status = (await cluster.get(kinds.STATEFUL_SETS, "w"))["status"]
        assert (status["updatedReplicas"], status["readyReplicas"]) == (6, 6)
        assert status["currentRevision"] == status["updateRevision"]

    simulate(scenario)


def test_a_daemon_pod_that_fails_is_replaced_with_back_off() -> None:
    """Deleted and made again after 1, 2, 4, … seconds, and said so."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        failing = True
        cluster.finish = lambda made: {"phase": "Failed"} if failing else None
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body())
        await cluster.settle(60)
        (event,) = [e for e in await cluster.list(kinds.EVENTS) if e["reason"] == "SuccessfulCreate"][:1]
        assert event["involvedObject"]["kind"] == "DaemonSet"
        failures = [e for e in await cluster.list(kinds.EVENTS) if e["reason"] == "FailedDaemonPod"]
        assert 4 <= len(failures) <= 7
        assert failures[0]["message"].endswith("on node node-1, will try to kill it")
        failing = False
        await cluster.settle(120)
        assert [is_ready(p) for p in await cluster.pods()] == [True]
        await cluster.settle(60)
        await cluster.expect_quiet()

    simulate(scenario)


def test_scaling_during_a_rollout_is_shared_in_proportion() -> None:
    """10 replicas, 8 old ready and 5 new that never are; scaled to 30, the surplus goes to both by size."""

    async def scenario(cluster: Cluster) -> None:
        rolling = {"maxSurge": 3, "maxUnavailable": 2}
        body = deployment(replicas=10, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
        await cluster.create(kinds.DEPLOYMENTS, body)
        await cluster.settle(20)
        cluster.refuse = lambda made: made["spec"]["containers"][0]["image"] == "broken"
        await cluster.merge(kinds.DEPLOYMENTS, "web", image("broken"))
        await cluster.settle(20)
        sets = await cluster.list(kinds.REPLICA_SETS)
        assert sorted(each["spec"]["replicas"] for each in sets) == [5, 8]
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 30}})
        await cluster.settle(20)
        sets = await cluster.list(kinds.REPLICA_SETS)
        assert sorted(each["spec"]["replicas"] for each in sets) == [13, 20]

    simulate(scenario)


def test_a_rollover_leaves_only_the_newest() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=4))
        for number in range(5):
            await cluster.settle(1.5)
            await cluster.merge(kinds.DEPLOYMENTS, "web", image(f"nginx:{number}"))
        await cluster.settle(90)
        sets = await cluster.list(kinds.REPLICA_SETS)
        sizes = {s["spec"]["template"]["spec"]["containers"][0]["image"]: s["spec"]["replicas"] for s in sets}
        assert {name for name, size in sizes.items() if size} == {"nginx:4"}
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        assert (condition_of(found, "Progressing") or {})["reason"] == "NewReplicaSetAvailable"
        await cluster.expect_quiet()

    simulate(scenario)


def test_ten_minutes_of_no_progress_pass_quickly() -> None:
    """progressDeadlineSeconds with its default of 600: not before, and then at once."""

    async def scenario(cluster: Cluster) -> None:
        cluster.refuse = lambda made: True
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(590)
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        assert (condition_of(found, "Progressing") or {})["status"] == "True"
        await cluster.settle(20)
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        condition = condition_of(found, "Progressing") or {}
        assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")

    simulate(scenario)


@pytest.mark.parametrize(
    ("value", "up", "expected"), [("25%", True, 3), ("25%", False, 2), (4, True, 4), ("0%", True, 0)]
)
def test_shares_of_ten(value: Any, up: bool, expected: int) -> None:
    assert scaled(value, 10, up=up) == expected

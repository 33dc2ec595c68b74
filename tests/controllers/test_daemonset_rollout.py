"""DaemonSets on virtual time, over the real store and verbs."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, pod_template, simulate

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.controllers.daemonset.placement import fits, target_node
from cluster.reconcile.pods import is_active, is_ready


def node(name: str, *taints: Object, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)} if taints else {},
    }


def daemon_set(image: str = "agent:1", template: Object | None = None, **spec: Any) -> Object:
    labels = {"app": "agent"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": pod_template(labels, image, **(template or {})),
            **spec,
        },
    }


async def complete(cluster: Cluster, count: int) -> bool:
    found = await cluster.get(kinds.DAEMON_SETS, "agent")
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("desiredNumberScheduled") == count
        and status.get("numberAvailable", 0) == count
        and status.get("updatedNumberScheduled", 0) == count
    )


async def nodes(cluster: Cluster, count: int) -> None:
    for number in range(count):
        await cluster.create(kinds.NODES, node(f"n{number}"))
        await cluster.client.patch(kinds.NODES, f"n{number}", {"spec": {"taints": None}})


def test_every_node_gets_one_pod_also_nodes_that_come_later() -> None:
    async def scenario(cluster: Cluster) -> None:
        await nodes(cluster, 3)
        await cluster.create(kinds.DAEMON_SETS, daemon_set())
        await cluster.eventually(lambda: complete(cluster, 3))
        assert sorted(target_node(p) for p in await cluster.pods()) == ["n0", "n1", "n2"]
        await cluster.create(kinds.NODES, node("n9"))
        await cluster.client.patch(kinds.NODES, "n9", {"spec": {"taints": None}})
        await cluster.eventually(lambda: complete(cluster, 4))
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_rolling_update_replaces_one_node_at_a_time() -> None:
    async def scenario(cluster: Cluster) -> None:
        await nodes(cluster, 4)
        await cluster.create(kinds.DAEMON_SETS, daemon_set())
        await cluster.eventually(lambda: complete(cluster, 4))
        ready: list[int] = []

        def count(old: Object | None, new: Object | None, cause: str) -> None:
            pods = cluster.world.informers.of(kinds.PODS).list()
            ready.append(sum(is_ready(p) and is_active(p) for p in pods))

        end = cluster.world.informers.of(kinds.PODS).on_change(count)
        ready.clear()
        template = daemon_set("agent:2")["spec"]["template"]
        await cluster.merge(kinds.DAEMON_SETS, "agent", {"spec": {"template": template}})
        await cluster.eventually(lambda: complete(cluster, 4))
        end()
        assert min(ready) == 3
        assert len(await cluster.list(kinds.CONTROLLER_REVISIONS)) == 2
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_with_surge_no_node_is_ever_without_a_ready_pod() -> None:
    async def scenario(cluster: Cluster) -> None:
        await nodes(cluster, 4)
        rolling = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
        await cluster.create(kinds.DAEMON_SETS, daemon_set(updateStrategy=rolling))
        await cluster.eventually(lambda: complete(cluster, 4))
        covered: list[int] = []

        def count(old: Object | None, new: Object | None, cause: str) -> None:
            pods = cluster.world.informers.of(kinds.PODS).list()
            covered.append(len({target_node(p) for p in pods if is_ready(p) and is_active(p)}))

        end = cluster.world.informers.of(kinds.PODS).on_change(count)
        covered.clear()
        template = daemon_set("agent:2")["spec"]["template"]
        await cluster.merge(kinds.DAEMON_SETS, "agent", {"spec": {"template": template}})
        await cluster.eventually(lambda: complete(cluster, 4))
        end()
        assert min(covered) == 4
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_on_delete_waits_for_the_user() -> None:
    async def scenario(cluster: Cluster) -> None:
        await nodes(cluster, 2)
        await cluster.create(kinds.DAEMON_SETS, daemon_set(updateStrategy={"type": "OnDelete"}))
        await cluster.eventually(lambda: complete(cluster, 2))
        template = daemon_set("agent:2")["spec"]["template"]
        await cluster.merge(kinds.DAEMON_SETS, "agent", {"spec": {"template": template}})
        await cluster.settle()
        assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods()} == {"agent:1"}
        for pod in await cluster.pods():
            await cluster.client.delete(kinds.PODS, pod["metadata"]["name"], namespace="default")
        await cluster.eventually(lambda: complete(cluster, 2))

    simulate(scenario)


TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("template", "there", "expected"),
    [
        pytest.param({}, node("a"), (True, True), id="plain"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, node("a"), (False, False), id="selector"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True), id="selected"),
        pytest.param({}, node("a", TAINT), (False, True), id="taint-keeps-what-runs"),
        pytest.param({}, node("a", TAINT | {"effect": "NoExecute"}), (False, False), id="no-execute"),
        pytest.param(
            {"tolerations": [{"key": "k", "operator": "Exists"}]},
            node("a", TAINT),
            (True, True),
            id="tolerated",
        ),
        pytest.param(
            {},
            node("a", {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}),
            (True, True),
            id="daemons-stay-on-unreachable-nodes",
        ),
        pytest.param(
            {},
            node("a", TAINT | {"effect": "PreferNoSchedule"}),
            (True, True),
            id="preference-is-no-obstacle",
        ),
    ],
)
def test_where_a_daemon_pod_belongs(template: Object, there: Object, expected: tuple[bool, bool]) -> None:
    assert fits(daemon_set(template=template), there) == expected

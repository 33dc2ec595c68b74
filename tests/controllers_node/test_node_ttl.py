"""The note on each Node that says how long its kubelet may keep objects."""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.controllers.node_ttl import ANNOTATION, STEPS, step_for


@pytest.mark.parametrize(
    ("nodes", "before", "ttl_s"),
    [
        pytest.param(1, 0, 0, id="small"),
        pytest.param(100, 0, 0, id="at the limit"),
        pytest.param(101, 0, 15, id="above"),
        pytest.param(95, 1, 15, id="not yet back"),
        pytest.param(89, 1, 0, id="back"),
        pytest.param(5000, 0, 300, id="several steps up"),
        pytest.param(10, 4, 0, id="several steps down"),
    ],
)
def test_the_size_decides(nodes: int, before: int, ttl_s: int) -> None:
    assert STEPS[step_for(nodes, before)].ttl_s == ttl_s


def test_each_node_is_told_once() -> None:
    async def scenario(cluster: Cluster) -> None:
        for number in range(3):
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"}}
            await cluster.create(kinds.NODES, body)
        await cluster.settle(10)
        nodes = await cluster.list(kinds.NODES, namespace="")
        assert [n["metadata"]["annotations"][ANNOTATION] for n in nodes] == ["0"] * 3
        await cluster.expect_quiet()

    simulate(scenario)

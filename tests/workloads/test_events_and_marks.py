"""Bursts of events, and disruption marks that nobody made true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import pod

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object, condition_of, timestamp
from cluster.controllers.stale_disruptions import left_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_two_thousand_events_at_once_are_all_stored() -> None:
    async def scenario(cluster: Cluster) -> None:
        recorder = cluster.world.recorder("test")
        for n in range(2000):
            body = pod(f"p-{n}")
            body["metadata"]["uid"] = str(n)
            recorder.event(body, "Normal", "Scheduled", "assigned")
        await cluster.settle(5)
        assert len(await cluster.events("Scheduled")) == 2000
        assert recorder.dropped == 0

    simulate(scenario)


def test_the_same_event_in_one_burst_is_counted_not_repeated() -> None:
    async def scenario(cluster: Cluster) -> None:
        recorder = cluster.world.recorder("test")
        body = pod("p")
        body["metadata"]["uid"] = "1"
        for _ in range(5):
            recorder.event(body, "Normal", "Pulled", "again")
        await cluster.settle(5)
        (event,) = [e for e in await cluster.list(kinds.EVENTS) if e["reason"] == "Pulled"]
        assert event["count"] == 5

    simulate(scenario)


def marked(seconds_ago: int, *, reason: str = "PreemptionByScheduler", **fields: Any) -> Object:
    at = timestamp(datetime.fromtimestamp(NOW.timestamp() - seconds_ago, UTC))
    mark = {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": at}
    return {"metadata": {}, "status": {"phase": "Running", "conditions": [mark]}} | fields


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(marked(20), 100.0, id="fresh"),
        pytest.param(marked(150), -30.0, id="stale"),
        pytest.param(marked(150, reason="TerminationByKubelet"), None, id="the-kubelets-own"),
        pytest.param(marked(150, metadata={"deletionTimestamp": "now"}), None, id="being-deleted"),
        pytest.param(marked(150, status={"phase": "Failed"}), None, id="finished"),
    ],
)
def test_when_a_mark_is_stale(body: Object, expected: float | None) -> None:
    assert left_s(body, NOW) == expected


def test_a_stale_mark_is_taken_back_after_two_minutes() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.PODS, pod("p"))
        await cluster.settle(5)
        now = timestamp(cluster.world.clock.now())
        mark = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": now,
        }
        await cluster.client.patch(
            kinds.PODS,
            "p",
            {"status": {"conditions": [mark]}},
            namespace="default",
            kind=PatchType.STRATEGIC,
            subresource="status",
        )
        await cluster.settle(110)
        found = condition_of(await cluster.get(kinds.PODS, "p"), "DisruptionTarget") or {}
        assert found["status"] == "True"
        await cluster.settle(20)
        found = condition_of(await cluster.get(kinds.PODS, "p"), "DisruptionTarget") or {}
        assert (found["status"], "reason" in found) == ("False", False)
        await cluster.expect_quiet()

    simulate(scenario)

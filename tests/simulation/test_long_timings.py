"""What takes minutes in a real cluster, with Kubernetes' own timings, on virtual time."""

from __future__ import annotations

import asyncio
import json
from time import process_time

import pytest
from simulated import simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from scenarios.drill import Drill
from scenarios.expectation import is_ready
from scenarios.simulation import SimulatedCluster


def _deployment(replicas: int, *, behaviour: Object | None = None, **spec: object) -> Object:
    annotations = {"kubemu.dev/behaviour": json.dumps({"*": behaviour})} if behaviour else {}
    template = {
        "metadata": {"labels": {"app": "a"}, "annotations": annotations},
        "spec": {"containers": [{"name": "a", "image": "nginx:1.27"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": template,
            **spec,
        },
    }


def test_pods_of_a_dead_node_are_evicted_after_five_minutes() -> None:
    """50 s until the node is found silent, then the 300 s that every pod tolerates."""

    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        await drill.apply(objects=[_deployment(6)])
        await drill.rollout("deployment/a", within_s=60)
        killed_at = cluster.clock.monotonic()
        await cluster.kill_node("node-2")
        marked_after: list[float] = []
        while len(marked_after) < 2:
            await asyncio.sleep(1.0)
            pods = (await drill.client.list(kinds.PODS)).items
            gone = [
                p for p in pods if p["spec"]["nodeName"] == "node-2" and "deletionTimestamp" in p["metadata"]
            ]
            marked_after += [cluster.clock.monotonic() - killed_at] * (len(gone) - len(marked_after))
            assert cluster.clock.monotonic() - killed_at < 400
        assert all(340 <= after <= 375 for after in marked_after), marked_after
        await asyncio.sleep(10)
        assert sum(is_ready(pod) for pod in (await drill.client.list(kinds.PODS)).items) == 6

    simulate(story)


@pytest.mark.parametrize(
    ("runs_s", "expected"),
    [
        pytest.param(1, [0, 10, 20, 40, 80, 160, 300, 300], id="at once, 10 s, doubling, at most 300 s"),
        pytest.param(700, [0, 0, 0], id="what ran for ten minutes starts over"),
    ],
)
def test_a_crashing_container_backs_off(runs_s: int, expected: list[int]) -> None:
    """Seconds between the end of one run and the start of the next."""

    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        behaviour = json.dumps({"*": {"exit": {"after_s": runs_s, "code": 1}}})
        metadata = {"name": "crashing", "annotations": {"kubemu.dev/behaviour": behaviour}}
        spec = {"containers": [{"name": "a", "image": "nginx:1.27"}]}
        await drill.apply(objects=[{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
        runs: dict[str, str] = {}
        while len(runs) <= len(expected):
            await asyncio.sleep(0.5)
            stored = await drill.client.get(kinds.PODS, "crashing", namespace="default")
            for status in stored["status"].get("containerStatuses", ()):
                ended = status["state"].get("terminated") or status["lastState"].get("terminated")
                if ended:
                    runs[ended["startedAt"]] = ended["finishedAt"]
            assert cluster.clock.monotonic() < 3600
        waits = [
            _seconds(start) - _seconds(end) for end, start in zip(runs.values(), list(runs)[1:], strict=False)
        ]
        assert all(abs(wait - due) <= 2 for wait, due in zip(waits, expected, strict=True)), waits

    simulate(story, nodes=1)


def _seconds(stamp: str) -> int:
    hours, minutes, seconds = stamp[11:19].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def test_a_rollout_without_progress_is_given_up_after_ten_minutes() -> None:
    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        await drill.apply(objects=[_deployment(2)])
        await drill.rollout("deployment/a", within_s=60)
        began = cluster.clock.monotonic()
        await drill.set_image("deployment/a", "registry.invalid/nginx:9")
        while True:
            await asyncio.sleep(1.0)
            stored = await drill.client.get(kinds.DEPLOYMENTS, "a", namespace="default")
            progressing = condition_of(stored, "Progressing")
            assert progressing is not None
            if progressing["reason"] == "ProgressDeadlineExceeded":
                break
            assert cluster.clock.monotonic() - began < 700
        assert 600 <= cluster.clock.monotonic() - began <= 605
        assert progressing["status"] == "False"

    simulate(story)


def test_a_virtual_hour_is_quick() -> None:
    """The demonstration's cluster: 3 nodes, 6 pods, 12 HTTP probes each second. Two minutes of it stand for
    the hour. It takes about half a second of processor time; the bound leaves room for slow machines."""

    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        await drill.apply("manifests/web.yaml")
        await drill.rollout("deployment/web", within_s=60)
        began = process_time()
        await asyncio.sleep(120)
        assert process_time() - began < 3

    simulate(story, profile="fast")

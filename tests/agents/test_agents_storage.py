"""Local storage: limits that evict a pod, a full disk that makes pressure, with the kubelet's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agents_harness import World, make_container, make_pod, simulate

from agents.behaviour import ANNOTATION
from cluster.api import wire
from cluster.api.objects import Object


def writing(script: str, *, limit: str = "", volume: Object | None = None) -> Object:
    resources = {"limits": {"ephemeral-storage": limit}} if limit else {}
    container = make_container(
        image="busybox",
        command=["sh", "-c", f"{script}; sleep 10000"],
        resources=resources,
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    return make_pod(containers=[container], volumes=[{"name": "v", "emptyDir": volume or {}}])


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        pytest.param(
            writing("printf %02000d 0 > /v/f", volume={"sizeLimit": "1k"}),
            'Usage of EmptyDir volume "v" exceeds the limit "1k". ',
            id="emptyDir",
        ),
        pytest.param(
            writing("printf %02000d 0 > /v/f", limit="1k"),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1k. ",
            id="pod",
        ),
        pytest.param(
            writing("printf %02000d 0 > /tmp/f", limit="1k"),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1k. ",
            id="own files",
        ),
    ],
)
def test_a_pod_that_writes_too_much_is_evicted(pod: Object, message: str) -> None:
    async def story(world: World) -> None:
        world.want(pod)
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
        status = world.statuses["web-1"]
        assert (status["reason"], status["message"]) == ("Evicted", message)
        condition = world.condition("DisruptionTarget")
        assert (condition["status"], condition["reason"]) == ("True", "TerminationByKubelet")
        assert condition["message"] == message
        event = next(e for e in world.events if e.reason == "Evicted")
        assert (event.type, event.message) == ("Warning", message)

    simulate(story)


def test_a_container_of_several_has_its_own_limit() -> None:
    async def story(world: World) -> None:
        def container(name: str, script: str, limit: str) -> Object:
            return make_container(
                name,
                "busybox",
                command=["sh", "-c", f"{script}; sleep 10000"],
                resources={"limits": {"ephemeral-storage": limit}},
            )

        world.want(
            make_pod(
                containers=[
                    container("small", "printf %02000d 0 > /tmp/f", "1k"),
                    container("large", "true", "1M"),
                ]
            )
        )
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
        message = 'Container small exceeded its local ephemeral storage limit "1k". '
        assert world.statuses["web-1"]["message"] == message

    simulate(story)


def test_a_pod_within_its_limits_stays() -> None:
    async def story(world: World) -> None:
        world.want(writing("printf %0200d 0 > /v/f", limit="10k", volume={"sizeLimit": "10k"}))
        await world.expect_ready()
        start = world.clock.monotonic()
        await world.expect(lambda: world.clock.monotonic() > start + 30)
        assert world.statuses["web-1"]["phase"] == "Running"

    simulate(story)


def test_a_full_disk_makes_pressure_and_refuses_further_pods() -> None:
    def pod(name: str, written: int, **spec: Any) -> Object:
        annotations = {ANNOTATION: json.dumps({"*": {"storage_bytes": written}})}
        return make_pod(name, annotations=annotations, **spec)

    def told(world: World, type: str) -> Object:
        beats = [m for m in world.messages if isinstance(m, wire.Heartbeat)]
        return next(c for c in beats[-1].conditions if c["type"] == type)

    async def story(world: World) -> None:
        world.want(pod("a", 20 << 30), pod("b", 75 << 30))
        await world.expect(lambda: world.statuses["b"]["phase"] == "Failed")
        message = world.statuses["b"]["message"]
        assert message.startswith("The node was low on resource: ephemeral-storage. Threshold quantity: ")
        used = (75 << 30) // 1024
        assert message.endswith(
            f"Container web was using {used}Ki, request is 0, has larger consumption of ephemeral-storage. "
        )
        await world.expect(lambda: told(world, "DiskPressure")["status"] == "True")
        assert told(world, "DiskPressure")["reason"] == "KubeletHasDiskPressure"
        assert world.statuses["a"]["phase"] == "Running"
        world.want(make_pod("c"))
        await world.expect(lambda: world.statuses["c"]["phase"] == "Failed")
        assert world.statuses["c"]["message"] == "Pod was rejected: The node had condition: [DiskPressure]. "
        await world.expect(lambda: told(world, "DiskPressure")["status"] == "False", within_s=400)

    simulate(story)

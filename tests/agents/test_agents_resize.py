"""Pods whose resources change while they run: allocated, deferred, infeasible, with and without a restart."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agents_harness import World, deleted, make_container, make_pod, simulate

from agents.behaviour import ANNOTATION
from cluster.api.objects import Object


def sized(cpu: str, memory: str = "64Mi", *, name: str = "web-1", generation: int = 1, **more: Any) -> Object:
    amounts = {"cpu": cpu, "memory": memory}
    container = make_container(resources={"requests": amounts, "limits": amounts}, **more)
    pod = make_pod(name, containers=[container])
    pod["metadata"]["generation"] = generation
    return pod


def resize_condition(world: World, pod: str = "web-1") -> Object | None:
    found = (c for c in world.statuses[pod]["conditions"] if c["type"].startswith("PodResize"))
    return next(found, None)


def told(world: World, reason: str) -> str:
    return next(e.message for e in world.events if e.reason == reason)


def test_a_resize_is_put_into_effect_without_a_restart() -> None:
    async def story(world: World) -> None:
        world.want(sized("1"))
        await world.expect_ready()
        assert world.container()["allocatedResources"] == {"cpu": "1", "memory": "64Mi"}
        world.want(sized("2", generation=2))
        await world.expect(lambda: resize_condition(world) is not None)
        condition = resize_condition(world)
        assert condition is not None
        assert (condition["type"], condition["status"]) == ("PodResizeInProgress", "True")
        assert condition["observedGeneration"] == 2
        assert world.container()["allocatedResources"]["cpu"] == "2"
        assert world.container()["resources"]["limits"]["cpu"] == "1"
        await world.expect(lambda: resize_condition(world) is None)
        assert world.container()["resources"]["limits"] == {"cpu": "2", "memory": "64Mi"}
        assert world.container()["restartCount"] == 0
        start, _, details = told(world, "ResizeStarted").partition(": ")
        amounts = {"cpu": "2", "memory": "64Mi"}
        resources = {"limits": amounts, "requests": amounts}
        expected = {"containers": [{"name": "web", "resources": resources}], "generation": 2}
        assert (start, json.loads(details)) == ("Pod resize started", expected)
        assert told(world, "ResizeCompleted") == f"Pod resize completed: {details}"

    simulate(story)


def test_a_container_whose_policy_says_so_is_restarted() -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]

    async def story(world: World) -> None:
        world.want(sized("1", resizePolicy=policy))
        await world.expect_ready()
        world.want(sized("2", resizePolicy=policy, generation=2))
        await world.expect(lambda: "ResizeCompleted" in world.reasons())
        assert world.container()["restartCount"] == 0
        world.want(sized("2", "128Mi", resizePolicy=policy, generation=3))
        await world.expect(lambda: world.container()["restartCount"] == 1)
        await world.expect_ready()
        assert world.container()["resources"]["limits"]["memory"] == "128Mi"
        assert told(world, "Killing") == "Container web resize requires restart"
        await world.expect(lambda: world.reasons().count("ResizeCompleted") == 2)

    simulate(story)


def test_what_no_node_of_this_size_has_is_infeasible() -> None:
    async def story(world: World) -> None:
        world.want(sized("1"))
        await world.expect_ready()
        world.want(sized("100", generation=2))
        await world.expect(lambda: resize_condition(world) is not None)
        condition = resize_condition(world)
        assert condition is not None
        why = "Node didn't have enough capacity: cpu, requested: 100000, capacity: 4000"
        assert (condition["type"], condition["reason"]) == ("PodResizePending", "Infeasible")
        assert condition["message"] == why
        assert told(world, "ResizeInfeasible").startswith("Pod resize Infeasible: {")
        assert json.loads(told(world, "ResizeInfeasible").partition(": ")[2])["error"] == why
        assert world.container()["allocatedResources"]["cpu"] == "1"
        # a wish that is taken back leaves nothing
        world.want(sized("1", generation=3))
        await world.expect(lambda: resize_condition(world) is None)

    simulate(story)


def test_a_deferred_resize_happens_once_there_is_room() -> None:
    async def story(world: World) -> None:
        other = sized("2", name="other")
        world.want(sized("1"), other)
        await world.expect_ready("other")
        world.want(sized("3", generation=2))
        await world.expect(lambda: resize_condition(world) is not None)
        condition = resize_condition(world)
        assert condition is not None
        assert condition["reason"] == "Deferred"
        why = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000"
        assert condition["message"] == why
        world.want(deleted(other, 0))
        await world.expect(lambda: "ResizeCompleted" in world.reasons())
        assert resize_condition(world) is None
        assert world.container()["resources"]["requests"]["cpu"] == "3"

    simulate(story)


def test_a_limit_below_what_is_used_waits_until_it_is_not() -> None:
    def using(amount: int, memory: str, generation: int) -> Object:
        pod = sized("1", memory, generation=generation)
        pod["metadata"]["annotations"] = {ANNOTATION: json.dumps({"web": {"memory_bytes": amount}})}
        return pod

    async def story(world: World) -> None:
        world.want(using(50 << 20, "64Mi", 1))
        await world.expect_ready()
        world.want(using(50 << 20, "32Mi", 2))
        await world.expect(lambda: "ResizeError" in world.reasons())
        condition = resize_condition(world)
        assert condition is not None
        assert (condition["type"], condition["reason"]) == ("PodResizeInProgress", "Error")
        why = f"attempting to set pod memory limit ({32 << 20}) below current usage ({50 << 20})"
        assert condition["message"] == why
        assert world.container()["resources"]["limits"]["memory"] == "64Mi"
        world.want(using(10 << 20, "32Mi", 3))
        await world.expect(lambda: resize_condition(world) is None)
        assert world.container()["resources"]["limits"]["memory"] == "32Mi"

    simulate(story)


def test_a_restarted_node_keeps_what_was_allocated_while_a_resize_waits() -> None:
    async def story(world: World) -> None:
        world.want(sized("1"))
        await world.expect_ready()
        wished = sized("100", generation=2)
        world.want(wished)
        await world.expect(lambda: resize_condition(world) is not None)
        world.wanted["Podweb-1"] = {**wished, "status": world.statuses["web-1"]}
        await world.kill_node()
        await asyncio.sleep(1)
        await world.start_node()
        await world.expect(lambda: world.container()["restartCount"] == 1)
        await world.expect_ready()
        assert world.container()["allocatedResources"]["cpu"] == "1"
        condition = resize_condition(world)
        assert condition is not None
        assert condition["reason"] == "Infeasible"

    simulate(story)

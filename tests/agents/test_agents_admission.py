"""What a node refuses to run, with the kubelet's reasons and messages, and when there is room again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents_harness import NODE, World, deleted, make_container, make_pod, simulate

from agents.admitting import Admission
from agents.allocation import Allocation
from cluster.api.objects import Object

CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "3", "ephemeral-storage": "10Gi", "example.com/gpu": "1"}


def asking(name: str = "p", *, ports: list[Object] | None = None, **requests: str) -> Object:
    container = make_container(resources={"requests": requests}, ports=ports or [])
    return make_pod(name, containers=[container])


def admission(**learnt: Any) -> Admission:
    admission = Admission(NODE, Allocation(CAPACITY))
    admission.learn({"metadata": {"labels": {"zone": "a"}}, "spec": learnt})
    return admission


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        pytest.param(
            asking(cpu="3500m"),
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 3500, used: 1000, capacity: 4000",
            id="cpu",
        ),
        pytest.param(
            asking(memory="8Gi"),
            "OutOfmemory",
            "Node didn't have enough resource: memory, requested: 8589934592, used: 1073741824, "
            "capacity: 8589934592",
            id="memory",
        ),
        pytest.param(
            asking(**{"ephemeral-storage": "20Gi"}),
            "OutOfephemeral-storage",
            "Node didn't have enough resource: ephemeral-storage, requested: 21474836480, used: 0, "
            "capacity: 10737418240",
            id="storage",
        ),
        pytest.param(
            asking(**{"example.com/gpu": "2"}),
            "OutOfexample.com/gpu",
            "Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1",
            id="extended resource",
        ),
        pytest.param(
            asking(ports=[{"containerPort": 80, "hostPort": 8080}]),
            "NodePorts",
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            id="port",
        ),
        pytest.param(
            make_pod("p", nodeSelector={"zone": "b"}),
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            id="selector",
        ),
        pytest.param(
            make_pod("p", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowlisted',
            id="sysctl",
        ),
    ],
)
def test_reasons_and_messages(pod: Object, reason: str, message: str) -> None:
    decides = admission()
    first = asking("first", ports=[{"containerPort": 80, "hostPort": 8080}], cpu="1", memory="1Gi")
    assert decides.refusal("uid-first", first) is None
    assert decides.refusal("uid-p", pod) == (reason, message)


def test_a_node_that_is_full_of_pods_takes_one_more_once_one_has_left() -> None:
    decides = admission()
    for name in ("a", "b", "c"):
        assert decides.refusal(name, make_pod(name)) is None
    refused = decides.refusal("d", make_pod("d"))
    assert refused == (
        "OutOfpods",
        "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
    )
    decides.allocation.release("b")
    assert decides.refusal("d", make_pod("d")) is None


def test_a_pod_that_asks_again_does_not_stand_in_its_own_way() -> None:
    decides = admission()
    pod = asking("a", ports=[{"containerPort": 80, "hostPort": 8080}], cpu="4")
    for _ in range(2):
        assert decides.refusal("a", pod) is None
    assert decides.refusal("b", make_pod("b")) is None
    assert decides.refusal("c", make_pod("c")) is None
    assert decides.refusal("a", pod) is None


def test_resources_that_the_node_does_not_know_do_not_count() -> None:
    assert admission().refusal("p", asking(**{"example.com/fpga": "1"})) is None


def test_ports_clash_by_protocol_and_address() -> None:
    decides = admission()

    def pod(name: str, **port: Any) -> Object:
        return asking(name, ports=[{"containerPort": 80, "hostPort": 8080, **port}])

    assert decides.refusal("a", pod("a", hostIP="127.0.0.1")) is None
    assert decides.refusal("b", pod("b", hostIP="127.0.0.2")) is None
    assert decides.refusal("c", pod("c", hostIP="127.0.0.1", protocol="UDP")) is None
    decides.allocation.release("c")
    refused = decides.refusal("d", pod("d"))
    assert refused is not None
    assert refused.reason == "NodePorts"


def test_noexecute_taints_and_their_tolerations() -> None:
    decides = admission(taints=[{"key": "k", "value": "v", "effect": "NoExecute"}])
    refused = decides.refusal("p", make_pod("p"))
    why = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    assert refused == ("TaintToleration", why)
    assert decides.refusal("p", make_pod("p", tolerations=[{"operator": "Exists"}])) is None


@pytest.mark.parametrize(
    ("pressures", "pod", "admitted"),
    [
        (("MemoryPressure",), make_pod("p"), False),
        (("MemoryPressure",), asking(memory="1Mi"), True),
        (("MemoryPressure",), make_pod("p", tolerations=[{"operator": "Exists"}]), True),
        (("DiskPressure",), asking(memory="1Mi"), False),
        (("DiskPressure",), make_pod("p", priority=2_000_001_000), True),
    ],
    ids=["best effort", "burstable", "tolerates", "disk", "critical"],
)
def test_a_node_under_pressure_takes_few_pods(
    pressures: tuple[str, ...], pod: Object, admitted: bool
) -> None:
    decides = admission()
    decides.pressures = pressures
    refused = decides.refusal("p", pod)
    expected = None if admitted else ("Evicted", f"The node had condition: [{pressures[0]}]. ")
    assert refused == expected


def test_a_refused_pod_has_failed_and_never_runs() -> None:
    async def story(world: World) -> None:
        world.want(asking("big", cpu="3"), asking("late", cpu="2"))
        await world.expect_ready("big")
        await world.expect(lambda: world.statuses["late"]["phase"] == "Failed")
        status = world.statuses["late"]
        why = "Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"
        assert (status["reason"], status["message"]) == ("OutOfcpu", f"Pod was rejected: {why}")
        event = next(e for e in world.events if e.reason == "OutOfcpu")
        assert (event.type, event.message) == ("Warning", why)
        # what took the room away gives it back with its end
        world.want(deleted(asking("big", cpu="3"), 0))
        await world.expect(lambda: "big" not in world.statuses)
        world.want(asking("next", cpu="4"))
        await world.expect_ready("next")

    simulate(story)


def test_a_pod_without_an_object_takes_no_room() -> None:
    """A forced deletion: the object is gone while its containers still end."""

    async def story(world: World) -> None:
        slow = make_pod(
            "slow",
            containers=[
                make_container(
                    image="busybox", command=["sleep", "1000"], resources={"requests": {"cpu": "4"}}
                )
            ],
        )
        world.want(slow)
        await world.expect_ready("slow")
        world.unwant(slow)
        world.want(asking("next", cpu="4"))
        await world.expect_ready("next")

    simulate(story)


def test_labels_that_change_count_for_the_next_pod() -> None:
    async def story(world: World) -> None:
        node = {"kind": "Node", "metadata": {"name": NODE, "labels": {"disk": "ssd"}}, "spec": {}}
        world.want({**node, "metadata": {**node["metadata"], "namespace": ""}})
        await asyncio.sleep(0.1)
        world.want(
            make_pod("chosen", nodeSelector={"disk": "ssd"}), make_pod("other", nodeSelector={"a": "b"})
        )
        await world.expect_ready("chosen")
        await world.expect(lambda: world.statuses["other"]["reason"] == "NodeAffinity")

    simulate(story)


def test_a_handler_that_is_not_configured_makes_no_sandbox() -> None:
    async def story(world: World) -> None:
        runtime_class = {
            "kind": "RuntimeClass",
            "metadata": {"name": "odd", "namespace": ""},
            "handler": "odd-handler",
        }
        world.want(runtime_class, make_pod(runtimeClassName="odd"))
        await world.expect(lambda: "FailedCreatePodSandBox" in world.reasons())
        why = 'failed to get sandbox runtime: no runtime for "odd-handler" is configured'
        message = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {why}"
        assert world.events[-1].message == message
        assert world.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}

    simulate(story)

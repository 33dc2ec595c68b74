"""A whole node against a scripted gateway, on virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest
from agents_harness import World, deleted, make_container, make_pod, simulate

from agents import http
from agents.settings import OWN_ADDRESS
from cluster.api import wire

PROBE = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2, "failureThreshold": 2}
ANNOTATION = "kubemu.dev/behaviour"


def behaviour(**fields: object) -> dict[str, str]:
    return {ANNOTATION: json.dumps({"*": fields})}


def test_a_pod_becomes_ready_and_really_serves() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(containers=[make_container(readinessProbe=PROBE)]))
        await world.expect_ready(within_s=5)
        ip = world.statuses["web-1"]["podIP"]
        assert ip == "127.5.0.2"
        request = http.Request(method="GET", target="/", headers=[("Host", ip)])
        response = await http.fetch(world.network, ip, 80, request)
        assert response.status == 200
        assert b"web-1 1.27" in response.body

    world = simulate(story)
    assert world.reasons() == ["Pulling", "Pulled", "Created", "Started"]


def test_registration_tells_the_machine_and_its_address() -> None:
    """One registration is enough: the address, taken from the pod CIDR of the answer, comes with the first
    heartbeat, and with that one only."""

    async def story(world: World) -> None:
        await asyncio.sleep(30)
        assert world.sessions == 1

    world = simulate(story)
    (last,) = (m for m in world.messages if isinstance(m, wire.Register))
    told = [m.addresses for m in world.messages if isinstance(m, wire.Heartbeat)]
    assert len(told) > 2
    assert not any(told[1:])
    assert told[0] == [
        {"type": "InternalIP", "address": "127.5.0.1"},
        {"type": "Hostname", "address": "n1"},
    ]
    assert last.node_info["kubeletVersion"] == "v1.37.0"
    assert last.capacity["pods"] == "110"


def test_deletion_ends_in_a_last_status_and_then_nothing() -> None:
    """nginx exits with 0 on SIGTERM, so the last phase is Succeeded."""

    async def story(world: World) -> None:
        pod = make_pod()
        world.want(pod)
        await world.expect_ready()
        world.want(deleted(pod))
        await world.expect(lambda: "web-1" not in world.statuses, within_s=2)

    world = simulate(story)
    *_, (_, _, before), (_, _, last) = world.history
    assert last is None
    assert before is not None
    assert before["phase"] == "Succeeded"
    assert "Killing" in world.reasons()


def test_a_script_without_a_trap_is_killed_after_its_grace() -> None:
    async def story(world: World) -> None:
        pod = make_pod(containers=[make_container(image="busybox", command=["sleep", "3600"])])
        world.want(pod)
        await world.expect_ready()
        begun = world.clock.monotonic()
        world.want(deleted(pod, grace_s=7))
        ended = await world.expect(lambda: "web-1" not in world.statuses)
        assert ended - begun == pytest.approx(7, abs=0.1)

    world = simulate(story)
    status = [status for _, _, status in world.history if status is not None][-1]
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_crashing_container_backs_off() -> None:
    """The first restart is immediate, the second waits 10 s, the third 20 s."""

    async def story(world: World) -> None:
        world.want(make_pod(containers=[make_container(image="busybox", command=["sh", "-c", "exit 3"])]))
        await world.expect(lambda: world.container()["restartCount"] == 1, within_s=1)
        waiting = world.container()["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        assert waiting["message"] == (
            "back-off 10s restarting failed container=web pod=web-1_default(uid-web-1)"
        )
        assert world.container()["lastState"]["terminated"]["exitCode"] == 3
        at = await world.expect(lambda: world.container()["restartCount"] == 2, within_s=11)
        assert at == pytest.approx(10, abs=0.2)
        at = await world.expect(lambda: world.container()["restartCount"] == 3, within_s=21)
        assert at == pytest.approx(30, abs=0.2)

    simulate(story)


def test_a_failing_liveness_probe_leads_to_an_ordered_restart() -> None:
    async def story(world: World) -> None:
        pod = make_pod(containers=[make_container(livenessProbe=PROBE)])
        world.want(pod)
        await world.expect_ready()
        failing = make_pod(
            containers=[make_container(livenessProbe=PROBE)],
            annotations=behaviour(liveness=[{"after_s": 0, "answer": "fail"}]),
        )
        world.want(failing)
        await world.expect(lambda: world.container()["restartCount"] == 1, within_s=10)

    world = simulate(story)
    messages = [event.message for event in world.events]
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in messages
    assert "Container web failed liveness probe, will be restarted" in messages


def test_cut_off_the_node_restarts_by_itself() -> None:
    """Nobody orders: after agent_autonomy_s (20 s) the node decides alone."""

    async def story(world: World) -> None:
        world.obeys_probes = False
        world.want(
            make_pod(
                containers=[make_container(livenessProbe=PROBE)],
                annotations=behaviour(liveness=[{"after_s": 5, "answer": "fail"}]),
            )
        )
        await world.expect_ready()
        world.broker.crash()
        await asyncio.sleep(22)
        world.broker.restart()
        await world.expect(lambda: world.container()["restartCount"] == 1, within_s=6)
        restarted = world.container()["state"]["running"]["startedAt"]
        assert "2026-01-01T00:00:20Z" <= restarted <= "2026-01-01T00:00:21Z"

    simulate(story)


def test_a_node_that_comes_back_with_another_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that was cut off from its network; without any address for a while it keeps the last."""
    found = iter(["192.0.2.5", "", "192.0.2.9"])

    def own_address() -> str:
        if not (address := next(found)):
            raise OSError("no name")
        return address

    monkeypatch.setattr("agents.node.own_address", own_address)

    async def story(world: World) -> None:
        assert world.node is not None
        await world.kill_node()
        await world.start_node(OWN_ADDRESS)

        def told() -> list[str]:
            addresses = [m.addresses for m in world.messages if isinstance(m, wire.Register)]
            return [a["address"] for each in addresses for a in each if a["type"] == "InternalIP"]

        await world.expect(lambda: told() == ["192.0.2.5"])
        for times in (2, 3):
            world.broker.crash()
            await asyncio.sleep(1)
            world.broker.restart()
            await world.expect(lambda times=times: len(told()) == times)  # type: ignore[misc]
        assert told() == ["192.0.2.5", "192.0.2.5", "192.0.2.9"]

    simulate(story)


def test_a_harmless_repeated_order_changes_nothing() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(containers=[make_container(livenessProbe=PROBE)]))
        await world.expect_ready()
        order = wire.RestartContainer(
            uid="uid-web-1", container="web", expected_restart_count=0, reason="an old order"
        )
        world.tell(order)
        world.tell(order)
        await asyncio.sleep(30)
        assert world.container()["restartCount"] == 0

    simulate(story)


def test_a_killed_node_comes_back_and_restarts_its_pods() -> None:
    """As after a reboot: exit code 255, one restart more, a new epoch."""

    async def story(world: World) -> None:
        pod = make_pod()
        world.want(pod)
        await world.expect_ready()
        await world.kill_node()
        world.want({**pod, "status": world.statuses["web-1"]})
        await asyncio.sleep(30)
        await world.start_node()
        await world.expect(lambda: world.container()["restartCount"] == 1)
        await world.expect_ready()
        assert world.container()["lastState"]["terminated"]["exitCode"] == 255

    world = simulate(story)
    epochs = {m.epoch: None for m in world.messages if isinstance(m, wire.Register)}
    assert len(epochs) == 2


def test_a_new_controller_manager_is_told_everything() -> None:
    async def story(world: World) -> None:
        world.want(make_pod())
        await world.expect_ready()
        world.statuses.clear()
        world.link.publish("kubemu/test/control/presence", wire.online("second"), retain=True)
        await world.expect_ready(within_s=1)

    simulate(story)


def test_a_gap_in_the_desired_state_is_healed() -> None:
    async def story(world: World) -> None:
        await world.expect(lambda: world.sessions == 1)
        world.sequence += 3
        world.want(make_pod())
        await world.expect_ready(within_s=5)
        assert world.sessions == 2

    simulate(story)


def test_a_missing_configuration_is_waited_for() -> None:
    async def story(world: World) -> None:
        reference = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
        world.want(make_pod(containers=[make_container(env=[{"name": "COLOUR", "valueFrom": reference}])]))
        await world.expect(
            lambda: world.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        )
        assert world.container()["state"]["waiting"]["message"] == 'configmap "settings" not found'
        world.want(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "settings", "namespace": "default"},
                "data": {"colour": "blue"},
            }
        )
        await world.expect_ready(within_s=1)

    simulate(story)


def test_a_one_shot_crash_happens_once() -> None:
    async def story(world: World) -> None:
        world.want(make_pod())
        await world.expect_ready()
        world.want(make_pod(annotations=behaviour(crash={"id": "c1", "exit_code": 7})))
        await world.expect(lambda: world.container()["restartCount"] == 1)
        assert world.container()["lastState"]["terminated"]["exitCode"] == 7
        await asyncio.sleep(120)
        assert world.container()["restartCount"] == 1

    simulate(story)


def test_a_crash_at_the_very_start_leaves_no_port_taken() -> None:
    """The container is down before its port listens."""

    async def story(world: World) -> None:
        world.want(make_pod(annotations=behaviour(crash={"id": "c1", "exit_code": 7})))
        await world.expect(lambda: world.container()["restartCount"] == 1)
        await world.expect_ready()
        assert world.container()["restartCount"] == 1

    simulate(story)


def test_a_leak_ends_at_the_memory_limit() -> None:
    """10 MiB and 1 MiB/s more, limit 20 MiB: killed after 10 s."""

    async def story(world: World) -> None:
        mebi = 1 << 20
        container = make_container(resources={"limits": {"memory": "20Mi"}})
        world.want(
            make_pod(
                containers=[container],
                annotations=behaviour(memory_bytes=10 * mebi, memory_growth_bytes_per_s=mebi),
            )
        )
        await world.expect(lambda: world.container()["restartCount"] == 1, within_s=11)
        terminated = world.container()["lastState"]["terminated"]
        assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)

    simulate(story)


def test_logs_are_streamed_within_the_window() -> None:
    async def story(world: World) -> None:
        command = ["sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 100"]
        world.want(make_pod(containers=[make_container(image="busybox", command=command)]))
        await world.expect_ready()
        world.tell(
            wire.StreamOpen(
                id="x1", kind="log", uid="uid-web-1", container="web", options={"tail_lines": 2}, window=5
            )
        )
        await asyncio.sleep(1)
        data = [m for m in world.messages if isinstance(m, wire.StreamData)]
        assert b"".join(m.data for m in data) == b"line "
        world.tell(wire.StreamGrant(id="x1", bytes=100))
        await world.expect(lambda: any(isinstance(m, wire.StreamClose) for m in world.messages))
        data = [m for m in world.messages if isinstance(m, wire.StreamData)]
        assert b"".join(m.data for m in data) == b"line 2\nline 3\n"

    simulate(story)


def test_exec_reports_the_exit_code() -> None:
    async def story(world: World) -> None:
        world.want(make_pod())
        await world.expect_ready()
        world.tell(
            wire.StreamOpen(
                id="x1",
                kind="exec",
                uid="uid-web-1",
                container="web",
                options={"command": ["sh", "-c", "hostname; exit 4"], "stdout": True},
            )
        )
        await world.expect(lambda: any(isinstance(m, wire.StreamClose) for m in world.messages))
        first, second = (m for m in world.messages if isinstance(m, wire.StreamData))
        assert (first.channel, first.data) == (1, b"web-1\n")
        assert json.loads(second.data)["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]

    simulate(story)


def test_a_job_like_pod_completes() -> None:
    async def story(world: World) -> None:
        command = ["sh", "-c", "echo working; sleep 5"]
        world.want(
            make_pod(containers=[make_container(image="busybox", command=command)], restartPolicy="Never")
        )
        at = await world.expect(lambda: world.statuses["web-1"]["phase"] == "Succeeded")
        assert at == pytest.approx(5, abs=0.2)
        assert world.condition("Ready")["reason"] == "PodCompleted"
        assert world.condition("PodReadyToStartContainers")["status"] == "False"

    simulate(story)


def test_lost_reports_are_found_and_told_again() -> None:
    async def story(world: World) -> None:
        await world.expect(lambda: world.sessions == 1)
        world.acknowledges = False
        world.want(make_pod())
        await world.expect_ready()
        await asyncio.sleep(15)
        assert world.sessions > 1
        world.acknowledges = True

    simulate(story)


def test_a_store_that_is_slow_loses_no_session() -> None:
    """Reports that have come are not told again, however long they wait to be durable."""

    async def story(world: World) -> None:
        await world.expect(lambda: world.sessions == 1)
        world.stores = False
        world.want(make_pod())
        await world.expect_ready()
        await asyncio.sleep(120)
        assert world.sessions == 1

    simulate(story)


def test_a_frozen_status_of_an_ended_pod_stays() -> None:
    async def story(world: World) -> None:
        pod = make_pod(restartPolicy="Never")
        world.want({**pod, "status": {"phase": "Failed", "reason": "Evicted"}})
        await world.expect(lambda: world.statuses["web-1"] == {"phase": "Failed", "reason": "Evicted"})
        world.want(deleted({**pod, "status": {"phase": "Failed", "reason": "Evicted"}}))
        await world.expect(lambda: "web-1" not in world.statuses)

    world = simulate(story)
    assert world.reasons() == []


def test_the_same_seed_gives_the_same_trace() -> None:
    async def story(world: World) -> None:
        world.want(*(make_pod(f"p{n}", containers=[make_container(readinessProbe=PROBE)]) for n in range(5)))
        await asyncio.sleep(60)

    assert simulate(story).messages == simulate(story).messages


def test_wishes_to_register_again_that_cross_a_registration_are_fulfilled_by_it() -> None:
    """Five of them at once lead to one new session, not to five that make each other stale."""

    async def story(world: World) -> None:
        world.want(make_pod())
        await world.expect_ready()
        before = world.sessions
        for _ in range(5):
            world.tell(wire.RegisterAgain(reason="lagging"))
        await asyncio.sleep(30)
        assert world.sessions == before + 1

    simulate(story)


def test_a_node_that_nobody_tells_of_the_next_controller_manager_finds_it() -> None:
    """The old one's end is seen, the presence of the new one is lost: the node asks by itself."""

    async def story(world: World) -> None:
        world.want(make_pod())
        await world.expect_ready()
        world.link.publish("kubemu/test/control/presence", wire.OFFLINE, retain=True)
        await asyncio.sleep(1)
        world.statuses.clear()
        await world.expect_ready(within_s=6)

    simulate(story)

"""What the kubelet does for a pod, on virtual time: files, hooks, debugging, logs, refusals, evictions."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import structlog
from agents_harness import CLUSTER, NODE, World, make_container, make_pod, simulate

from agents.app import build_node
from agents.behaviour import ANNOTATION, load_library
from agents.settings import Machine
from cluster.api import wire
from cluster.api.objects import Object
from cluster.api.timings import STANDARD

_numbers = count(1)


def config_map(name: str = "conf", *, immutable: bool = False, **data: str) -> Object:
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data, "immutable": immutable}


def shell(script: str, **fields: Any) -> Object:
    return make_container(image="busybox:1.36", command=["sh", "-c", script], **fields)


async def stream(world: World, kind: str, **options: Any) -> str:
    identity = f"t{next(_numbers)}"
    world.tell(
        wire.StreamOpen(
            id=identity, kind=kind, uid="uid-web-1", container="web", options=options, window=1 << 20
        )
    )
    await asyncio.sleep(0.05)
    return identity


def data_of(world: World, identity: str, channel: int = 1) -> bytes:
    found = (m for m in world.messages if isinstance(m, wire.StreamData) and m.id == identity)
    return b"".join(m.data for m in found if m.channel == channel)


def closed(world: World, identity: str) -> bool:
    return any(isinstance(m, wire.StreamClose) and m.id == identity for m in world.messages)


async def run(world: World, script: str) -> str:
    """The output of a command in the pod."""
    identity = await stream(world, "exec", command=["sh", "-c", script], stdout=True, stderr=True)
    await world.expect(lambda: closed(world, identity))
    return (data_of(world, identity) + data_of(world, identity, 2)).decode()


def test_volumes_follow_their_objects() -> None:
    async def story(world: World) -> None:
        items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
        volumes = [
            {"name": "conf", "configMap": {"name": "conf", "defaultMode": 0o400}},
            {"name": "about", "downwardAPI": {"items": items}},
            {"name": "work", "emptyDir": {}},
        ]
        mounts = [
            {"name": "conf", "mountPath": "/etc/conf"},
            {"name": "conf", "mountPath": "/etc/one", "subPath": "colour"},
            {"name": "about", "mountPath": "/etc/about"},
            {"name": "work", "mountPath": "/work"},
        ]
        pod = make_pod(containers=[shell("sleep 1000", volumeMounts=mounts)], volumes=volumes)
        pod["metadata"]["labels"] = {"app": "web"}
        world.want(config_map(colour="blue", shape="round"), pod)
        await world.expect_ready()
        assert await run(world, "cat /etc/conf/colour; stat -L -c %a /etc/conf/colour") == "blue400\n"
        assert await run(world, "cat /etc/about/labels") == 'app="web"'
        assert "Read-only file system" in await run(world, "echo x > /etc/conf/new")
        assert await run(world, "echo kept > /work/f; cat /work/f") == "kept\n"
        world.want(config_map(colour="red"))
        changed = {**pod, "metadata": {**pod["metadata"], "labels": {"app": "db"}}}
        world.want(changed)
        await asyncio.sleep(0.1)
        assert (
            await run(world, "ls /etc/conf; cat /etc/conf/colour /etc/about/labels") == 'colour\nredapp="db"'
        )
        # what was mounted by subPath stays as it was
        assert await run(world, "cat /etc/one") == "blue"

    simulate(story)


def test_a_missing_key_holds_the_pod_back_until_it_is_there() -> None:
    async def story(world: World) -> None:
        source = {"name": "conf", "items": [{"key": "colour", "path": "c"}]}
        pod = make_pod(
            containers=[shell("cat /c/c", volumeMounts=[{"name": "conf", "mountPath": "/c"}])],
            volumes=[{"name": "conf", "configMap": source}],
            restartPolicy="Never",
        )
        world.want(config_map(shape="round"), pod)
        await world.expect(lambda: "FailedMount" in world.reasons())
        assert world.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}
        why = "configmap references non-existent config key: colour"
        assert world.events[-1].message == f'MountVolume.SetUp failed for volume "conf" : {why}'
        world.want(config_map(colour="blue"))
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Succeeded")

    simulate(story)


def test_service_account_tokens_are_asked_for_and_replaced_in_time() -> None:
    async def story(world: World) -> None:
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "vault"}}
        pod = make_pod(
            containers=[shell("cat /t/token; sleep 10000", volumeMounts=[{"name": "t", "mountPath": "/t"}])],
            volumes=[{"name": "t", "projected": {"sources": [source]}}],
        )
        world.want(pod)
        for number, expires in ((1, "00:10:00"), (2, "00:20:00")):
            await world.expect(lambda n=number: len(asked(world)) == n, within_s=600)
            wanted = asked(world)[-1]
            assert (wanted.uid, wanted.audience, wanted.expires_s) == ("uid-web-1", "vault", 600)
            now = world.clock.now()
            stamp = f"{now:%Y-%m-%d}T{expires}Z"
            world.tell(wire.TokenIssued(id=wanted.id, token=f"token-{number}", expires=stamp))
            await world.expect_ready()
            assert await run(world, "cat /t/token") == f"token-{number}"

    def asked(world: World) -> list[wire.TokenWanted]:
        return [m for m in world.messages if isinstance(m, wire.TokenWanted)]

    simulate(story)


def test_a_debugger_is_added_to_a_running_pod_and_counts_for_nothing() -> None:
    async def story(world: World) -> None:
        pod = make_pod()
        world.want(pod)
        await world.expect_ready()
        debugger = {
            "name": "dbg",
            "image": "busybox:1.36",
            "command": ["sh", "-c", "echo hi; sleep 5; exit 9"],
        }
        world.want({**pod, "spec": {**pod["spec"], "ephemeralContainers": [debugger]}})

        def state() -> Object:
            found: Object = world.statuses["web-1"]["ephemeralContainerStatuses"][0]["state"]
            return found

        await world.expect(lambda: "running" in state())
        assert world.condition("Ready")["status"] == "True"
        await world.expect(lambda: state()["terminated"]["exitCode"] == 9)
        assert world.statuses["web-1"]["phase"] == "Running"
        assert any(e.field_path == "spec.ephemeralContainers{dbg}" for e in world.events)

    simulate(story)


def test_logs_that_are_followed_go_on_over_restarts() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(containers=[shell("echo start; sleep 1; exit 1")]))
        await world.expect(lambda: "running" in world.container()["state"])
        identity = await stream(world, "log", follow=True)
        await world.expect(lambda: world.container()["restartCount"] == 2)
        await world.expect(lambda: data_of(world, identity).count(b"start\n") >= 3)
        await world.expect(lambda: world.container()["state"].get("waiting") is not None)
        previous = await stream(world, "log", previous=True)
        await world.expect(lambda: closed(world, previous))
        assert data_of(world, previous) == b"start\n"
        limited = await stream(world, "log", limit_bytes=3)
        await world.expect(lambda: closed(world, limited))
        assert data_of(world, limited) == b"sta"

    simulate(story)


def test_exec_talks_both_ways_and_refuses_what_is_not_there() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(containers=[shell("sleep 1000")]))
        await world.expect_ready()
        identity = await stream(world, "exec", command=["sh"], stdin=True, stdout=True)
        for number, text in enumerate((b"x=1\necho $((x+1))\n", b"exit 3\n")):
            world.tell(wire.StreamData(id=identity, sequence=number, channel=0, data=text))
        await world.expect(lambda: closed(world, identity))
        assert data_of(world, identity) == b"2\n"
        assert json.loads(data_of(world, identity, 3))["reason"] == "NonZeroExitCode"
        missing = await stream(world, "exec", command=["nosuch"], stdout=True)
        await world.expect(lambda: closed(world, missing))
        assert (
            'exec: "nosuch": executable file not found' in json.loads(data_of(world, missing, 3))["message"]
        )

    simulate(story)


def test_a_servers_image_has_the_programs_that_its_pod_counts_on_and_no_others() -> None:
    async def story(world: World) -> None:
        probe = {"exec": {"command": ["pg_isready"]}, "periodSeconds": 1}
        world.want(make_pod(containers=[make_container(image="postgres:17", readinessProbe=probe)]))
        await world.expect_ready()
        known = await stream(world, "exec", command=["pg_isready"], stdout=True)
        await world.expect(lambda: closed(world, known))
        assert json.loads(data_of(world, known, 3))["status"] == "Success"
        missing = await stream(world, "exec", command=["/bin/nosuch"], stdout=True)
        await world.expect(lambda: closed(world, missing))
        refused = json.loads(data_of(world, missing, 3))
        assert refused["reason"] == "InternalError"
        start = "Internal error occurred: error executing command in container: failed to exec in container: "
        assert refused["message"].startswith(start + 'failed to start exec "')
        assert refused["message"].endswith(
            'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory: unknown'
        )

    simulate(story)


def test_a_probe_of_a_program_that_is_not_there_has_no_result() -> None:
    async def story(world: World) -> None:
        probe = {"exec": {"command": ["nosuch"]}, "periodSeconds": 1}
        world.want(make_pod(containers=[shell("sleep 1000", readinessProbe=probe)]))
        await world.expect(lambda: "Unhealthy" in world.reasons())
        said = next(e.message for e in world.events if e.reason == "Unhealthy")
        assert said.startswith(
            "Readiness probe errored and resulted in unknown state: rpc error: code = Unknown"
        )
        assert 'exec: "nosuch": executable file not found in $PATH: unknown' in said
        assert not world.container()["ready"]

    simulate(story)


def test_the_termination_message_is_in_the_status() -> None:
    async def story(world: World) -> None:
        container = shell("echo -n DONE > /tmp/words; exit 2", terminationMessagePath="/tmp/words")
        world.want(make_pod(containers=[container], restartPolicy="Never"))
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
        terminated = world.container()["state"]["terminated"]
        assert (terminated["exitCode"], terminated["message"]) == (2, "DONE")

    simulate(story)


def test_a_failed_post_start_hook_ends_the_container() -> None:
    async def story(world: World) -> None:
        hook = {"postStart": {"exec": {"command": ["false"]}}}
        world.want(make_pod(containers=[make_container(lifecycle=hook)]))
        await world.expect(lambda: world.container()["restartCount"] == 1)
        said = [(e.reason, e.message) for e in world.events]
        assert ("FailedPostStartHook", "PostStartHook failed") in said
        assert ("Killing", "FailedPostStartHook") in said

    simulate(story)


def test_unsafe_sysctls_are_refused() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}))
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
        assert world.statuses["web-1"]["reason"] == "SysctlForbidden"
        assert world.reasons() == ["SysctlForbidden"]

    simulate(story)


def test_root_is_refused_where_it_must_not_be() -> None:
    async def story(world: World) -> None:
        world.want(make_pod(securityContext={"runAsNonRoot": True, "runAsUser": 0}))
        await world.expect(lambda: "waiting" in world.container()["state"])
        await world.expect(
            lambda: world.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        )
        assert "runAsUser breaks non-root policy" in world.container()["state"]["waiting"]["message"]

    simulate(story)


def test_memory_pressure_evicts_who_uses_more_than_it_asked_for() -> None:
    async def story(world: World) -> None:
        gib = 1 << 30
        greedy = {ANNOTATION: json.dumps({"*": {"memory_bytes": 6 * gib}})}
        modest = {ANNOTATION: json.dumps({"*": {"memory_bytes": 2 * gib}})}
        resources = {"requests": {"memory": "3Gi"}}
        world.want(
            make_pod("greedy", annotations=greedy),
            make_pod("modest", annotations=modest, containers=[make_container(resources=resources)]),
        )
        await world.expect(lambda: world.statuses["greedy"]["phase"] == "Failed")
        status = world.statuses["greedy"]
        assert status["reason"] == "Evicted"
        assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi")
        assert world.statuses["modest"]["phase"] == "Running"
        await world.expect(lambda: pressure(world) == "True")

    def pressure(world: World) -> str:
        last = [m for m in world.messages if isinstance(m, wire.Heartbeat)][-1]
        return next(c["status"] for c in last.conditions if c["type"] == "MemoryPressure")

    simulate(story)


def test_host_files_tell_the_pod_and_its_aliases() -> None:
    async def story(world: World) -> None:
        aliases = [{"ip": "10.1.2.3", "hostnames": ["db", "db.local"]}]
        world.want(make_pod(containers=[shell("sleep 1000")], hostAliases=aliases))
        await world.expect_ready()
        text = await run(world, "cat /etc/hosts; hostname")
        assert "10.1.2.3\tdb\tdb.local\n" in text
        assert f"{world.statuses['web-1']['podIP']}\tweb-1\n" in text
        assert text.endswith("\nweb-1\n")

    simulate(story)


def test_a_node_that_is_told_to_stop_ends_its_pods_first() -> None:
    async def story(world: World) -> None:
        await world.kill_node()
        world.node = build_node(
            NODE,
            cluster=CLUSTER,
            transport=world.broker.link(NODE),
            network=world.network,
            library=load_library(),
            machine=Machine(shutdown_grace_s=5),
            timings=STANDARD,
            clock=world.clock,
            chance=world.chance,
            log=structlog.get_logger(),
        )
        await world.node.start()
        world.want(make_pod())
        await world.expect_ready()
        await world.node.stop()
        await asyncio.sleep(0.5)
        status = world.statuses["web-1"]
        assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
        assert status["message"] == "Pod was terminated in response to imminent node shutdown."

    simulate(story)

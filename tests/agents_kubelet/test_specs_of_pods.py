"""What conformance asks of a node for pods, on virtual time; tests/services has such promises with commands that
really run.
"""

from __future__ import annotations

import base64

import pytest
from agents_harness import World, deleted, make_container, make_pod, simulate
from test_kubelet_pods import closed, config_map, data_of, run, shell, stream

from cluster.api.objects import Object

NETEXEC = ["netexec", "--http-port=8080"]
LOOK = "sleep 100000"


def secret(name: str = "keys", namespace: str = "default", **data: str) -> Object:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    values = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": values}


def phase(world: World, pod: str = "web-1") -> str:
    return str(world.statuses[pod]["phase"])


@pytest.mark.parametrize("scheme", ["HTTP", "HTTPS"])
@pytest.mark.parametrize("path", ["echo?msg=x", "/nothing-there"])
@pytest.mark.parametrize("when", ["postStart", "preStop"])
def test_hooks_ask_over_http(when: str, path: str, scheme: str) -> None:
    """After the start and before the end; any answer will do."""

    async def story(world: World) -> None:
        world.want(make_pod(containers=[make_container(image="agnhost:2.53", args=NETEXEC)]))
        await world.expect_ready()
        action = {"path": path, "scheme": scheme, "port": 8080, "host": world.statuses["web-1"]["podIP"]}
        pod = make_pod("hooked", containers=[make_container(lifecycle={when: {"httpGet": action}})])
        world.want(pod)
        await world.expect_ready("hooked")
        if when == "preStop":
            world.want(deleted(pod))
            await world.expect(lambda: "hooked" not in world.statuses)
        assert not [r for r in world.reasons("uid-hooked") if r.endswith("Hook")]
        log = await stream(world, "log")
        await world.expect(lambda: closed(world, log))
        assert (b"GET /echo?msg=x" in data_of(world, log)) == path.startswith("echo")

    simulate(story)


@pytest.mark.parametrize("when", ["postStart", "preStop"])
def test_hooks_that_nobody_answers_have_failed(when: str) -> None:
    async def story(world: World) -> None:
        action = {"httpGet": {"port": 8081}}
        pod = make_pod(containers=[make_container(lifecycle={when: action})])
        world.want(pod)
        if when == "preStop":
            await world.expect_ready()
            world.want(deleted(pod))
        await world.expect(lambda: f"Failed{when[0].upper()}{when[1:]}Hook" in world.reasons())

    simulate(story)


def test_the_hosts_file_is_managed_unless_something_else_is_mounted_there() -> None:
    """A pod's own, the node's file mounted over it, and a pod on the host's network."""

    async def story(world: World) -> None:
        volumes = [{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}]
        original = [{"name": "hosts", "mountPath": "/etc/hosts-original"}]
        managed = "# Kubernetes-managed hosts file."
        world.want(make_pod(containers=[shell(LOOK, volumeMounts=original)], volumes=volumes))
        await world.expect_ready()
        assert managed in await run(world, "cat /etc/hosts")
        machines = await run(world, "cat /etc/hosts-original")
        assert managed not in machines

    async def mounted_over(world: World) -> None:
        volumes = [{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}]
        mounts = [{"name": "hosts", "mountPath": "/etc/hosts"}]
        world.want(make_pod(containers=[shell(LOOK, volumeMounts=mounts)], volumes=volumes))
        await world.expect_ready()
        assert "Kubernetes-managed" not in await run(world, "cat /etc/hosts")

    async def on_the_host(world: World) -> None:
        world.want(make_pod(containers=[shell(LOOK)], hostNetwork=True))
        await world.expect_ready()
        assert "# Kubernetes-managed hosts file." not in await run(world, "cat /etc/hosts")

    for each in (story, mounted_over, on_the_host):
        simulate(each)


def test_init_containers_that_fail_hold_a_pod_back_that_restarts() -> None:
    """However often the first is tried again, neither the second nor the pod's containers begin."""

    async def story(world: World) -> None:
        init = [shell("exit 1") | {"name": "init1"}, shell("true") | {"name": "init2"}]
        world.want(make_pod(initContainers=init))
        await world.expect(lambda: world.container(name="init1")["restartCount"] >= 3, within_s=300)
        assert world.container(name="init2")["state"] == {"waiting": {"reason": "PodInitializing"}}
        assert world.container()["state"] == {"waiting": {"reason": "PodInitializing"}}
        assert phase(world) == "Pending"
        assert world.condition("Initialized")["message"] == "containers with incomplete status: [init1 init2]"

    simulate(story)


def test_a_pod_whose_command_always_fails_says_why_and_can_be_deleted() -> None:
    async def story(world: World) -> None:
        pod = make_pod(containers=[shell("exit 1")])
        world.want(pod)
        await world.expect(lambda: "terminated" in world.container()["lastState"])
        assert world.container()["lastState"]["terminated"]["reason"] == "Error"
        world.want(deleted(pod, 0))
        await world.expect(lambda: "web-1" not in world.statuses)

    simulate(story)


def test_a_pod_is_not_ready_before_the_initial_delay() -> None:
    """Thirty seconds of it; a server that is well is not restarted meanwhile."""

    async def story(world: World) -> None:
        probe = {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 30, "periodSeconds": 1}
        world.want(make_pod(containers=[make_container(readinessProbe=probe)]))
        started = await world.expect(lambda: "running" in world.container()["state"])
        assert await world.expect_ready() - started >= 29
        assert world.container()["restartCount"] == 0

    simulate(story)


@pytest.mark.parametrize(
    ("probe", "restarted"),
    [
        pytest.param({"httpGet": {"path": "/healthz", "port": 8080}}, True, id="http"),
        pytest.param({"tcpSocket": {"port": 8080}}, False, id="tcp"),
    ],
)
def test_a_server_that_turns_unwell(probe: Object, restarted: bool) -> None:
    """Over HTTP it is restarted again and again; while it takes connections, TCP finds nothing wrong."""

    async def story(world: World) -> None:
        liveness = {**probe, "initialDelaySeconds": 5, "failureThreshold": 1}
        container = make_container(image="agnhost:2.53", args=["liveness"], livenessProbe=liveness)
        world.want(make_pod(containers=[container]))
        await world.expect_ready()
        if not restarted:
            await world.expect(lambda: world.clock.monotonic() > 240, within_s=300)
            assert world.container()["restartCount"] == 0
            return
        for count in range(1, 6):
            await world.expect(lambda count=count: world.container()["restartCount"] >= count, within_s=600)
        counts = [
            status["containerStatuses"][0]["restartCount"]
            for _, _, status in world.history
            if status and status.get("containerStatuses")
        ]
        assert counts == sorted(counts)

    simulate(story)


@pytest.mark.parametrize(
    ("policy", "wanted", "restarts"),
    [("Always", "Running", 2), ("OnFailure", "Succeeded", 1), ("Never", "Failed", 0)],
)
def test_the_restart_policy_decides_what_an_exit_leads_to(policy: str, wanted: str, restarts: int) -> None:
    """Restarts and phase, for each policy."""

    async def story(world: World) -> None:
        script = f"echo x >> /w/log; n=$(wc -l < /w/log); test $n -gt {restarts or 1} || exit 1; "
        script += "sleep 100000" if policy == "Always" else "exit 0"
        container = shell(script, volumeMounts=[{"name": "w", "mountPath": "/w"}])
        volumes = [{"name": "w", "emptyDir": {}}]
        world.want(make_pod(containers=[container], volumes=volumes, restartPolicy=policy))
        await world.expect(
            lambda: phase(world) == wanted and world.container()["restartCount"] == restarts, within_s=300
        )

    simulate(story)


@pytest.mark.parametrize(
    ("script", "fields", "message"),
    [
        pytest.param("printf OK > /dev/termination-log", {}, "OK", id="from file, having succeeded"),
        pytest.param("echo DONE", {}, None, id="none where it succeeded"),
        pytest.param("printf DONE; exit 1", {}, "DONE", id="from log output"),
        pytest.param(
            "printf DONE > /dev/elsewhere",
            {
                "terminationMessagePath": "/dev/elsewhere",
                "securityContext": {"runAsUser": 1000},
            },
            "DONE",
            id="as non-root user and at a non-default path",
        ),
    ],
)
def test_what_a_container_leaves_as_its_message(script: str, fields: Object, message: str | None) -> None:
    async def story(world: World) -> None:
        container = shell(script, terminationMessagePolicy="FallbackToLogsOnError", **fields)
        world.want(make_pod(containers=[container], restartPolicy="Never"))
        await world.expect(lambda: "terminated" in world.container()["state"])
        assert world.container()["state"]["terminated"].get("message") == message

    simulate(story)


def test_users_and_groups_of_pods_and_containers() -> None:
    """The container's own user and group come before the pod's."""

    async def story(world: World) -> None:
        own = {"runAsUser": 1001, "runAsGroup": 2002}
        look = "test $(id -u) = 1001 && test $(id -g) = 2002"
        outer = make_pod("outer", containers=[shell(look)], securityContext=own, restartPolicy="Never")
        inner = make_pod(
            "inner",
            containers=[shell(look, securityContext=own)],
            securityContext={"runAsUser": 65534},
            restartPolicy="Never",
        )
        nobody = shell("test $(id -u) = 65534", securityContext={"runAsUser": 65534})
        world.want(outer, inner, make_pod("nobody", containers=[nobody], restartPolicy="Never"))
        for name in ("outer", "inner", "nobody"):
            await world.expect(lambda name=name: phase(world, name) == "Succeeded")

    simulate(story)


def test_whole_objects_become_variables() -> None:
    """With and without a prefix."""

    async def story(world: World) -> None:
        sources = [
            {"secretRef": {"name": "keys"}},
            {"prefix": "p-", "secretRef": {"name": "keys"}},
            {"prefix": "p_", "configMapRef": {"name": "conf"}},
        ]
        container = shell(LOOK, envFrom=sources)
        world.want(secret(data_1="hidden"), config_map(word="plain"), make_pod(containers=[container]))
        await world.expect_ready()
        assert (
            await run(world, "echo $data_1 $p_word; env | grep p-data_1") == "hidden plain\np-data_1=hidden\n"
        )

    simulate(story)


def test_two_debuggers_run_one_after_the_other_was_added() -> None:
    async def story(world: World) -> None:
        pod = make_pod()
        world.want(pod)
        await world.expect_ready()
        added: list[Object] = []
        for name in ("first", "second"):
            added = [*added, shell(LOOK) | {"name": name}]
            world.want({**pod, "spec": {**pod["spec"], "ephemeralContainers": added}})
            await world.expect(
                lambda wanted=[c["name"] for c in added]: (
                    [
                        status["name"]
                        for status in world.statuses["web-1"]["ephemeralContainerStatuses"]
                        if "running" in status["state"]
                    ]
                    == wanted
                )
            )

    simulate(story)

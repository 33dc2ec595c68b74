"""What sig-node's and sig-storage's conformance specs ask of a node, on virtual time.

Each test names its specs; the same promises with commands that really run are in tests/services.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agents_harness import World, deleted, make_container, make_pod, simulate
from test_kubelet_pods import config_map, run, shell

from cluster.api.objects import Object

NETEXEC = ["netexec", "--http-port=8080"]
LOOK = "sleep 100000"


def secret(name: str = "keys", namespace: str = "default", **data: str) -> Object:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    values = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": values}


def agnhost(*args: str, **fields: Any) -> Object:
    return make_container("c", image="agnhost:2.53", args=list(args), **fields)


def mounted(script: str, *volumes: Object, **mount: Any) -> Object:
    """A pod that looks into volumes, each mounted at its name."""
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}", **mount} for v in volumes]
    return make_pod(containers=[shell(script, volumeMounts=mounts)], volumes=list(volumes))


def phase(world: World, pod: str = "web-1") -> str:
    return str(world.statuses[pod]["phase"])


@pytest.mark.parametrize("when", ["postStart", "preStop"])
def test_hooks_ask_over_http(when: str) -> None:
    """Container Lifecycle Hook: should execute poststart http hook, prestop http hook properly; PreStop should
    call prestop when killing a pod."""

    async def story(world: World) -> None:
        world.want(make_pod("server", containers=[agnhost(*NETEXEC)]))
        await world.expect_ready("server")
        action = {"path": f"/echo?msg={when}", "port": 8080, "host": world.statuses["server"]["podIP"]}
        pod = make_pod(containers=[make_container(lifecycle={when: {"httpGet": action}})])
        world.want(pod)
        await world.expect_ready()
        if when == "preStop":
            world.want(deleted(pod))
            await world.expect(lambda: "web-1" not in world.statuses)
        assert not [r for r in world.reasons() if r.endswith("Hook")]

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


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("/tmp", "error SubPath `/tmp` must not be an absolute path", id="absolute"),
        pytest.param("..", "unable to provision SubPath `..`: must not contain '..'", id="backsteps"),
        pytest.param("", "missing value for PART", id="empty"),
    ],
)
def test_expressions_that_lead_out_of_the_volume_are_refused(value: str, why: str) -> None:
    """Variable Expansion should fail substituting values in a volume subpath with absolute path, with
    backticks."""

    async def story(world: World) -> None:
        mounts = [{"name": "w", "mountPath": "/w", "subPathExpr": "$(PART)"}]
        container = shell(LOOK, env=[{"name": "PART", "value": value}], volumeMounts=mounts)
        world.want(make_pod(containers=[container], volumes=[{"name": "w", "emptyDir": {}}]))
        await world.expect(lambda: "reason" in world.container()["state"]["waiting"])
        await world.expect(
            lambda: world.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        )
        assert world.container()["state"]["waiting"]["message"] == why
        assert phase(world) == "Pending"

    simulate(story)


def test_an_expression_that_failed_can_be_made_good_and_written_to() -> None:
    """Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of
    a container; should succeed in writing subpaths in container."""

    async def story(world: World) -> None:
        source = {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}
        mounts = [
            {"name": "w", "mountPath": "/part", "subPathExpr": "$(ANNOTATION)/$(POD_NAME)"},
            {"name": "w", "mountPath": "/all"},
        ]
        env = [{"name": "POD_NAME", "value": "foo"}, {"name": "ANNOTATION", "valueFrom": source}]
        pod = make_pod(
            containers=[shell(LOOK, env=env, volumeMounts=mounts)], volumes=[{"name": "w", "emptyDir": {}}]
        )
        world.want(pod)
        await world.expect(
            lambda: world.container()["state"]["waiting"]["message"] == "missing value for ANNOTATION"
        )
        annotated = {**pod, "metadata": {**pod["metadata"], "annotations": {"mysubpath": "mypath"}}}
        world.want(annotated)
        await world.expect_ready(within_s=120)
        assert await run(world, "echo kept > /part/test.log; cat /all/mypath/foo/test.log") == "kept\n"
        gone = {**annotated, "metadata": {**annotated["metadata"], "annotations": {"mysubpath": "newpath"}}}
        world.want(gone)
        assert await run(world, "ls /all") == "mypath\n"
        world.want(deleted(gone, 0))
        await world.expect(lambda: "web-1" not in world.statuses)

    simulate(story)


def test_the_hosts_file_is_managed_unless_something_else_is_mounted_there() -> None:
    """KubeletManagedEtcHosts should test kubelet managed /etc/hosts file."""

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


PROJECTED = {"projected": {"sources": [{"configMap": {"name": "conf", "optional": True}}]}}
PROJECTED_SECRET = {"projected": {"sources": [{"secret": {"name": "conf", "optional": True}}]}}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param({"configMap": {"name": "conf", "optional": True}}, config_map, id="configMap"),
        pytest.param({"secret": {"secretName": "conf", "optional": True}}, secret, id="secret"),
        pytest.param(PROJECTED, config_map, id="projected-configMap"),
        pytest.param(PROJECTED_SECRET, secret, id="projected-secret"),
    ],
)
def test_optional_objects_come_change_and_go(source: Object, kind: Any) -> None:
    """ConfigMap, Secrets, Projected configMap, Projected secret: optional updates, and updates, should be
    reflected in volume."""

    async def story(world: World) -> None:
        world.want(mounted(LOOK, {"name": "v", **source}))
        await world.expect_ready()
        assert await run(world, "ls /v") == ""
        for value in ("value-1", "value-2"):
            world.want(kind("conf", data=value))
            assert await run(world, "sleep 1; cat /v/data") == value
        world.unwant(kind("conf", data="value-2"))
        assert await run(world, "sleep 1; ls /v") == ""

    simulate(story)


def test_modes_and_paths_of_projected_volumes() -> None:
    """Projected configMap, secret, downwardAPI: with defaultMode set, with mappings, with mappings and Item
    mode set; Projected combined."""

    async def story(world: World) -> None:
        item = [{"key": "data", "path": "path/to/one", "mode": 0o440}]
        name = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
        sources = [
            {"configMap": {"name": "conf", "items": item}},
            {"secret": {"name": "keys"}},
            {"downwardAPI": {"items": [name, {**name, "path": "named", "mode": 0o404}]}},
        ]
        volume = {"name": "v", "projected": {"defaultMode": 0o400, "sources": sources}}
        world.want(config_map(data="plain"), secret(data="hidden"), mounted(LOOK, volume))
        await world.expect_ready()
        found = await run(
            world, "for f in path/to/one data name named; do cat /v/$f; stat -L -c ' %a' /v/$f; done"
        )
        assert found == "plain 440\nhidden 400\nweb-1 400\nweb-1 404\n"

    simulate(story)


def test_a_projected_downward_volume_follows_the_pod() -> None:
    """Projected downwardAPI should update labels, annotations on modification; node allocatable as default
    limits."""

    async def story(world: World) -> None:
        items: list[Object] = [
            {"path": what, "fieldRef": {"fieldPath": f"metadata.{what}"}}
            for what in ("labels", "annotations")
        ]
        for resource in ("limits.cpu", "limits.memory"):
            reference = {"containerName": "web", "resource": resource}
            items.append({"path": resource, "resourceFieldRef": reference})
        volume = {"name": "v", "projected": {"sources": [{"downwardAPI": {"items": items}}]}}
        pod = mounted(LOOK, volume)
        pod["metadata"] |= {"labels": {"l": "1"}, "annotations": {"a": "1"}}
        world.want(pod)
        await world.expect_ready()
        assert await run(world, "cat /v/labels; echo; cat /v/annotations") == 'l="1"\na="1"'
        world.want({**pod, "metadata": {**pod["metadata"], "labels": {"l": "2"}, "annotations": {"a": "2"}}})
        assert await run(world, "sleep 1; cat /v/labels; echo; cat /v/annotations") == 'l="2"\na="2"'
        cpu, memory = (await run(world, "cat /v/limits.cpu; echo; cat /v/limits.memory")).split()
        assert int(cpu) >= 1
        assert int(memory) >= 1 << 30

    simulate(story)


def test_a_secret_of_the_same_name_elsewhere_is_another_one() -> None:
    """Secrets should be able to mount in a volume regardless of a different secret existing with same name in
    different namespace."""

    async def story(world: World) -> None:
        await world.expect(lambda: world.sessions > 0)
        world.want(secret(data="ours"))
        world.want(secret(namespace="other", data="theirs"))
        world.want(mounted(LOOK, {"name": "v", "secret": {"secretName": "keys"}}))
        await world.expect_ready()
        assert await run(world, "cat /v/data") == "ours"

    simulate(story)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"configMap": {"name": "conf"}}, id="configmap"),
        pytest.param({"secret": {"secretName": "keys"}}, id="secret"),
        pytest.param({"projected": {"sources": [{"configMap": {"name": "conf"}}]}}, id="projected"),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "data", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            id="downward",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/etc/part", "/etc/passwd"])
def test_one_file_of_a_volume_is_mounted(source: Object, path: str) -> None:
    """Subpath Atomic writer volumes should support subpaths with configmap, secret, projected, downward pod,
    and with mountPath of existing file."""

    async def story(world: World) -> None:
        mounts = [{"name": "v", "mountPath": path, "subPath": "data"}]
        pod = make_pod(containers=[shell(LOOK, volumeMounts=mounts)], volumes=[{"name": "v", **source}])
        world.want(config_map(data="web-1"), secret(data="web-1"), pod)
        await world.expect_ready()
        assert await run(world, f"cat {path}") == "web-1"

    simulate(story)


def test_many_volumes_in_many_pods() -> None:
    """EmptyDir wrapper volumes should not conflict; should not cause race condition when used for configmaps."""

    async def story(world: World) -> None:
        maps = [config_map(f"conf-{n}", data=f"value-{n}") for n in range(50)]
        volumes = [{"name": f"v{n}", "configMap": {"name": f"conf-{n}"}} for n in range(50)]
        volumes.append({"name": "keys", "secret": {"secretName": "keys"}})
        names = ["web-1", *(f"web-{n}" for n in range(2, 6))]
        pods = []
        for name in names:
            pod = mounted("cat /v7/data /v49/data /keys/data; sleep 100000", *volumes)
            pod["metadata"] |= {"name": name, "uid": f"uid-{name}"}
            pods.append(pod)
        world.want(*maps, secret(data="hidden"), *pods)
        for name in names:
            await world.expect_ready(name)
        assert await run(world, "cat /v7/data /v49/data /keys/data") == "value-7value-49hidden"
        assert "FailedMount" not in [event.reason for event in world.events]

    simulate(story)


def test_init_containers_that_fail_hold_a_pod_back_that_restarts() -> None:
    """InitContainer should not start app containers if init containers fail on a RestartAlways pod."""

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
    """Kubelet when scheduling a busybox command that always fails: an terminated reason; possible to delete."""

    async def story(world: World) -> None:
        pod = make_pod(containers=[shell("exit 1")])
        world.want(pod)
        await world.expect(lambda: "terminated" in world.container()["lastState"])
        assert world.container()["lastState"]["terminated"]["reason"] == "Error"
        world.want(deleted(pod, 0))
        await world.expect(lambda: "web-1" not in world.statuses)

    simulate(story)


def test_a_pod_is_not_ready_before_the_initial_delay() -> None:
    """Probing container with readiness probe should not be ready before initial delay and never restart."""

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
    """Probing container should be restarted with a /healthz http liveness probe, not with a tcp:8080 one;
    should have monotonically increasing restart count."""

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
    """Container Runtime: when starting a container that exits should run with the expected status."""

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

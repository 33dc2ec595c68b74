"""What conformance asks of a node for volumes, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from agents_harness import World, deleted, make_container, make_pod, simulate
from test_kubelet_pods import closed, config_map, data_of, run, shell, stream
from test_specs_of_pods import LOOK, phase, secret

from cluster.api.objects import Object


def mounted(script: str, *volumes: Object, **mount: Any) -> Object:
    """A pod that looks into volumes, each mounted at its name."""
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}", **mount} for v in volumes]
    return make_pod(containers=[shell(script, volumeMounts=mounts)], volumes=list(volumes))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("/tmp", "error SubPath `/tmp` must not be an absolute path", id="absolute"),
        pytest.param("..", "unable to provision SubPath `..`: must not contain '..'", id="backsteps"),
        pytest.param("", "missing value for PART", id="empty"),
    ],
)
def test_expressions_that_lead_out_of_the_volume_are_refused(value: str, why: str) -> None:
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
    """By an annotation that comes later; one that changes afterwards moves nothing."""

    async def story(world: World) -> None:
        source = {"fieldRef": {"fieldPath": "metadata.annotations['part']"}}
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
        annotated = {**pod, "metadata": {**pod["metadata"], "annotations": {"part": "first"}}}
        world.want(annotated)
        await world.expect_ready(within_s=120)
        assert await run(world, "echo kept > /part/f; cat /all/first/foo/f") == "kept\n"
        gone = {**annotated, "metadata": {**annotated["metadata"], "annotations": {"part": "second"}}}
        world.want(gone)
        assert await run(world, "ls /all") == "first\n"
        world.want(deleted(gone, 0))
        await world.expect(lambda: "web-1" not in world.statuses)

    simulate(story)


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
    """The volume's mode, an item's own, and items at paths of their own, from three sources."""

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
    """What is not limited shows what the node has."""

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
    """At a path of its own, and over a file of the image."""

    async def story(world: World) -> None:
        mounts = [{"name": "v", "mountPath": path, "subPath": "data"}]
        pod = make_pod(containers=[shell(LOOK, volumeMounts=mounts)], volumes=[{"name": "v", **source}])
        world.want(config_map(data="web-1"), secret(data="web-1"), pod)
        await world.expect_ready()
        assert await run(world, f"cat {path}") == "web-1"

    simulate(story)


@pytest.mark.parametrize("medium", ["", "Memory"])
@pytest.mark.parametrize("user", [0, 1001])
@pytest.mark.parametrize(
    ("mode", "shown"), [("0644", "rw-r--r--"), ("0666", "rw-rw-rw-"), ("0777", "rwxrwxrwx")]
)
def test_empty_directories(medium: str, user: int, mode: str, shown: str) -> None:
    """Anybody may write, whatever the medium; a file has the mode that it was made with."""

    async def story(world: World) -> None:
        args = ["mounttest", "--fs_type=/data", "--file_mode=/data"]
        args += [f"--{flag}=/data/f" for flag in (f"new_file_{mode}", "file_perm")]
        container = make_container(
            image="agnhost:2.53",
            args=args,
            securityContext={"runAsUser": user},
            volumeMounts=[{"name": "v", "mountPath": "/data"}],
        )
        volumes = [{"name": "v", "emptyDir": {"medium": medium} if medium else {}}]
        world.want(make_pod(containers=[container], volumes=volumes, restartPolicy="Never"))
        await world.expect(lambda: phase(world) == "Succeeded")
        log = await stream(world, "log")
        await world.expect(lambda: closed(world, log))
        said = data_of(world, log).decode()
        assert ('mount type of "/data": tmpfs' in said) == bool(medium)
        assert 'mode of file "/data": drwxrwxrwx' in said or "dtrwxrwxrwx" in said
        assert f'perms of file "/data/f": -{shown}' in said
        assert 'content of file "/data/f": mount-tester new file' in said

    simulate(story)


def test_many_volumes_in_many_pods() -> None:
    """Five pods with fifty ConfigMaps and a Secret each, all at once."""

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

"""Whose a volume's files are, and what may be at a hostPath."""

from __future__ import annotations

from typing import Any

import pytest
from agents_harness import World, make_container, make_pod, simulate

from cluster.api.objects import Object


def config_map(**data: str) -> Object:
    meta = {"name": "conf", "namespace": "default", "uid": "uid-conf"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def checking(script: str, volume: Object, **spec: Any) -> Object:
    container = make_container(
        image="busybox", command=["sh", "-c", script], volumeMounts=[{"name": "v", "mountPath": "/v"}]
    )
    return make_pod(containers=[container], volumes=[{"name": "v", **volume}], restartPolicy="Never", **spec)


@pytest.mark.parametrize(
    ("volume", "path", "expected"),
    [
        ({"configMap": {"name": "conf"}}, "/v/colour", "644 0 2000"),
        ({"configMap": {"name": "conf", "defaultMode": 0o400}}, "/v/colour", "440 0 2000"),
        ({"emptyDir": {}}, "/v", "2777 0 2000"),
        ({"persistentVolumeClaim": {"claimName": "data"}}, "/v", "2777 0 2000"),
    ],
    ids=["default mode", "mode of its own", "emptyDir", "claim"],
)
def test_volumes_belong_to_the_pods_group(volume: Object, path: str, expected: str) -> None:
    async def story(world: World) -> None:
        script = f'test "$(stat -L -c "%a %u %g" {path})" = "{expected}" || {{ stat -L -c "%a %u %g" {path}; exit 1; }}'
        world.want(config_map(colour="blue"), checking(script, volume, securityContext={"fsGroup": 2000}))
        await world.expect(lambda: world.statuses["web-1"]["phase"] in ("Succeeded", "Failed"))
        assert world.statuses["web-1"]["phase"] == "Succeeded"

    simulate(story)


@pytest.mark.parametrize(
    ("path", "type", "problem"),
    [
        ("/var/log", "Directory", ""),
        ("/nowhere", "", ""),
        ("/made", "DirectoryOrCreate", ""),
        ("/made-file", "FileOrCreate", ""),
        ("/nowhere", "Directory", "/nowhere is not a directory"),
        ("/var/log", "File", "/var/log is not a file"),
        ("/var/log", "Socket", "/var/log is not a socket file"),
        ("/var/log", "CharDevice", "/var/log is not a character device"),
        ("/var/log", "BlockDevice", "/var/log is not a block device"),
    ],
)
def test_host_paths_are_what_their_type_says(path: str, type: str, problem: str) -> None:
    async def story(world: World) -> None:
        script = "test -e /v" if type != "FileOrCreate" else "test -f /v && echo x > /v"
        world.want(checking(script, {"hostPath": {"path": path, "type": type}}))
        if not problem:
            await world.expect(lambda: world.statuses["web-1"]["phase"] == "Succeeded")
            return
        await world.expect(lambda: "FailedMount" in world.reasons())
        why = f"hostPath type check failed: {problem}"
        assert world.events[-1].message == f'MountVolume.SetUp failed for volume "v" : {why}'

    simulate(story)

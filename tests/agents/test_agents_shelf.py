"""Persistent volumes: kept by their name, shared by nodes, found again by the next agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents_harness import World, deleted, make_container, make_pod, simulate

from agents.disk import MemoryDisk
from agents.shelf import SYNC_S, Shelf
from broker.virtualtime import run_virtual
from cluster.api.objects import Object


def test_a_volume_is_found_again_by_the_next_agent_of_the_machine(tmp_path: Path) -> None:
    async def main() -> None:
        first = MemoryDisk(Shelf(tmp_path))
        files = first.persistent("pv-1", "uid-1")
        files.make_directory("/data/deep", parents=True)
        files.write("/data/deep/file", b"kept", mode=0o600)
        files.link("deep/file", "/data/link")
        first.discard("uid-1")
        again = MemoryDisk(Shelf(tmp_path)).persistent("pv-1", "uid-2")
        assert again.read("/data/link") == b"kept"
        assert again.stat("/data/deep/file").mode == 0o600

    run_virtual(main())


def test_two_agents_see_each_others_changes(tmp_path: Path) -> None:
    async def main() -> None:
        shelves = Shelf(tmp_path), Shelf(tmp_path)
        one, two = (MemoryDisk(shelf).persistent("pv", "uid") for shelf in shelves)
        one.write("/a", b"1")
        two.write("/b", b"2")
        await asyncio.sleep(2.5 * SYNC_S)
        assert (one.read("/b"), two.read("/a")) == (b"2", b"1")
        one.remove("/b")
        two.write("/a", b"3")
        await asyncio.sleep(2.5 * SYNC_S)
        assert (two.names("/"), one.read("/a")) == (["a"], b"3")
        for shelf in shelves:
            shelf.close()

    run_virtual(main())


def test_a_claim_without_its_volume_holds_the_pod_back() -> None:
    def claim(**spec: str) -> Object:
        meta = {"name": "data", "namespace": "default", "uid": "uid-data"}
        return {"kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}

    async def story(world: World) -> None:
        pod = make_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
        world.want(claim(), pod)
        await world.expect(lambda: "FailedMount" in world.reasons())
        why = "error processing PVC default/data: PVC is not bound"
        lists = "unmounted volumes=[d], unattached volumes=[], failed to process volumes=[d]"
        assert world.events[-1].message == f"Unable to attach or mount volumes: {lists}: {why}"
        world.want(claim(volumeName="pv-1"))
        await world.expect_ready()

    simulate(story)


def test_what_a_pod_wrote_is_there_for_its_successor_and_not_for_another_volume() -> None:
    def claim(volume: str) -> Object:
        meta = {"name": "data", "namespace": "default", "uid": f"uid-{volume}"}
        return {"kind": "PersistentVolumeClaim", "metadata": meta, "spec": {"volumeName": volume}}

    def pod(name: str, script: str) -> Object:
        mounts = [{"name": "d", "mountPath": "/d"}]
        command = ["sh", "-c", script]
        return make_pod(
            name,
            containers=[make_container(image="busybox", command=command, volumeMounts=mounts)],
            volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
            restartPolicy="Never",
        )

    async def story(world: World) -> None:
        async def phase_of(name: str, script: str) -> str:
            world.want(pod(name, script))
            await world.expect(lambda: world.statuses[name]["phase"] in ("Succeeded", "Failed"))
            phase: str = world.statuses[name]["phase"]
            world.want(deleted(pod(name, script), 0))
            await world.expect(lambda: name not in world.statuses)
            return phase

        world.want(claim("pv-1"))
        assert await phase_of("writer", "echo kept > /d/file") == "Succeeded"
        assert await phase_of("reader", "grep kept /d/file") == "Succeeded"
        world.want(claim("pv-2"))
        assert await phase_of("other", "test ! -e /d/file") == "Succeeded"

    simulate(story)

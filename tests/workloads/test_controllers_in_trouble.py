"""Each controller over many seeds while writes fail, answers are lost, caches are stale and pods are killed.

During the trouble each invariant holds at every change; afterwards everything converges, and nothing is
written any more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate
from staged_nodes import add_nodes, claim, pod, storage_class
from storms import Storm, at_every_change
from workload_kinds import DAEMON_SET, JOB, STATEFUL_SET

from cluster.api import kinds
from cluster.api.objects import Object, condition_of, controller_of
from cluster.reconcile.pods import is_active, is_ready
from cluster.scheduler.configuration import DEFAULT

SEEDS = range(4)
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_jobs_completions_are_counted_once(seed: int) -> None:
    """Pods fail at random; as many successes as asked for, each counted once, never too many at a time."""
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        chance = storm.chance.fork("ends")
        cluster.finish = lambda made: {"phase": "Succeeded" if chance.below(3) else "Failed"}
        ended: dict[str, str] = {}

        def check(pods: list[Object]) -> None:
            for each in pods:
                phase = each.get("status", {}).get("phase")
                if phase in ("Succeeded", "Failed"):
                    ended[each["metadata"]["uid"]] = phase

        at_every_change(cluster, kinds.PODS, check)
        spec = {"completions": 12, "parallelism": 4, "backoffLimit": 10_000}
        indexed = spec | {"completionMode": "Indexed"}
        await cluster.create(kinds.JOBS, _job("plain", **spec))
        await cluster.create(kinds.JOBS, _job("indexed", **indexed))

        async def nothing(number: int) -> None:
            return

        await storm.rage(cluster, 20, nothing, restarts=1)
        await cluster.settle(20_000)
        plain = (await cluster.get(kinds.JOBS, "plain"))["status"]
        assert plain["succeeded"] == 12
        indexed_status = (await cluster.get(kinds.JOBS, "indexed"))["status"]
        assert (indexed_status["succeeded"], indexed_status["completedIndexes"]) == (12, "0-11")
        for status in (plain, indexed_status):
            assert status["uncountedTerminatedPods"] == {}
            assert condition_of({"status": status}, "Complete")
        assert not any(p["metadata"].get("finalizers") for p in await cluster.pods())
        await cluster.expect_quiet()

    simulate(scenario, seed, through=storm.client)


def _job(name: str, **spec: Any) -> Object:
    body = JOB.body(name, **spec)
    body["spec"]["template"]["metadata"] = {}
    return body


@pytest.mark.parametrize("seed", SEEDS)
def test_no_node_has_two_daemon_pods_and_no_ordinal_two_pods(seed: int) -> None:
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        names = await add_nodes(cluster, 4)
        excess = Counter[str]()

        def check(pods: list[Object]) -> None:
            places = Counter(
                _place(p)
                for p in pods
                if is_active(p) and (controller_of(p) or {}).get("kind") == "DaemonSet"
            )
            excess["most"] = max(excess["most"], *places.values(), 0)

        at_every_change(cluster, kinds.PODS, check)
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body("agent", labels={"app": "agent"}))
        claims = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        body = STATEFUL_SET.body("db", labels={"app": "db"}, replicas=3, volumeClaimTemplates=[claims])
        await cluster.create(kinds.STATEFUL_SETS, body)

        async def act(number: int) -> None:
            image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": f"i:{number}"}]}}}}
            if storm.chance.below(2):
                await cluster.merge(kinds.DAEMON_SETS, "agent", image)
            elif storm.chance.below(2):
                await cluster.merge(kinds.STATEFUL_SETS, "db", image)
            else:
                replicas = {"spec": {"replicas": 1 + storm.chance.below(4)}}
                await cluster.merge(kinds.STATEFUL_SETS, "db", replicas)

        await storm.rage(cluster, 25, act, restarts=1)
        await cluster.settle(1500)
        pods = await cluster.pods()
        daemons = [p for p in pods if p["metadata"]["labels"]["app"] == "agent"]
        assert sorted(map(_place, daemons)) == names
        wanted = (await cluster.get(kinds.STATEFUL_SETS, "db"))["spec"]["replicas"]
        members = [p for p in pods if p["metadata"]["labels"]["app"] == "db"]
        assert sorted(p["metadata"]["name"] for p in members) == [f"db-{n}" for n in range(wanted)]
        assert all(map(is_ready, pods))
        assert excess["most"] <= 1
        await cluster.expect_quiet()

    simulate(scenario, seed, through=storm.client)


def _place(made: Object) -> str:
    node: str = made["spec"].get("nodeName") or ""
    if node:
        return node
    affinity = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    pinned: str = affinity["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
    return pinned


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deployment_stays_within_its_bounds(seed: int) -> None:
    """Without kills: never fewer ready than replicas − maxUnavailable once it was up."""
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=8))
        await cluster.settle(30)
        least = Counter(ready=8)

        def check(pods: list[Object]) -> None:
            least["ready"] = min(least["ready"], sum(is_ready(p) and is_active(p) for p in pods))

        at_every_change(cluster, kinds.PODS, check)

        async def act(number: int) -> None:
            await cluster.merge(kinds.DEPLOYMENTS, "web", {
                "spec": {"template": {"spec": {"containers": [{"name": "c", "image": f"i:{number}"}]}}}
            })  # fmt: skip

        storm.kill_one = _nobody  # type: ignore[method-assign]
        await storm.rage(cluster, 15, act, restarts=1)
        await cluster.settle(300)
        assert least["ready"] >= 6
        pods = await cluster.pods()
        assert (len(pods), sum(map(is_ready, pods))) == (8, 8)
        assert len({p["spec"]["containers"][0]["image"] for p in pods}) == 1
        await cluster.settle(700)
        await cluster.expect_quiet()

    simulate(scenario, seed, through=storm.client)


async def _nobody(cluster: Cluster) -> None:
    return


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cron_job_starts_each_time_once_and_forbids_company(seed: int) -> None:
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        chance = storm.chance.fork("ends")
        cluster.finish = lambda made: {"phase": "Succeeded"} if chance.below(4) else None
        template = {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
        }
        body = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick", "namespace": "default"},
            "spec": {
                "schedule": "* * * * *",
                "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": template | {"activeDeadlineSeconds": 90}},
            },
        }
        await cluster.create(kinds.CRON_JOBS, body)
        times: Counter[str] = Counter()

        company: list[list[str]] = []
        seen: dict[str, None] = {}

        def count(batch: object) -> None:
            jobs = [entry.object for entry in cluster.store.list("jobs.batch")]
            running = [j["metadata"]["name"] for j in jobs if not _is_over(j)]
            if len(running) > 1:
                company.append(running)
            for job in jobs:
                if job["metadata"]["uid"] not in seen:
                    seen[job["metadata"]["uid"]] = None
                    times[job["metadata"]["annotations"][SCHEDULED_AT]] += 1

        cluster.store.subscribe(count)
        storm.trouble.share, storm.trouble.lateness_s = 0.2, 0.2
        await cluster.settle(1200)
        assert company == []
        assert max(times.values()) == 1
        assert len(times) >= 6
        left = await cluster.list(kinds.JOBS)
        assert sum(map(_is_over, left)) <= 5

    simulate(scenario, seed, through=storm.client)


def _is_over(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_volume_has_two_claims_and_none_is_left_over(seed: int) -> None:
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 3)
        waiting = storage_class("w", default=True, volumeBindingMode="WaitForFirstConsumer")
        await cluster.create(kinds.STORAGE_CLASSES, waiting)
        immediate = storage_class("i", volumeBindingMode="Immediate")
        await cluster.create(kinds.STORAGE_CLASSES, immediate)

        async def act(number: int) -> None:
            name = f"data-{number}"
            chosen = storm.chance.choice(["w", "i"])
            await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim(name, storageClassName=chosen))
            await cluster.create(kinds.PODS, pod(f"user-{number}", claims=(name,)))
            if storm.chance.below(3) == 0:
                await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIMS, name, namespace="default")

        await storm.rage(cluster, 25, act, restarts=1)
        await cluster.settle(1500)
        claims = await cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)
        volumes = await cluster.list(kinds.PERSISTENT_VOLUMES, namespace="")
        bound = [c for c in claims if c["status"]["phase"] == "Bound"]
        taken = [c["spec"]["volumeName"] for c in bound]
        assert sorted(taken) == sorted(v["metadata"]["name"] for v in volumes)
        assert {v["status"]["phase"] for v in volumes} <= {"Bound"}
        for each in await cluster.pods():
            if each["spec"].get("nodeName"):
                assert each["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] in {
                    c["metadata"]["name"] for c in bound
                }

    simulate(scenario, seed, scheduler=DEFAULT, through=storm.client)

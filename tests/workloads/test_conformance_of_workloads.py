"""What the conformance suite asks of workloads and scheduling beyond what the tests of each kind already say.

Each test is named by the behaviour; its docstring begins with the suite's own subject.
"""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_nodes, pod, priority_class
from workload_kinds import DAEMON_SET, JOB, STATEFUL_SET, delete_collection

from cluster.api import kinds
from cluster.api.objects import Object, condition_of, controller_of
from cluster.reconcile.pods import is_ready
from cluster.scheduler.configuration import DEFAULT
from cluster.server.call import Call, DeleteOptions, ListOptions, User

NEW_IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
OLD_IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}}}


def _images(pods: list[Object]) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in pods]


def test_a_controller_revision_made_by_hand_lives_with_the_others() -> None:
    """ControllerRevision: should manage the lifecycle of a ControllerRevision."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body())
        await cluster.settle(10)
        (first,) = await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="app=w")
        name = first["metadata"]["name"]
        await cluster.merge(kinds.CONTROLLER_REVISIONS, name, {"metadata": {"labels": {name: "patched"}}})
        meta = {
            "name": "by-hand",
            "namespace": "default",
            "labels": first["metadata"]["labels"],
            "ownerReferences": first["metadata"]["ownerReferences"],
        }
        made = {name: first[name] for name in ("apiVersion", "kind", "data")}
        await cluster.create(kinds.CONTROLLER_REVISIONS, made | {"metadata": meta, "revision": 2})
        await cluster.settle(5)
        assert len(await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="app=w")) == 2
        await cluster.client.delete(kinds.CONTROLLER_REVISIONS, name, namespace="default")
        await cluster.settle(5)
        (left,) = await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="app=w")
        assert left["metadata"]["name"] == "by-hand"
        labels = {"metadata": {"labels": {"by-hand": "updated"}}}
        await cluster.merge(kinds.CONTROLLER_REVISIONS, "by-hand", labels)
        await cluster.merge(kinds.DAEMON_SETS, "w", NEW_IMAGE)
        await cluster.settle(30)
        assert len(await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="app=w")) == 2
        await delete_collection(cluster, kinds.CONTROLLER_REVISIONS, "by-hand=updated")
        await cluster.settle(5)
        (last,) = await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="app=w")
        assert last["revision"] == 3

    simulate(scenario)


def test_a_suspended_cron_job_starts_nothing_until_it_is_resumed() -> None:
    """CronJob: should not schedule jobs when suspended."""

    async def scenario(cluster: Cluster) -> None:
        template = {"spec": {"template": {"spec": JOB.body()["spec"]["template"]["spec"]}}}
        body = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick", "namespace": "default"},
            "spec": {"schedule": "* * * * *", "suspend": True, "jobTemplate": template},
        }
        await cluster.create(kinds.CRON_JOBS, body)
        await cluster.settle(330)
        assert await cluster.list(kinds.JOBS) == []
        await cluster.merge(kinds.CRON_JOBS, "tick", {"spec": {"suspend": False}})
        await cluster.settle(70)
        assert await cluster.list(kinds.JOBS) != []

    simulate(scenario)


def test_a_daemon_follows_the_labels_of_nodes() -> None:
    """Daemon set: should run and stop complex daemon; and simple daemon: a deleted pod is replaced."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        body = DAEMON_SET.body()
        body["spec"]["template"]["spec"]["nodeSelector"] = {"color": "blue"}
        await cluster.create(kinds.DAEMON_SETS, body)
        await cluster.settle(10)
        assert await cluster.pods() == []

        async def paint(color: str | None) -> None:
            await cluster.merge(kinds.NODES, "node-1", {"metadata": {"labels": {"color": color}}})
            await cluster.settle(15)

        await paint("blue")
        (made,) = await cluster.pods()
        assert made["spec"]["nodeName"] == "node-1"
        await cluster.client.delete(kinds.PODS, made["metadata"]["name"], namespace="default")
        await cluster.settle(15)
        (again,) = await cluster.pods()
        assert again["metadata"]["uid"] != made["metadata"]["uid"]
        await paint("green")
        assert await cluster.pods() == []
        patch = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
        patch |= {"spec": {"template": {"spec": {"nodeSelector": {"color": "green"}}}}}
        await cluster.merge(kinds.DAEMON_SETS, "w", patch)
        await cluster.settle(20)
        assert [p["spec"]["nodeName"] for p in await cluster.pods()] == ["node-1"]

    simulate(scenario)


def test_a_rollback_of_a_daemon_restarts_only_what_was_changed() -> None:
    """Daemon set: should rollback without unnecessary restarts."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 4)
        cluster.refuse = lambda made: _images([made]) == ["nginx:2"]
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body())
        await cluster.settle(20)
        before = {p["metadata"]["uid"] for p in await cluster.pods()}
        await cluster.merge(kinds.DAEMON_SETS, "w", NEW_IMAGE)
        await cluster.settle(60)
        assert sorted(_images(await cluster.pods())) == ["nginx"] * 3 + ["nginx:2"]
        await cluster.merge(kinds.DAEMON_SETS, "w", OLD_IMAGE)
        await cluster.settle(60)
        after = {p["metadata"]["uid"]: p for p in await cluster.pods()}
        assert set(_images(list(after.values()))) == {"nginx"}
        assert len(before & after.keys()) == 3, "healthy pods were left alone"
        assert all(map(is_ready, after.values()))
        assert [r["revision"] for r in await cluster.list(kinds.CONTROLLER_REVISIONS)] in ([2, 3], [3, 2])

    simulate(scenario)


def test_a_disruption_is_not_the_jobs_failure() -> None:
    """Job: should allow to use a pod failure policy to ignore failure matching on DisruptionTarget
    condition."""

    async def scenario(cluster: Cluster) -> None:
        disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        ends = [{"phase": "Failed", "conditions": [disrupted]}] * 3
        cluster.finish = lambda made: ends.pop() if ends else {"phase": "Succeeded"}
        rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimit": 0}
        body = JOB.body(podFailurePolicy={"rules": rules}, **spec)
        body["spec"]["template"]["metadata"] = {}
        await cluster.create(kinds.JOBS, body)
        await cluster.settle(120)
        found = await cluster.get(kinds.JOBS, "w")
        assert condition_of(found, "Complete")
        assert (found["status"]["succeeded"], found["status"].get("failed", 0)) == (3, 0)

    simulate(scenario)


def test_a_member_that_was_evicted_is_made_again() -> None:
    """StatefulSet: should recreate evicted statefulset."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, STATEFUL_SET.body(replicas=2))
        await cluster.settle(20)
        before = (await cluster.get(kinds.PODS, "w-0"))["metadata"]["uid"]
        evicted = {"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low."}}
        await cluster.merge(kinds.PODS, "w-0", evicted, "status")
        await cluster.settle(20)
        again = await cluster.get(kinds.PODS, "w-0")
        assert again["metadata"]["uid"] != before
        assert is_ready(again)
        assert await cluster.events("SuccessfulDelete") == ["delete Pod w-0 in StatefulSet w successful"]

    simulate(scenario)


def test_going_back_is_no_new_revision() -> None:
    """StatefulSet: should perform rolling updates and roll backs of template modifications."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, STATEFUL_SET.body(replicas=3))
        await cluster.settle(30)
        first = (await cluster.get(kinds.STATEFUL_SETS, "w"))["status"]
        assert first["currentRevision"] == first["updateRevision"]
        await cluster.merge(kinds.STATEFUL_SETS, "w", NEW_IMAGE)
        await cluster.settle(60)
        second = (await cluster.get(kinds.STATEFUL_SETS, "w"))["status"]
        assert second["currentRevision"] == second["updateRevision"] != first["updateRevision"]
        assert set(_images(await cluster.pods())) == {"nginx:2"}
        await cluster.merge(kinds.STATEFUL_SETS, "w", OLD_IMAGE)
        await cluster.settle(60)
        third = (await cluster.get(kinds.STATEFUL_SETS, "w"))["status"]
        assert third["updateRevision"] == first["updateRevision"]
        assert set(_images(await cluster.pods())) == {"nginx"}
        assert len(await cluster.list(kinds.CONTROLLER_REVISIONS)) == 2

    simulate(scenario)


def test_a_partition_holds_for_pods_that_are_made_again() -> None:
    """StatefulSet: should perform canary updates and phased rolling updates of template modifications."""

    async def scenario(cluster: Cluster) -> None:
        strategy: Object = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
        await cluster.create(kinds.STATEFUL_SETS, STATEFUL_SET.body(replicas=3, updateStrategy=strategy))
        await cluster.settle(30)
        await cluster.merge(kinds.STATEFUL_SETS, "w", NEW_IMAGE)
        await cluster.settle(30)
        assert _images(await cluster.pods()) == ["nginx"] * 3

        async def phase(partition: int) -> list[str]:
            update = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}
            await cluster.merge(kinds.STATEFUL_SETS, "w", update)
            await cluster.settle(60)
            return _images(await cluster.pods())

        assert await phase(2) == ["nginx", "nginx", "nginx:2"]
        for name in ("w-0", "w-2"):
            await cluster.client.delete(kinds.PODS, name, namespace="default")
        await cluster.settle(60)
        by_name = {p["metadata"]["name"]: _images([p])[0] for p in await cluster.pods()}
        assert by_name == {"w-0": "nginx", "w-1": "nginx", "w-2": "nginx:2"}
        assert sorted(await phase(0)) == ["nginx:2"] * 3

    simulate(scenario)


def test_a_preempted_pod_that_is_held_says_why_it_goes() -> None:
    """SchedulerPreemption: validates pod disruption condition is added to the preempted pod."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1, cpu="1")
        await cluster.create(kinds.PRIORITY_CLASSES, priority_class("high", 1000))
        low = pod("low", cpu="800m")
        low["metadata"]["finalizers"] = ["example.com/test-finalizer"]
        await cluster.create(kinds.PODS, low)
        await cluster.settle(5)
        await cluster.create(kinds.PODS, pod("high", cpu="800m", priorityClassName="high"))
        await cluster.settle(10)
        held = await cluster.get(kinds.PODS, "low")
        mark = condition_of(held, "DisruptionTarget") or {}
        assert "deletionTimestamp" in held["metadata"]
        assert (mark["status"], mark["reason"]) == ("True", "PreemptionByScheduler")
        await cluster.merge(kinds.PODS, "low", {"metadata": {"finalizers": None}})
        await cluster.settle(30)
        assert (await cluster.get(kinds.PODS, "high"))["spec"]["nodeName"] == "node-1"

    simulate(scenario, scheduler=DEFAULT)


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        pytest.param(kinds.LIMIT_RANGES, {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}, id="LimitRange"),
        pytest.param(kinds.POD_DISRUPTION_BUDGETS, {"minAvailable": 1}, id="PodDisruptionBudget"),
        pytest.param(kinds.RESOURCE_QUOTAS, {"hard": {"pods": "1"}}, id="ResourceQuota"),
        pytest.param(kinds.CRON_JOBS, None, id="CronJob"),
    ],
)
def test_a_collection_is_listed_in_all_namespaces_and_deleted_in_one(resource: Any, spec: Any) -> None:
    """LimitRange, PodDisruptionBudget, ResourceQuota: should list, patch and delete by collection."""
    if spec is None:
        template = {"spec": {"template": {"spec": JOB.body()["spec"]["template"]["spec"]}}}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": template}

    async def scenario(cluster: Cluster) -> None:
        for namespace in ("default", "kube-system"):
            meta = {"name": "one", "namespace": namespace, "labels": {"of": "test"}}
            body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
            await cluster.create(resource, body)
        assert len(await cluster.list(resource, namespace="", label_selector="of=test")) == 2
        await cluster.merge(resource, "one", {"metadata": {"labels": {"one": "patched"}}})
        assert len(await cluster.list(resource, namespace="", label_selector="one=patched")) == 1
        await delete_collection(cluster, resource, "one=patched")
        await cluster.settle(2)
        (left,) = await cluster.list(resource, namespace="", label_selector="of=test")
        assert left["metadata"]["namespace"] == "kube-system"

    simulate(scenario)


def test_a_job_is_suspended_relabelled_replaced_and_deleted_with_its_kind() -> None:
    """Job: should manage the lifecycle of a job; should delete a job."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.JOBS, JOB.body(suspend=True, parallelism=2))
        await cluster.settle(5)
        found = await cluster.get(kinds.JOBS, "w")
        assert (condition_of(found, "Suspended") or {})["status"] == "True"
        await cluster.merge(kinds.JOBS, "w", {"metadata": {"labels": {"w": "patched"}}})
        body = await cluster.get(kinds.JOBS, "w")
        body = body | {"metadata": body["metadata"] | {"annotations": {"updated": "true"}}}
        await cluster.client.update(kinds.JOBS, body | {"spec": body["spec"] | {"suspend": False}})
        await cluster.settle(10)
        assert len(await cluster.pods()) == 2
        (listed,) = await cluster.list(kinds.JOBS, namespace="", label_selector="w=patched")
        assert listed["metadata"]["annotations"]["updated"] == "true"
        call = Call(
            user=User(name="admin", groups=("system:masters",)), resource=kinds.JOBS, namespace="default"
        )
        await cluster.verbs.delete_collection(
            call, ListOptions(label_selector="w=patched"), DeleteOptions(propagation="Background")
        )
        await cluster.settle(30)
        assert await cluster.list(kinds.JOBS) == []
        assert await cluster.pods() == []

    simulate(scenario)


def test_a_quotas_status_is_its_own_and_follows_its_spec() -> None:
    """ResourceQuota: should apply changes to a resourcequota status."""

    async def scenario(cluster: Cluster) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": "default"},
            "spec": {"hard": {"cpu": "500m", "memory": "500Mi"}},
        }
        await cluster.create(kinds.RESOURCE_QUOTAS, body)
        await cluster.settle(2)
        for where in ("update", "patch"):
            other = {"cpu": "1", "memory": "1Gi"} if where == "update" else {"cpu": "2", "memory": "2Gi"}
            found = await cluster.get(kinds.RESOURCE_QUOTAS, "q")
            if where == "update":
                status = found["status"] | {"hard": other}
                changed = await cluster.client.update(
                    kinds.RESOURCE_QUOTAS, found | {"status": status}, subresource="status"
                )
            else:
                changed = await cluster.merge(
                    kinds.RESOURCE_QUOTAS, "q", {"status": {"hard": other}}, "status"
                )
            assert changed["status"]["hard"] == other
            assert changed["spec"] == found["spec"], "the spec is left alone"
            await cluster.settle(5)
            again = await cluster.get(kinds.RESOURCE_QUOTAS, "q")
            assert again["status"]["hard"] == again["spec"]["hard"], "the controller puts it right"

    simulate(scenario)


def test_pods_are_owned_by_whom_they_say() -> None:
    """ReplicationController, ReplicaSet, Job: every pod names its one controller, which blocks its deletion."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        for kind in (STATEFUL_SET, DAEMON_SET, JOB):
            await cluster.create(
                kind.resource, kind.body(kind.resource.singular, labels={"k": kind.resource.singular})
            )
        await cluster.settle(15)
        owners = {(controller_of(p) or {})["kind"]: controller_of(p) for p in await cluster.pods()}
        assert sorted(owners) == ["DaemonSet", "Job", "StatefulSet"]
        assert all(owner and owner["blockOwnerDeletion"] for owner in owners.values())

    simulate(scenario)

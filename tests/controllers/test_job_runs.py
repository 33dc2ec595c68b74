"""Jobs on virtual time, over the real store and verbs."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from cluster.controllers.job import indexes


def job(**spec: Any) -> Object:
    container = {"name": "c", "image": "busybox"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, **spec},
    }


SUCCEEDED = {"phase": "Succeeded"}


def failed(code: int = 1) -> Object:
    state = {"terminated": {"exitCode": code, "reason": "Error"}}
    status = {
        "name": "c",
        "image": "busybox",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }
    return {"phase": "Failed", "containerStatuses": [status]}


async def ended(cluster: Cluster, type: str) -> Object | None:
    found = await cluster.get(kinds.JOBS, "work")
    condition = condition_of(found, type)
    return found if condition is not None and condition["status"] == "True" else None


def test_completions_are_counted_once_with_parallelism_respected() -> None:
    """8 completions, 3 at a time; never more than 3 active, 8 pods in all."""

    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda pod: SUCCEEDED
        active: list[int] = []

        def count(old: Object | None, new: Object | None, cause: str) -> None:
            pods = cluster.world.informers.of(kinds.PODS).list()
            active.append(sum(p["status"].get("phase") not in ("Succeeded", "Failed") for p in pods))

        cluster.world.informers.of(kinds.PODS).on_change(count)
        await cluster.create(kinds.JOBS, job(completions=8, parallelism=3))
        found = await cluster.eventually(lambda: ended(cluster, "Complete"))
        status = found["status"]
        assert (status["succeeded"], status.get("failed"), status["completionTime"] != "") == (8, None, True)
        assert max(active) == 3
        pods = await cluster.pods()
        assert len(pods) == 8
        assert not any(p["metadata"].get("finalizers") for p in pods)
        assert status["uncountedTerminatedPods"] == {}
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_an_indexed_job_runs_each_index() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda pod: SUCCEEDED
        await cluster.create(kinds.JOBS, job(completions=5, parallelism=2, completionMode="Indexed"))
        found = await cluster.eventually(lambda: ended(cluster, "Complete"))
        assert found["status"]["completedIndexes"] == "0-4"
        assert sorted(p["spec"]["hostname"] for p in await cluster.pods()) == [f"work-{n}" for n in range(5)]
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_failures_back_off_and_end_at_the_limit() -> None:
    """Two retries: after 10 s and after 20 s more."""

    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda pod: failed()
        await cluster.create(kinds.JOBS, job(backoffLimit=2))
        await cluster.settle(8)
        assert len(await cluster.pods()) == 1
        found = await cluster.eventually(lambda: ended(cluster, "Failed"))
        condition = condition_of(found, "Failed") or {}
        assert (condition["reason"], found["status"]["failed"]) == ("BackoffLimitExceeded", 3)
        assert (condition_of(found, "FailureTarget") or {})["reason"] == "BackoffLimitExceeded"
        assert await cluster.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_an_index_fails_alone_with_a_limit_per_index() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda pod: failed() if indexes.index_of(pod) == 1 else SUCCEEDED
        spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
        await cluster.create(kinds.JOBS, job(**spec))
        found = await cluster.eventually(lambda: ended(cluster, "Failed"))
        status = found["status"]
        assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1")
        assert (condition_of(found, "Failed") or {})["reason"] == "FailedIndexes"
        assert status["failed"] == 2

    simulate(scenario)


@pytest.mark.parametrize(
    ("code", "reason"),
    [pytest.param(42, "PodFailurePolicy", id="fail-job"), pytest.param(7, "", id="ignored")],
)
def test_the_failure_policy_decides(code: int, reason: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        ends = [failed(code)]
        cluster.finish = lambda pod: ends.pop() if ends else SUCCEEDED
        rules = [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}},
        ]
        await cluster.create(kinds.JOBS, job(backoffLimit=0, podFailurePolicy={"rules": rules}))
        found = await cluster.eventually(lambda: ended(cluster, "Failed" if reason else "Complete"))
        if reason:
            condition = condition_of(found, "Failed") or {}
            assert condition["reason"] == reason
            assert condition["message"].endswith("failed with exit code 42 matching FailJob rule at index 0")
        else:
            assert found["status"].get("failed", 0) == 0

    simulate(scenario)


def test_suspended_it_has_no_pods_until_it_is_resumed() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.JOBS, job(suspend=True))
        await cluster.settle(5)
        assert not await cluster.pods()
        found = await cluster.get(kinds.JOBS, "work")
        assert (condition_of(found, "Suspended") or {})["reason"] == "JobSuspended"
        await cluster.expect_quiet(60)
        cluster.finish = lambda pod: SUCCEEDED
        await cluster.merge(kinds.JOBS, "work", {"spec": {"suspend": False}})
        found = await cluster.eventually(lambda: ended(cluster, "Complete"))
        assert (condition_of(found, "Suspended") or {})["status"] == "False"

    simulate(scenario)


def test_the_deadline_ends_it_and_the_ttl_removes_it() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.JOBS, job(activeDeadlineSeconds=30, ttlSecondsAfterFinished=60))
        await cluster.settle(29)
        assert await ended(cluster, "Failed") is None
        await cluster.settle(5)
        found = await ended(cluster, "Failed")
        assert found is not None
        assert (condition_of(found, "Failed") or {})["reason"] == "DeadlineExceeded"
        await cluster.settle(70)
        assert not await cluster.list(kinds.JOBS)
        assert not await cluster.pods()

    simulate(scenario)


def test_deleting_a_running_job_leaves_no_pod_held_by_the_finalizer() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.JOBS, job(parallelism=3))
        await cluster.settle(5)
        await cluster.client.delete(kinds.JOBS, "work", namespace="default", propagation="Background")
        await cluster.settle(10)
        assert not await cluster.pods()

    simulate(scenario)


@pytest.mark.parametrize(
    ("text", "expected"), [("", []), ("3", [3]), ("1,2", [1, 2]), ("0,2-5,7", [0, 2, 3, 4, 5, 7])]
)
def test_index_text_round_trip(text: str, expected: list[int]) -> None:
    assert list(indexes.parse(text)) == expected
    assert indexes.text_of(reversed(expected)) == text

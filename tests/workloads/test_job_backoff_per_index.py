"""Indexed Jobs whose indexes fail and back off by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of, timestamp
from cluster.controllers.job import delays, indexes
from cluster.controllers.job.tally import tally

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PER_INDEX = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}


def job(**spec: Any) -> Object:
    container = {"name": "c", "image": "busybox"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, **spec},
    }


def pod(index: int, phase: str, *, failures: int = 0, ago_s: float = 0.0) -> Object:
    ended = timestamp(NOW - timedelta(seconds=ago_s))
    state = {"terminated": {"exitCode": 1, "finishedAt": ended}}
    return {
        "metadata": {
            "name": f"work-{index}-{phase}-{failures}",
            "namespace": "default",
            "uid": f"{index}-{phase}-{failures}",
            "creationTimestamp": ended,
            "finalizers": ["batch.kubernetes.io/job-tracking"],
            "annotations": {indexes.INDEX: str(index), indexes.FAILURE_COUNT: str(failures)},
        },
        "spec": {},
        "status": {"phase": phase, "containerStatuses": [{"name": "c", "state": state}]},
    }


@pytest.mark.parametrize(
    ("pods", "ready", "wait_s"),
    [
        pytest.param([], [0, 1, 2], None, id="new"),
        pytest.param([pod(1, "Failed", ago_s=4)], [0, 2], 6.0, id="one-waits"),
        pytest.param([pod(1, "Failed", ago_s=10)], [0, 1, 2], None, id="waited-long-enough"),
        pytest.param([pod(1, "Failed", failures=1, ago_s=10)], [0, 2], 10.0, id="the-delay-doubles"),
        pytest.param(
            [pod(0, "Failed", ago_s=1), pod(2, "Failed", failures=2, ago_s=1)], [1], 9.0, id="each-by-itself"
        ),
        pytest.param(
            [pod(1, "Failed", ago_s=30), pod(1, "Failed", failures=1, ago_s=5)], [0, 2], 15.0, id="the-last-counts"
        ),
    ],
)  # fmt: skip
def test_which_indexes_may_start(pods: list[Object], ready: list[int], wait_s: float | None) -> None:
    body = job(**PER_INDEX, backoffLimitPerIndex=5)
    failures = delays.last_failures(body, tally(body, pods))
    assert delays.split([0, 1, 2], failures, NOW) == (ready, wait_s)


def test_an_index_with_a_running_or_finished_pod_waits_for_nothing() -> None:
    body = job(**PER_INDEX, backoffLimitPerIndex=5)
    pods = [
        pod(0, "Failed"),
        pod(0, "Running", failures=1),
        pod(1, "Failed"),
        pod(1, "Succeeded", failures=1),
    ]
    assert delays.last_failures(body, tally(body, pods)) == {}


def test_indexes_back_off_alone_and_the_count_survives_deleted_pods() -> None:
    """Index 1 always fails, at 10 s and 20 s distance, whatever somebody deletes; the others are done at once."""

    async def scenario(cluster: Cluster) -> None:
        def finish(made: Object) -> Object:
            if indexes.index_of(made) != 1:
                return {"phase": "Succeeded"}
            return {"phase": "Failed"}

        cluster.finish = finish
        await cluster.create(kinds.JOBS, job(**PER_INDEX, backoffLimitPerIndex=2))
        await cluster.settle(5)
        status = (await cluster.get(kinds.JOBS, "work"))["status"]
        assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "")
        for expected in (0, 1, 2):
            (tried,) = [p for p in await cluster.pods() if indexes.index_of(p) == 1]
            assert indexes.failure_count(tried) == expected
            await cluster.client.delete(kinds.PODS, tried["metadata"]["name"], namespace="default")
            await cluster.settle(10 * 2**expected + 1)
        found = await cluster.get(kinds.JOBS, "work")
        assert (condition_of(found, "Failed") or {})["reason"] == "FailedIndexes"
        assert (found["status"]["failed"], found["status"]["failedIndexes"]) == (3, "1")
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_too_many_failed_indexes_end_the_job() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda made: {"phase": "Failed"}
        await cluster.create(kinds.JOBS, job(**PER_INDEX, backoffLimitPerIndex=0, maxFailedIndexes=1))
        await cluster.settle(60)
        found = await cluster.get(kinds.JOBS, "work")
        assert (condition_of(found, "Failed") or {})["reason"] == "MaxFailedIndexesExceeded"

    simulate(scenario)


@pytest.mark.parametrize(
    ("rule", "done"),
    [
        pytest.param({"succeededIndexes": "0"}, "0", id="the-leader"),
        pytest.param({"succeededCount": 2}, "0,2", id="any-two"),
        pytest.param({"succeededIndexes": "0-2", "succeededCount": 1}, "0", id="one-of-them"),
    ],
)
def test_a_success_policy_ends_the_job_and_its_other_pods(rule: Object, done: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        ending = indexes.parse(done)
        cluster.finish = lambda made: {"phase": "Succeeded"} if indexes.index_of(made) in ending else None
        await cluster.create(kinds.JOBS, job(**PER_INDEX, successPolicy={"rules": [rule]}))
        await cluster.settle(60)
        found = await cluster.get(kinds.JOBS, "work")
        for type in ("SuccessCriteriaMet", "Complete"):
            assert (condition_of(found, type) or {})["reason"] == "SuccessPolicy"
        assert found["status"]["completedIndexes"] == done
        assert found["status"].get("active") is None
        await cluster.expect_quiet()

    simulate(scenario)


def test_fail_index_fails_one_index_without_another_try() -> None:
    async def scenario(cluster: Cluster) -> None:
        state = {"terminated": {"exitCode": 9, "reason": "Error"}}
        container = {
            "name": "c", "image": "busybox", "imageID": "", "ready": False, "restartCount": 0, "state": state,
        }  # fmt: skip
        bad = {"phase": "Failed", "containerStatuses": [container]}
        cluster.finish = lambda made: bad if indexes.index_of(made) == 0 else {"phase": "Succeeded"}
        rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [9]}}
        await cluster.create(
            kinds.JOBS, job(**PER_INDEX, backoffLimitPerIndex=5, podFailurePolicy={"rules": [rule]})
        )
        await cluster.settle(60)
        found = await cluster.get(kinds.JOBS, "work")
        assert (found["status"]["failedIndexes"], found["status"]["failed"]) == ("0", 1)
        assert (condition_of(found, "Failed") or {})["reason"] == "FailedIndexes"

    simulate(scenario)

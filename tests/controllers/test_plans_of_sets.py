"""The pure plans of the workload controllers, as tables: what is there, what comes next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.api.objects import Object, timestamp
from cluster.controllers import history
from cluster.controllers import replicaset as replicas
from cluster.controllers.daemonset import plan as daemons
from cluster.controllers.deployment import sizes
from cluster.controllers.job import plan as jobs
from cluster.controllers.job.tally import Tally, tally
from cluster.controllers.statefulset.plan import View as Members
from cluster.controllers.statefulset.plan import plan as next_of_members
from cluster.controllers.statefulset.plan import revision_for
from cluster.reconcile.pods import by_deletion_rank

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return timestamp(NOW - timedelta(seconds=seconds))


def made(
    name: str,
    *,
    ready: bool | None = True,
    node: str = "n",
    phase: str = "Running",
    since_s: float = 100,
    **meta: Any,
) -> Object:
    """A pod. `ready`: None for one without the condition."""
    status: Object = {"phase": phase}
    if ready is not None:
        status["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": ago(since_s)}]
    meta = {"name": name, "uid": name, "creationTimestamp": ago(since_s + 10), **meta}
    return {"metadata": meta, "spec": {"nodeName": node} if node else {}, "status": status}


GOING = {"deletionTimestamp": ago(1)}


def test_a_revision_s_data_has_its_keys_in_order() -> None:
    """Clients compare its bytes with those they make of the workload's template."""
    template = {"spec": {"b": [{"z": 1, "a": 2}], "a": 1}, "metadata": {}}
    data = history.data_of({"spec": {"template": template}})
    assert json.dumps(data) == json.dumps(data, sort_keys=True)
    assert data == {"spec": {"template": {**template, "$patch": "replace"}}}


# --- ReplicaSet


def test_a_ready_pod_that_is_not_available_is_looked_at_again() -> None:
    """At every moment one of the two holds, the very one at which it turns available included."""
    replica_set: Object = {"metadata": {}, "spec": {"minReadySeconds": 10, "template": {}}}
    pod = made("a", since_s=10)
    for early_s in (0.001, 0.0005, 0.0, -0.001):
        now = NOW - timedelta(seconds=early_s)
        available = replicas.status_of(replica_set, [pod], None, now).get("availableReplicas", 0)
        assert (available == 1) == (replicas.next_available(replica_set, [pod], now) is None)


@pytest.mark.parametrize(
    ("pods", "order"),
    [
        pytest.param([made("a"), made("b", node="")], "ba", id="no node yet"),
        pytest.param([made("a"), made("b", phase="Pending", ready=None)], "ba", id="pending"),
        pytest.param([made("a"), made("b", ready=False)], "ba", id="not ready"),
        pytest.param(
            [made("a"), made("b", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"})],
            "ba", id="cheaper",
        ),
        pytest.param([made("a", node="x"), made("b"), made("c")], "bca", id="with siblings on its node"),
        pytest.param([made("a", since_s=1e6), made("b", since_s=10)], "ba", id="ready for a shorter time"),
        pytest.param([made("b", since_s=101), made("a", since_s=100)], "ab", id="of about the same age: by uid"),
    ],
)  # fmt: skip
def test_who_is_the_least_loss(pods: list[Object], order: str) -> None:
    assert "".join(p["metadata"]["name"] for p in by_deletion_rank(pods, pods, NOW)) == order


@pytest.mark.parametrize(
    ("wanted", "there", "create", "delete"),
    [(3, 1, 2, 0), (3, 3, 0, 0), (1, 3, 0, 2), (0, 2, 0, 2), (2000, 0, 500, 0)],
)
def test_a_replica_set_makes_up_the_difference(wanted: int, there: int, create: int, delete: int) -> None:
    active = [made(f"p{n}") for n in range(there)]
    found = replicas.plan(wanted, active, lambda: active, NOW)
    assert (found.create, len(found.delete)) == (create, delete)


# --- Deployment


def _set(name: str, size: int, available: int | None = None, **annotations: str) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": ago(ord(name[0])), "annotations": annotations},
        "spec": {"replicas": size},
        "status": {"availableReplicas": size if available is None else available},
    }


def _deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%") -> Object:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}}


@pytest.mark.parametrize(
    ("deployment", "new", "olds", "to"),
    [
        pytest.param(_deployment(10), 0, [10], 3, id="as far as the surge goes"),
        pytest.param(_deployment(10), 3, [10], None, id="no room"),
        pytest.param(_deployment(10), 3, [5], 8, id="what the old left"),
        pytest.param(_deployment(10), 12, [0], 10, id="too many"),
        pytest.param(_deployment(10, 0, 1), 0, [10], None, id="no surge: the old first"),
        pytest.param(_deployment(10, 0, 0), 0, [9], 1, id="never both zero"),
    ],
)  # fmt: skip
def test_how_far_the_new_set_grows(deployment: Object, new: int, olds: list[int], to: int | None) -> None:
    found = sizes.grow_new(deployment, _set("new", new), [_set(f"o{n}", size) for n, size in enumerate(olds)])
    assert (found.to if found else None) == to


@pytest.mark.parametrize(
    ("new", "olds", "expected"),
    [
        pytest.param((3, 0), [(10, 10)], {"a": 8}, id="as far as availability allows"),
        pytest.param((3, 3), [(10, 10)], {"a": 5}, id="further with each new one"),
        pytest.param((3, 0), [(10, 8)], {"a": 8}, id="unhealthy ones first"),
        pytest.param((3, 0), [(4, 0), (6, 6)], {"a": 2}, id="unhealthy ones of any set"),
        pytest.param((10, 10), [(2, 2), (1, 1)], {"a": 0, "b": 0}, id="all of them at the end"),
        pytest.param((3, 0), [(8, 8)], {}, id="nothing to spare"),
    ],
)
def test_how_far_the_old_sets_shrink(
    new: tuple[int, int], olds: list[tuple[int, int]], expected: dict[str, int]
) -> None:
    """10 replicas, 25 % of them: at least 8 available."""
    sets = [_set("ab"[n], size, available) for n, (size, available) in enumerate(olds)]
    found = sizes.shrink_old(_deployment(10), _set("new", *new), sets)
    assert {r.replica_set["metadata"]["name"]: r.to for r in found} == expected


@pytest.mark.parametrize(
    ("before", "after", "present", "expected"),
    [
        pytest.param(10, 30, {"new": 5, "old": 8}, {"new": 13, "old": 20}, id="up, in proportion"),
        pytest.param(10, 5, {"new": 5, "old": 8}, {"new": 3, "old": 5}, id="down, in proportion"),
        pytest.param(10, 0, {"new": 5, "old": 8}, {"new": 0, "old": 0}, id="to nothing"),
        pytest.param(10, 20, {"new": 10}, {"new": 20}, id="only one set"),
    ],
)
def test_a_change_of_size_is_shared(
    before: int, after: int, present: dict[str, int], expected: dict[str, int]
) -> None:
    """With a surge of three: 13 pods of 10 wanted."""
    note = {sizes.DESIRED: str(before), sizes.MAX_REPLICAS: str(before + 3)}
    sets = {name: _set(name, size, **note) for name, size in present.items()}
    deployment = _deployment(after, 3, 2)
    assert sizes.is_scaling(deployment, list(sets.values()))
    found = sizes.rescale(deployment, sets.get("new"), [s for n, s in sets.items() if n != "new"])
    assert {r.replica_set["metadata"]["name"]: r.to for r in found} == expected


# --- StatefulSet


def _member(number: int, revision: str = "v1", **more: Any) -> Object:
    pod = made(f"db-{number}", **more)
    pod["metadata"]["labels"] = {"controller-revision-hash": revision}
    return pod


def _view(pods: list[Object], update: str = "v1", **spec: Any) -> Members:
    return Members(
        stateful_set={"metadata": {"name": "db"}, "spec": {"replicas": 3, **spec}},
        by_ordinal={int(p["metadata"]["name"][3:]): p for p in pods},
        current="v1",
        update=update,
        now=NOW,
    )


PARALLEL = {"podManagementPolicy": "Parallel"}
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
TWO_AT_ONCE = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


@pytest.mark.parametrize(
    ("view", "create", "delete"),
    [
        pytest.param(_view([]), [0], [], id="the first alone"),
        pytest.param(_view([], **PARALLEL), [0, 1, 2], [], id="all at once"),
        pytest.param(_view([_member(0), _member(1, ready=False)]), [], [], id="waits for the one before"),
        pytest.param(_view([_member(0), _member(1)]), [2], [], id="the next"),
        pytest.param(_view([_member(0), _member(1, since_s=5)], minReadySeconds=9), [], [], id="not ready for long enough"),
        pytest.param(_view([_member(n) for n in range(5)]), [], ["db-4"], id="the last goes first"),
        pytest.param(_view([_member(n) for n in range(5)], **PARALLEL), [], ["db-4", "db-3"], id="all surplus at once"),
        pytest.param(
            _view([*(_member(n) for n in range(4)), _member(4, **GOING)]), [], [], id="one goes after the other",
        ),
        pytest.param(_view([_member(n) for n in range(3)], "v2"), [], ["db-2"], id="updates from the last"),
        pytest.param(
            _view([_member(0), _member(1), _member(2, "v2", ready=False)], "v2"), [], [],
            id="an update waits for the updated",
        ),
        pytest.param(_view([_member(0), _member(1), _member(2, "v2")], "v2"), [], ["db-1"], id="then goes on"),
        pytest.param(_view([_member(0), _member(1), _member(2, "v2")], "v2", **PARTITION), [], [], id="down to the partition"),
        pytest.param(_view([_member(n) for n in range(3)], "v2", **TWO_AT_ONCE), [], ["db-2", "db-1"], id="two at once"),
        pytest.param(_view([_member(n) for n in range(3)], "v2", **ON_DELETE), [], [], id="only when deleted"),
        pytest.param(_view([_member(5), _member(6)], ordinals={"start": 5}), [7], [], id="counted from five"),
    ],
)  # fmt: skip
def test_the_next_step_of_a_stateful_set(view: Members, create: list[int], delete: list[str]) -> None:
    found = next_of_members(view)
    assert [ordinal for ordinal, _ in found.create] == create
    assert [p["metadata"]["name"] for p in found.delete] == delete


def test_a_missing_member_is_made_of_the_revision_of_its_side() -> None:
    view = _view([], "v2", **PARTITION)
    assert [revision_for(view, ordinal) for ordinal in range(3)] == ["v1", "v1", "v2"]


def test_a_member_that_ended_is_made_again() -> None:
    (again,) = next_of_members(_view([_member(0, phase="Failed", ready=None), _member(1)])).recreate
    assert again["metadata"]["name"] == "db-0"


# --- DaemonSet


def _daemon(node: str, version: str = "new", **more: Any) -> Object:
    pod = made(f"{version}-{node}", node=node, **more)
    pod["metadata"]["labels"] = {"controller-revision-hash": version}
    return pod


def _nodes(
    pods: list[Object], places: dict[str, tuple[bool, bool]] | None = None, **rolling: Any
) -> daemons.View:
    places = places or dict.fromkeys("abc", (True, True))
    spec: Object = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}} if rolling else {}
    return daemons.View(
        daemon_set={"metadata": {"name": "d"}, "spec": spec},
        nodes=[{"metadata": {"name": name}} for name in places],
        places=places,
        by_node=daemons.grouped(pods),
        hash="new",
        now=NOW,
    )


@pytest.mark.parametrize(
    ("view", "create", "delete", "failed"),
    [
        pytest.param(_nodes([_daemon("a")]), "bc", [], [], id="missing"),
        pytest.param(_nodes([_daemon("a")], {"a": (False, True)}), "", [], [], id="may stay, not start"),
        pytest.param(_nodes([_daemon("a")], {"a": (False, False)}), "", ["new-a"], [], id="must go"),
        pytest.param(_nodes([_daemon("a", phase="Failed", ready=None)], {"a": (True, True)}), "", [], ["new-a"], id="failed"),
        pytest.param(
            _nodes([_daemon("a"), _daemon("a", "old", since_s=5)], {"a": (True, True)}), "", ["old-a"], [],
            id="two: the older stays",
        ),
        pytest.param(
            _nodes([_daemon("a"), _daemon("a", "old")], {"a": (True, True)}, maxSurge=1), "", ["old-a"], [],
            id="beside each other until the new one is available",
        ),
        pytest.param(
            _nodes([_daemon("a", ready=False), _daemon("a", "old")], {"a": (True, True)}, maxSurge=1), "", [], [],
            id="not yet",
        ),
    ],
)  # fmt: skip
def test_one_daemon_pod_where_one_belongs(
    view: daemons.View, create: str, delete: list[str], failed: list[str]
) -> None:
    found = daemons.manage(view)
    assert "".join(found.create) == create
    assert [p["metadata"]["name"] for p in found.delete] == delete
    assert [p["metadata"]["name"] for p in found.failed] == failed


OLD = [_daemon(node, "old") for node in "abc"]


@pytest.mark.parametrize(
    ("pods", "rolling", "create", "delete"),
    [
        pytest.param(OLD, {"maxUnavailable": 1}, "", ["old-a"], id="one at a time"),
        pytest.param(OLD, {"maxUnavailable": "67%"}, "", ["old-a", "old-b", "old-c"], id="a share, rounded up"),
        pytest.param([_daemon("a", ready=False), *OLD[1:]], {"maxUnavailable": 1}, "", [], id="one is not back yet"),
        pytest.param([*OLD[:2], _daemon("c", "old", ready=False)], {"maxUnavailable": 1}, "", ["old-c"], id="broken ones first"),
        pytest.param(OLD, {"maxSurge": 1, "maxUnavailable": 0}, "a", [], id="beside the old one"),
        pytest.param([*OLD, _daemon("a")], {"maxSurge": 1, "maxUnavailable": 0}, "b", ["old-a"], id="the old one goes then"),
    ],
)  # fmt: skip
def test_the_next_step_of_a_daemons_rollout(
    pods: list[Object], rolling: dict[str, Any], create: str, delete: list[str]
) -> None:
    found = daemons.roll(_nodes(pods, **rolling))
    assert "".join(found.create) == create
    assert [p["metadata"]["name"] for p in found.delete] == delete


# --- Job


def _job(status: Any = None, **spec: Any) -> Object:
    template = {"spec": {"restartPolicy": spec.pop("restartPolicy", "Never")}}
    return {"metadata": {"name": "j"}, "spec": {"template": template, **spec}, "status": status or {}}


@pytest.mark.parametrize(
    ("job", "counted", "expected"),
    [
        pytest.param(_job(completions=3), Tally(succeeded=3), "CompletionsReached", id="enough"),
        pytest.param(_job(completions=3), Tally(succeeded=3, active=[made("a")]), None, id="one still runs"),
        pytest.param(_job(), Tally(succeeded=1), "CompletionsReached", id="any success of a work queue"),
        pytest.param(_job(backoffLimit=2), Tally(failed=2), None, id="at the limit"),
        pytest.param(_job(backoffLimit=2), Tally(failed=3), "BackoffLimitExceeded", id="above it"),
        pytest.param(_job(suspend=True, completions=0), Tally(), None, id="suspended"),
        pytest.param(
            _job({"startTime": ago(61)}, activeDeadlineSeconds=60), Tally(), "DeadlineExceeded", id="too late",
        ),
        pytest.param(_job(), Tally(fail_job="said so"), "PodFailurePolicy", id="a rule"),
        pytest.param(
            _job({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "X"}]}), Tally(succeeded=1),
            "X", id="decided before",
        ),
        pytest.param(
            _job(completionMode="Indexed", completions=2, backoffLimitPerIndex=0, backoffLimit=jobs.NO_LIMIT),
            Tally(succeeded=1, succeeded_indexes={0: None}, failed_indexes={1: None}), "FailedIndexes", id="an index failed",
        ),
        pytest.param(
            _job(completionMode="Indexed", completions=9, backoffLimitPerIndex=0, maxFailedIndexes=0),
            Tally(failed_indexes={1: None}), "MaxFailedIndexesExceeded", id="too many indexes",
        ),
    ],
)  # fmt: skip
def test_what_a_job_comes_to(job: Object, counted: Tally, expected: str | None) -> None:
    found = jobs.outcome(job, counted, NOW)
    assert (found.reason if found else None) == expected


def test_restarts_inside_a_pod_count_towards_the_limit() -> None:
    pod = made("a")
    pod["status"]["containerStatuses"] = [{"restartCount": 2}]
    found = jobs.outcome(_job(restartPolicy="OnFailure", backoffLimit=2), Tally(active=[pod]), NOW)
    assert found is not None
    assert found.reason == "BackoffLimitExceeded"


@pytest.mark.parametrize(
    ("job", "counted", "create", "delete"),
    [
        pytest.param(_job(completions=5, parallelism=2), Tally(), 2, 0, id="as many as in parallel"),
        pytest.param(_job(completions=5, parallelism=3), Tally(succeeded=4), 1, 0, id="as many as are missing"),
        pytest.param(_job(completions=5, parallelism=1), Tally(active=[made("a"), made("b")]), 0, 1, id="too many"),
        pytest.param(_job(parallelism=3), Tally(succeeded=1, active=[made("a")]), 0, 0, id="a work queue that empties"),
        pytest.param(_job(suspend=True), Tally(active=[made("a")]), 0, 1, id="suspended"),
        pytest.param(_job(completions=2, parallelism=2, podReplacementPolicy="Failed"), Tally(terminating=1), 1, 0, id="waits until one has failed"),
        pytest.param(_job(completions=2, parallelism=2), Tally(terminating=1), 2, 0, id="does not wait"),
    ],
)  # fmt: skip
def test_which_pods_a_job_needs(job: Object, counted: Tally, create: int, delete: int) -> None:
    found = jobs.steps(job, counted, None)
    assert (found.create, len(found.delete)) == (create, delete)


def test_a_finished_pod_is_counted_once() -> None:
    """Noted in the status but still with its finalizer: it is in the sum only by the note."""
    done = made("done", phase="Succeeded", ready=None, finalizers=["batch.kubernetes.io/job-tracking"])
    noted = {"succeeded": 2, "uncountedTerminatedPods": {"succeeded": ["done"]}}
    assert tally(_job(), [done]).succeeded == 1
    assert tally(_job(noted), [done]).succeeded == 3


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 0), (1, 10), (2, 20), (7, 600), (40, 600)])
def test_a_job_backs_off(failures: int, wait_s: float) -> None:
    assert jobs.backoff_left_s(failures, NOW, NOW) == wait_s

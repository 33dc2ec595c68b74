"""Event correlation, adoption rules, deletion ranking, template hashes, slow start: pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.virtualtime import run_virtual
from cluster.api.errors import Forbidden
from cluster.api.objects import Object, timestamp
from cluster.api.selectors import of_map
from cluster.reconcile.correlation import COMBINED, Correlator
from cluster.reconcile.owners import claim
from cluster.reconcile.pods import available_in, by_deletion_rank
from cluster.reconcile.template import hash_of, same_template
from cluster.reconcile.together import slow_start

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(message: str, name: str = "p") -> Object:
    about = {"kind": "Pod", "namespace": "default", "name": name, "uid": "u", "apiVersion": "v1"}
    return {
        "involvedObject": about,
        "source": {"component": "c"},
        "type": "Normal",
        "reason": "R",
        "message": message,
    }


def store(correlator: Correlator, message: str, at_s: float) -> str | None:
    """What is written for an event: "new", "again", or nothing; with the text if it was changed."""
    verdict = correlator.judge(event(message), at_s)
    if verdict is None:
        return None
    count = verdict.known.count if verdict.known else 1
    stored = {"metadata": {"name": "n"}, "firstTimestamp": "t", "count": count}
    correlator.stored(verdict, stored)
    combined = " combined" if verdict.message.startswith(COMBINED) else ""
    return f"{count}{combined}"


def test_an_equal_event_raises_the_count() -> None:
    correlator = Correlator()
    assert [store(correlator, "same", n) for n in range(3)] == ["1", "2", "3"]


def test_the_tenth_different_message_is_combined() -> None:
    correlator = Correlator()
    written = [store(correlator, f"message {n}", n) for n in range(12)]
    assert written[:9] == ["1"] * 9
    assert written[9:] == ["1 combined", "2 combined", "3 combined"]


def test_more_than_25_at_once_are_spam_until_five_minutes_pass() -> None:
    correlator = Correlator()
    written = [store(correlator, "same", 0) for _ in range(30)]
    assert written[25:] == [None] * 5
    assert store(correlator, "same", 301) == "26"


def obj(name: str, owner: str = "", deleting: bool = False, app: str = "web") -> Object:
    meta: Object = {"name": name, "namespace": "default", "uid": name, "labels": {"app": app}}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "ReplicaSet", "name": owner}]
    if deleting:
        meta["deletionTimestamp"] = timestamp(NOW)
    return {"metadata": meta}


@pytest.mark.parametrize(
    ("owner_deleting", "candidate", "expected"),
    [
        pytest.param(False, obj("p", "me"), "kept", id="mine"),
        pytest.param(False, obj("p", "other"), "", id="another's"),
        pytest.param(False, obj("p"), "adopt", id="orphan"),
        pytest.param(False, obj("p", deleting=True), "", id="dying-orphan"),
        pytest.param(False, obj("p", app="db"), "", id="no-match"),
        pytest.param(False, obj("p", "me", app="db"), "release", id="mine-no-longer"),
        pytest.param(True, obj("p"), "", id="a-dying-owner-adopts-nothing"),
        pytest.param(True, obj("p", "me", app="db"), "", id="a-dying-owner-releases-nothing"),
    ],
)
def test_who_claims_what(owner_deleting: bool, candidate: Object, expected: str) -> None:
    owner = obj("me", deleting=owner_deleting)
    decided = claim(owner, of_map({"app": "web"}), [candidate])
    found = [name for name in ("kept", "adopt", "release") if getattr(decided, name)]
    assert found == ([expected] if expected else [])


def pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready_s: float | None = 100,
    restarts: int = 0,
    age_s: float = 1000,
    cost: str = "",
) -> Object:
    status: Object = {"phase": phase, "containerStatuses": [{"restartCount": restarts}]}
    if ready_s is not None:
        since = timestamp(NOW - timedelta(seconds=ready_s))
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    meta: Object = {"name": name, "uid": name, "creationTimestamp": timestamp(NOW - timedelta(seconds=age_s))}
    if cost:
        meta["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": cost}
    return {"metadata": meta, "spec": {"nodeName": node} if node else {}, "status": status}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(pod("z", node=""), pod("a"), id="unassigned"),
        pytest.param(pod("z", phase="Pending"), pod("a"), id="pending"),
        pytest.param(pod("z", ready_s=None), pod("a"), id="not-ready"),
        pytest.param(pod("z", cost="-1"), pod("a"), id="cheaper"),
        pytest.param(pod("z", ready_s=10), pod("a", ready_s=500), id="ready-for-less-time"),
        pytest.param(pod("z", restarts=3), pod("a"), id="more-restarts"),
        pytest.param(pod("z", age_s=10), pod("a"), id="younger"),
        pytest.param(pod("a"), pod("z"), id="by-uid"),
    ],
)
def test_who_is_deleted_first(first: Object, second: Object) -> None:
    for pods in ([first, second], [second, first]):
        assert by_deletion_rank(pods, [], NOW)[0] is first


def test_a_crowded_node_loses_first() -> None:
    crowded, lonely = pod("z", node="n2"), pod("a")
    assert by_deletion_rank([lonely, crowded], [lonely, crowded, pod("x", node="n2")], NOW)[0] is crowded


@pytest.mark.parametrize(
    ("ready_s", "min_ready_s", "expected"), [(None, 0, None), (5, 0, 0), (5, 20, 15), (30, 20, 0)]
)
def test_availability(ready_s: float | None, min_ready_s: int, expected: float | None) -> None:
    assert available_in(pod("p", ready_s=ready_s), min_ready_s, NOW) == expected


def test_the_hash_is_stable_whatever_the_order_and_moves_with_collisions() -> None:
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert len({hash_of({"a": 1}), hash_of({"a": 1}, 0), hash_of({"a": 1}, 1), hash_of({"a": 2})}) == 4


def test_the_hash_label_does_not_make_a_template_another() -> None:
    template: Any = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    hashed = {"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}}, "spec": {"containers": []}}
    assert same_template(template, hashed)
    assert not same_template(template, hashed | {"spec": {"containers": [1]}})


def test_slow_start_asks_once_for_what_is_always_refused() -> None:
    asked: list[int] = []

    async def refuse(number: int) -> None:
        asked.append(number)
        if number >= 3:
            raise Forbidden("exceeded quota")

    done, error = run_virtual(slow_start(1000, refuse))
    assert (len(done), len(asked)) == (3, 7)
    assert error is not None

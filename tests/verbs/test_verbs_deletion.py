"""Marks, finalizers, propagation, namespaces, evictions."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.objects import Object
from cluster.server.call import DeleteOptions, ListOptions


def pod(name: str = "p", **labels: str) -> Object:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


async def test_complete_deletion_answers_with_a_status(api: Any) -> None:
    made = await api.create(kinds.DEPLOYMENTS, _deployment())
    answer = await api.delete(kinds.DEPLOYMENTS, "web")
    assert answer == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "web", "group": "apps", "kind": "deployments", "uid": made["metadata"]["uid"]},
    }


def _deployment() -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }


@pytest.mark.parametrize(
    ("propagation", "finalizer"),
    [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")],
    ids=["foreground", "orphan"],
)
async def test_propagation_waits_for_the_garbage_collector(
    api: Any, propagation: str, finalizer: str
) -> None:
    await api.create(kinds.DEPLOYMENTS, _deployment())
    await api.delete(kinds.DEPLOYMENTS, "web", propagation=propagation)
    held = await api.get(kinds.DEPLOYMENTS, "web")
    assert held["metadata"]["finalizers"] == [finalizer]
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert held["metadata"]["generation"] == 2
    await api.merge(kinds.DEPLOYMENTS, "web", {"metadata": {"finalizers": None}})
    with pytest.raises(errors.NotFound):
        await api.get(kinds.DEPLOYMENTS, "web")


async def test_namespace_ends_when_both_kinds_of_finalizers_are_gone(api: Any) -> None:
    made = await api.create(kinds.NAMESPACES, {"metadata": {"name": "team"}})
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    await api.delete(kinds.NAMESPACES, "team")
    ending = await api.get(kinds.NAMESPACES, "team")
    assert ending["status"]["phase"] == "Terminating"
    with pytest.raises(errors.Forbidden, match="because it is being terminated") as caught:
        await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a"}}, namespace="team")
    assert caught.value.causes[0].reason == "NamespaceTerminating"
    body = {**ending, "spec": {}}
    await api.update(kinds.NAMESPACES, body, subresource="finalize")
    with pytest.raises(errors.NotFound):
        await api.get(kinds.NAMESPACES, "team")


async def test_system_namespaces_stay(api: Any) -> None:
    with pytest.raises(errors.Forbidden, match="this namespace may not be deleted"):
        await api.delete(kinds.NAMESPACES, "kube-system")


async def test_delete_collection_takes_what_matches(api: Any) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": name, "labels": {"app": app}}})
    call = api.call(kinds.CONFIG_MAPS)
    await api.verbs.delete_collection(call, ListOptions(label_selector="app=x"), DeleteOptions())
    assert [entry.key.name for entry in (await api.page(kinds.CONFIG_MAPS)).entries] == ["b"]


async def _running(api: Any, name: str) -> None:
    await api.create(kinds.PODS, pod(name, app="web"))
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.merge(kinds.PODS, name, {"status": status}, subresource="status")


async def _evict(api: Any, name: str) -> Object:
    call = api.call(kinds.PODS, name, subresource="eviction")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    answer: Object = (await api.verbs.create(call, body)).object
    return answer


async def test_eviction_spends_the_budget_once(api: Any) -> None:
    """Of two evictions with one allowed disruption the second is told to come again."""
    for name in ("a", "b"):
        await _running(api, name)
    budget = {
        "metadata": {"name": "pdb"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    await api.create(kinds.POD_DISRUPTION_BUDGETS, budget)
    status = {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1,
        "expectedPods": 2,
    }  # fmt: skip
    await api.merge(kinds.POD_DISRUPTION_BUDGETS, "pdb", {"status": status}, subresource="status")
    assert (await _evict(api, "a"))["status"] == "Success"
    booked = (await api.get(kinds.POD_DISRUPTION_BUDGETS, "pdb"))["status"]
    assert (booked["disruptionsAllowed"], list(booked["disruptedPods"])) == (0, ["a"])
    with pytest.raises(errors.TooManyRequests, match="violate the pod's disruption budget") as caught:
        await _evict(api, "b")
    assert caught.value.causes[0].message == (
        "The disruption budget pdb needs 1 healthy pods and has 2 currently"
    )

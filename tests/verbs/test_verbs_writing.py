"""Create, update, patch: what the server fills in, keeps, refuses."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.objects import Object, copy_of


def deployment(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


async def test_generation_counts_changes_of_the_spec(api: Any) -> None:
    """Labels and status leave it; the spec and (for Deployments) annotations raise it."""
    made = await api.create(kinds.DEPLOYMENTS, deployment(replicas=1))
    assert made["metadata"]["generation"] == 1
    labelled = await api.merge(kinds.DEPLOYMENTS, "web", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 1
    status = await api.merge(kinds.DEPLOYMENTS, "web", {"status": {"replicas": 1}}, subresource="status")
    assert (status["metadata"]["generation"], status["status"]["replicas"]) == (1, 1)
    scaled = await api.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 2}})
    assert scaled["metadata"]["generation"] == 2
    annotated = await api.merge(kinds.DEPLOYMENTS, "web", {"metadata": {"annotations": {"x": "y"}}})
    assert annotated["metadata"]["generation"] == 3


async def test_identity_can_not_be_changed(api: Any) -> None:
    made = await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a"}})
    body = copy_of(made)
    body["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z"
    body["metadata"]["deletionTimestamp"] = "2000-01-01T00:00:00Z"
    body["data"] = {"k": "v"}
    after = await api.update(kinds.CONFIG_MAPS, body)
    assert after["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert "deletionTimestamp" not in after["metadata"]
    body = copy_of(after)
    body["metadata"]["uid"] = "another"
    with pytest.raises(errors.Conflict, match="Precondition failed: UID in precondition: another, UID in"):
        await api.update(kinds.CONFIG_MAPS, body)


async def test_names_in_path_and_body_must_agree(api: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}
    await api.create(kinds.CONFIG_MAPS, body)
    with pytest.raises(
        errors.BadRequest, match=r"the name of the object \(b\) does not match the name on the URL \(a\)"
    ):
        await api.verbs.update(api.call(kinds.CONFIG_MAPS, "a"), body)
    body["metadata"]["namespace"] = "kube-system"
    with pytest.raises(errors.BadRequest, match="namespace of the provided object does not match"):
        await api.update(kinds.CONFIG_MAPS, body)


async def test_dry_run_answers_and_stores_nothing(api: Any) -> None:
    revision = api.store.revision
    made = await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a"}}, dry_run=True)
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert api.store.revision == revision
    await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a"}})
    changed = await api.merge(kinds.CONFIG_MAPS, "a", {"data": {"k": "v"}}, dry_run=True)
    assert changed["data"] == {"k": "v"}
    assert "data" not in await api.get(kinds.CONFIG_MAPS, "a")


async def test_create_on_update_only_where_the_kind_allows(api: Any) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    call = api.call(kinds.LEASES, "l")
    assert (await api.verbs.update(call, lease)).object["metadata"]["uid"]
    assert call.created
    with pytest.raises(errors.Invalid, match="must be specified for an update"):
        await api.update(kinds.LEASES, lease)
    with pytest.raises(errors.NotFound, match='configmaps "a" not found'):
        await api.update(
            kinds.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        )


async def test_resource_version_is_refused_on_create(api: Any) -> None:
    with pytest.raises(errors.ApiError, match="resourceVersion should not be set on objects to be created"):
        await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a", "resourceVersion": "5"}})


async def test_who_wrote_which_field_is_kept(api: Any) -> None:
    await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    other = api.call(kinds.CONFIG_MAPS, "a")
    other.field_manager = "other"
    from cluster.api.client import PatchType

    after = (await api.verbs.patch(other, PatchType.MERGE, {"data": {"m": "2"}})).object
    owned = {e["manager"]: e["fieldsV1"]["f:data"] for e in after["metadata"]["managedFields"]}
    assert owned == {"test": {".": {}, "f:k": {}}, "other": {"f:m": {}}}


async def test_hpa_is_one_object_in_two_versions(api: Any) -> None:
    body = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 70,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        },
    }
    v1 = next(
        r for r in api.verbs.registry.all() if r.plural == "horizontalpodautoscalers" and r.version == "v1"
    )
    made = await api.create(v1, body)
    assert (made["apiVersion"], made["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 70)
    stored = await api.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "h")
    assert stored["apiVersion"] == "autoscaling/v2"
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    changed = await api.merge(v1, "h", {"spec": {"maxReplicas": 9}})
    assert changed["spec"]["maxReplicas"] == 9


async def test_job_selects_its_own_pods(api: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = await api.create(kinds.JOBS, {"metadata": {"name": "j"}, "spec": {"template": template}})
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert job["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
    ids=["nothing", "request only", "limits become requests", "less than the limit"],
)
async def test_new_pod_has_its_quality_of_service(api: Any, resources: Object, expected: str) -> None:
    containers = [{"name": "c", "image": "i", "resources": resources}]
    pod = await api.create(kinds.PODS, {"metadata": {"name": "p"}, "spec": {"containers": containers}})
    assert pod["status"] == {"phase": "Pending", "qosClass": expected}

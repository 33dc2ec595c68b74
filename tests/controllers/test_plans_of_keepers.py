"""The pure decisions of the controllers that keep things in order, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest

from cluster.api.objects import Object, condition_of, timestamp
from cluster.api.registry import Registry
from cluster.controllers import certificates, event_expiry, ttl_after_finished
from cluster.controllers.endpoints import membership
from cluster.controllers.garbage.collector import Owners, decide
from cluster.controllers.load_balancer import choose
from cluster.controllers.namespaces import Remains, conditions_of
from cluster.controllers.resource_quota import counted_resources
from cluster.controllers.role_aggregation import aggregated
from cluster.controllers.volumes import ephemeral, provisioner, resizer

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GONE: Object = {"uid": "gone"}
THERE: Object = {"uid": "there"}


def ago(seconds: float) -> str:
    return timestamp(NOW - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("owners", "finalizers", "has_dependents", "policy"),
    [
        pytest.param(Owners(dangling=[GONE]), [], False, "Background", id="all owners are gone"),
        pytest.param(Owners(solid=[THERE], dangling=[GONE]), [], False, None, id="one is left"),
        pytest.param(Owners(unknown=True, dangling=[GONE]), [], False, None, id="one can't be asked"),
        pytest.param(Owners(waiting=[THERE]), [], True, "Foreground", id="an owner waits, dependents too"),
        pytest.param(Owners(waiting=[THERE]), [], False, "Background", id="an owner waits"),
        pytest.param(Owners(dangling=[GONE]), ["orphan"], True, "Orphan", id="it leaves orphans"),
        pytest.param(Owners(dangling=[GONE]), ["foregroundDeletion"], True, "Foreground", id="it waits itself"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_dependent(
    owners: Owners, finalizers: list[str], has_dependents: bool, policy: str | None
) -> None:
    obj = {"metadata": {"finalizers": finalizers}}
    assert decide(obj, owners, has_dependents=has_dependents) == policy


def _role(name: str, *verbs: str, label: str = "yes") -> Object:
    rules = [{"verbs": [verb]} for verb in verbs]
    return {"metadata": {"name": name, "labels": {"part": label}}, "rules": rules}


def test_an_aggregated_role_has_each_rule_once_in_order_of_names() -> None:
    form = {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}, {"matchLabels": {"part": "also"}}]}
    whole = _role("whole") | {"aggregationRule": form}
    roles = [
        whole,
        _role("b", "get", "list"),
        _role("a", "list"),
        _role("c", "watch", label="also"),
        _role("d", "x", label="no"),
    ]
    assert [rule["verbs"][0] for rule in aggregated(whole, roles)] == ["list", "get", "watch"]


@pytest.mark.parametrize(
    ("taken", "wanted", "expected"),
    [
        pytest.param(set(), "", "10.0.0.2", id="the first that is not reserved"),
        pytest.param({"10.0.0.2", "10.0.0.3"}, "", "10.0.0.4", id="the next"),
        pytest.param(set(), "10.0.0.5", "10.0.0.5", id="the wanted one"),
        pytest.param({"10.0.0.5"}, "10.0.0.5", "10.0.0.2", id="taken"),
        pytest.param(set(), "10.0.0.1", "10.0.0.2", id="reserved for the ingresses"),
        pytest.param(set(), "10.1.0.1", "10.0.0.2", id="not of the pool"),
        pytest.param({f"10.0.0.{n}" for n in range(8)}, "", None, id="empty"),
    ],
)
def test_which_address_a_load_balancer_gets(taken: set[str], wanted: str, expected: str | None) -> None:
    assert choose(IPv4Network("10.0.0.0/29"), taken, wanted) == expected


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param({"ttlSecondsAfterFinished": 60}, NOW - timedelta(seconds=40), id="complete"),
        pytest.param({}, None, id="no time to live"),
    ],
)
def test_when_a_finished_job_goes(job: Object, expected: datetime | None) -> None:
    done = {"type": "Complete", "status": "True", "lastTransitionTime": ago(100)}
    body = {"metadata": {}, "spec": job, "status": {"conditions": [done]}}
    assert ttl_after_finished.expires_at(body) == expected
    assert ttl_after_finished.expires_at(body | {"status": {}}) is None


@pytest.mark.parametrize(
    ("fields", "expected_s"),
    [
        pytest.param({}, 900, id="created"),
        pytest.param({"lastTimestamp": ago(300)}, 300, id="repeated"),
        pytest.param({"eventTime": ago(200), "series": {"lastObservedTime": ago(10)}}, 10, id="a series"),
    ],
)
def test_when_an_event_was_last_seen(fields: Object, expected_s: float) -> None:
    event = {"metadata": {"creationTimestamp": ago(900)}, **fields}
    assert (NOW - event_expiry.last_seen(event)).total_seconds() == expected_s


def _condition(type: str, at_s: float) -> Object:
    return {"type": type, "status": "True", "lastUpdateTime": ago(at_s)}


@pytest.mark.parametrize(
    ("conditions", "left_s"),
    [
        pytest.param([], 86_400 - 3000, id="pending for a day"),
        pytest.param([_condition("Approved", 600)], 3000, id="approved: an hour"),
        pytest.param([_condition("Denied", 3700)], -100, id="denied: over"),
    ],
)
def test_how_long_a_signing_request_is_kept(conditions: list[Object], left_s: float) -> None:
    request = {"metadata": {"creationTimestamp": ago(3000)}, "status": {"conditions": conditions}}
    assert (certificates.expires_at(request) - NOW).total_seconds() == left_s


@pytest.mark.parametrize(
    ("signer", "usages", "refused"),
    [
        ("kubernetes.io/kube-apiserver-client", ["client auth"], False),
        ("kubernetes.io/kube-apiserver-client", ["client auth", "digital signature"], False),
        ("kubernetes.io/kube-apiserver-client", ["server auth"], True),
        ("kubernetes.io/kube-apiserver-client", ["client auth", "server auth"], True),
        ("kubernetes.io/kubelet-serving", ["server auth", "key encipherment"], False),
        ("kubernetes.io/legacy-unknown", ["code signing"], False),
    ],
)
def test_what_a_signer_signs_for(signer: str, usages: list[str], refused: bool) -> None:
    assert bool(certificates.objection(signer, usages)) is refused


@pytest.mark.parametrize(
    ("remains", "type", "status", "reason", "message"),
    [
        pytest.param(Remains(), "NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed", id="empty"),
        pytest.param(
            Remains(counts={"pods.": 2, "configmaps.": 1}), "NamespaceContentRemaining", "True", "SomeResourcesRemain",
            "Some resources are remaining: configmaps. has 1 resource instances, pods. has 2 resource instances", id="left",
        ),
        pytest.param(
            Remains(finalizers={"example.com/hold": 3}), "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 3 resource instances", id="held",
        ),
        pytest.param(
            Remains(errors=["unexpected items"]), "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed",
            "Failed to delete all resource types, unexpected items", id="refused",
        ),
    ],
)  # fmt: skip
def test_what_a_terminating_namespace_says(
    remains: Remains, type: str, status: str, reason: str, message: str
) -> None:
    conditions = conditions_of({}, remains, NOW)
    found = condition_of({"status": {"conditions": conditions}}, type) or {}
    assert (found["status"], found["reason"], found["message"]) == (status, reason, message)
    assert len(conditions) == 5


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        (["pods"], ["pods"]),
        (["requests.cpu", "limits.memory"], ["pods"]),
        (["requests.storage"], ["persistentvolumeclaims"]),
        (["gold.storageclass.storage.k8s.io/persistentvolumeclaims"], ["persistentvolumeclaims"]),
        (["services.nodeports"], ["services"]),
        (["count/deployments.apps", "count/configmaps"], ["deployments.apps", "configmaps"]),
        (["count/nothing.example.com"], []),
    ],
)
def test_whose_objects_a_quota_counts(hard: list[str], expected: list[str]) -> None:
    assert [r.qualified for r in counted_resources(hard, Registry())] == expected


def _pod(**more: Any) -> Object:
    named = {"name": "web", "containerPort": 8080, "protocol": "TCP"}
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": [{"name": "admin", "containerPort": 9}]}
    start = {"name": "i", "ports": [{"name": "never", "containerPort": 7}]}
    spec = {"containers": [{"name": "c", "ports": [named]}], "initContainers": [start, sidecar]}
    return {
        "metadata": {"name": "p"},
        "spec": spec | more,
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}]},
    }


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        pytest.param({"port": 80}, 80, id="the same"),
        pytest.param({"port": 80, "targetPort": 8000}, 8000, id="a number"),
        pytest.param({"port": 80, "targetPort": 0}, 80, id="none said"),
        pytest.param({"port": 80, "targetPort": "web"}, 8080, id="a name"),
        pytest.param({"port": 80, "targetPort": "web", "protocol": "UDP"}, None, id="of another protocol"),
        pytest.param({"port": 80, "targetPort": "admin"}, 9, id="of a sidecar"),
        pytest.param({"port": 80, "targetPort": "never"}, None, id="of what has ended"),
    ],
)
def test_where_a_services_port_leads(port: Object, expected: int | None) -> None:
    assert membership.port_number(_pod(), port) == expected


def test_which_pods_have_an_address_to_show() -> None:
    going = _pod()
    going["metadata"]["deletionTimestamp"] = ago(1)
    assert membership.belongs(_pod(), include_terminating=False)
    assert not membership.belongs(going, include_terminating=False)
    assert membership.belongs(going, include_terminating=True)
    assert not membership.belongs(
        _pod() | {"status": {"phase": "Failed", "podIP": "1.2.3.4"}}, include_terminating=True
    )
    assert membership.addresses_of(_pod(), "IPv6") == ["fd::1"]
    named, service = _pod(hostname="h", subdomain="s"), {"metadata": {"name": "s"}}
    assert membership.hostname_of(named, service) == "h"
    assert membership.hostname_of(named, {"metadata": {"name": "other"}}) == ""


# --- volumes


def _claim(phase: str = "Bound", has: str | None = "1Gi", wants: str = "2Gi") -> Object:
    status: Object = {"phase": phase}
    if has:
        status["capacity"] = {"storage": has}
    return {"spec": {"resources": {"requests": {"storage": wants}}}, "status": status}


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        pytest.param(_claim(), True, id="asks for more"),
        pytest.param(_claim(wants="1024Mi"), False, id="as much as it has"),
        pytest.param(_claim("Pending"), False, id="not bound"),
        pytest.param(_claim(has=None), False, id="nothing yet"),
    ],
)
def test_which_claims_grow(claim: Object, expected: bool) -> None:
    assert resizer.wants_more(claim) is expected


@pytest.mark.parametrize(
    ("parameters", "source", "pinned"),
    [
        pytest.param({}, "hostPath", False, id="everywhere"),
        pytest.param({"local": "true"}, "hostPath", True, id="a disk of the node"),
        pytest.param({"csi": "true"}, "csi", False, id="to be attached"),
    ],
)
def test_what_volume_is_made(parameters: dict[str, str], source: str, pinned: bool) -> None:
    meta = {"name": "c", "namespace": "n", "uid": "u", "resourceVersion": "1"}
    claim = {"metadata": meta, "spec": _claim()["spec"] | {"accessModes": ["ReadWriteOnce"]}}
    chosen = {"metadata": {"name": "fast"}, "parameters": parameters, "reclaimPolicy": "Retain"}
    node = {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "host-1"}}}
    made = provisioner.new_volume(claim, chosen, node)
    assert made["metadata"]["name"] == "pvc-u"
    assert source in made["spec"]
    assert ("nodeAffinity" in made["spec"]) is pinned
    assert (made["spec"]["capacity"], made["spec"]["persistentVolumeReclaimPolicy"]) == (
        {"storage": "2Gi"},
        "Retain",
    )


def test_the_claim_of_an_ephemeral_volume_belongs_to_its_pod() -> None:
    template = {
        "metadata": {"labels": {"a": "b"}, "name": "ignored"},
        "spec": {"accessModes": ["ReadWriteOnce"]},
    }
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"}}
    made = ephemeral.claim_for(pod, volume)
    assert (made["metadata"]["name"], made["metadata"]["labels"]) == ("p-scratch", {"a": "b"})
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert made["spec"] == template["spec"]

"""The audit log: which requests are in it, how much of them, and what it says of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from live_server import LiveServer, live_server

from broker.clock import SystemClock
from cluster.server.auth.attributes import Attributes
from cluster.server.call import User
from cluster.server.http.audit import AuditLog
from cluster.server.http.audit_policy import EVERYTHING, Level, read, rule_of

MAPS = "/api/v1/namespaces/default/configmaps"
JANE = User(name="jane", groups=("dev", "system:authenticated"))


def policy(*rules: dict[str, Any], **more: Any) -> Any:
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}


def level(rules: Any, *asked: str, **more: str) -> Level:
    rule = rule_of(read(policy(*rules)), Attributes(JANE, *asked, **more))
    return rule.level if rule else Level.NONE


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"users": ["joe"]}, False),
        ({"userGroups": ["dev"]}, True),
        ({"verbs": ["update", "patch"]}, False),
        ({"namespaces": ["default"]}, True),
        ({"namespaces": ["other"]}, False),
        ({"resources": [{"group": "apps", "resources": ["deployments"]}]}, True),
        ({"resources": [{"group": "apps"}]}, True),
        ({"resources": [{"group": ""}]}, False),
        ({"resources": [{"group": "apps", "resources": ["deployments/*"]}]}, False),
        ({"resources": [{"group": "apps", "resources": ["deployments"], "resourceNames": ["db"]}]}, False),
        ({"nonResourceURLs": ["/healthz*"]}, False),
    ],
)
def test_a_rule_fits(rule: dict[str, Any], fits: bool) -> None:
    asked = ("get", "apps", "v1", "deployments", "", "default", "web")
    assert (level([{"level": "Request", **rule}], *asked) is Level.REQUEST) is fits


def test_the_first_rule_that_fits_decides() -> None:
    rules = [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/version"]},
        {"level": "RequestResponse", "resources": [{"group": "", "resources": ["pods/exec", "*/scale"]}]},
        {"level": "Metadata"},
    ]
    assert level(rules, "get", path="/healthz/ping") is Level.NONE
    assert level(rules, "create", "", "v1", "pods", "exec", "default", "a") is Level.RESPONSE
    assert (
        level(rules, "update", "", "v1", "replicationcontrollers", "scale", "default", "a") is Level.RESPONSE
    )
    assert level(rules, "get", "", "v1", "pods", "", "default", "a") is Level.METADATA
    assert level([{"level": "None"}], "get", path="/x") is Level.NONE


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"kind": "Pod"}, "it is no Policy"),
        (policy() | {"apiVersion": "audit.k8s.io/v1beta1"}, "apiVersion is 'audit.k8s.io/v1beta1'"),
        (policy(), "it has no rules"),
        (policy({"level": "Some"}), r"rules\[0\].level is 'Some'"),
        (policy({"level": "None", "verb": ["get"]}), r"rules\[0\] has unknown fields: verb"),
        (policy({"level": "None", "omitStages": ["Begin"]}), "'Begin' is none of"),
        (policy({"level": "None", "namespaces": ["a"], "nonResourceURLs": ["/a"]}), "at once"),
    ],
)
def test_a_policy_with_a_mistake_is_refused(document: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(document)


class Logged:
    def __init__(self, live: LiveServer, path: Path) -> None:
        self.live = live
        self._path = path

    def events(self, audit_id: str) -> list[Any]:
        lines = self._path.read_bytes().splitlines()
        return [event for event in map(orjson.loads, lines) if event["auditID"] == audit_id]

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> list[Any]:
        """The events of one request."""
        reply = await self.live.call(method, path, body, **more)
        return self.events(reply.headers["Audit-Id"])


@pytest.fixture
async def logged(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Logged]:
    path = tmp_path / "audit.log"
    rules = read(request.param) if hasattr(request, "param") else EVERYTHING
    with path.open("ab", buffering=0) as file:
        async with live_server(tmp_path, audit=AuditLog(file, clock=SystemClock(), rules=rules)) as live:
            yield Logged(live, path)


async def test_a_request_is_logged_when_it_comes_and_when_it_is_answered(logged: Logged) -> None:
    first, last = await logged.call("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "a"}})
    assert (first["stage"], last["stage"]) == ("RequestReceived", "ResponseComplete")
    assert last["level"] == "Metadata"
    assert (last["verb"], last["requestURI"]) == ("create", f"{MAPS}?dryRun=All")
    assert last["user"]["username"] == "kubernetes-admin"
    assert last["sourceIPs"] == ["127.0.0.1"]
    assert last["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert last["responseStatus"] == {"metadata": {}, "code": 201}
    assert last["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert not {"requestObject", "responseObject"} & last.keys()
    assert "responseStatus" not in first


async def test_a_refusal_says_why(logged: Logged) -> None:
    _, last = await logged.call("GET", MAPS, token="secret-of-jane")
    assert (last["responseStatus"]["code"], last["responseStatus"]["reason"]) == (403, "Forbidden")
    assert last["annotations"]["authorization.k8s.io/decision"] == "forbid"
    headers = {"Impersonate-User": "joe"}
    _, last = await logged.call("GET", f"{MAPS}/x", headers=headers)
    assert (last["user"]["username"], last["impersonatedUser"]["username"]) == ("kubernetes-admin", "joe")


@pytest.mark.parametrize(
    "logged",
    [
        policy(
            {"level": "RequestResponse", "resources": [{"group": "", "resources": ["configmaps"]}]},
            {"level": "None"},
            omitStages=["RequestReceived"],
            omitManagedFields=True,
        )
    ],
    indirect=True,
)
async def test_bodies_are_logged_where_the_policy_wants_them(logged: Logged) -> None:
    body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
    (event,) = await logged.call("POST", MAPS, body)
    assert (event["level"], event["requestObject"]) == ("RequestResponse", body)
    assert event["responseObject"]["data"] == {"k": "v"}
    assert "managedFields" not in event["responseObject"]["metadata"]
    (event,) = await logged.call("GET", MAPS)
    assert "a" in [item["metadata"]["name"] for item in event["responseObject"]["items"]]
    assert await logged.call("GET", "/api/v1/namespaces") == []
    kept = (await logged.live.get(f"{MAPS}/a")).expect(200)
    assert kept["metadata"]["managedFields"]


async def test_what_admission_found_is_annotated(logged: Logged) -> None:
    labels = {
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/enforce": "baseline",
    }
    namespace = {"metadata": {"name": "audited", "labels": labels}}
    (await logged.live.call("POST", "/api/v1/namespaces", namespace)).expect(201)
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    _, last = await logged.call("POST", "/api/v1/namespaces/audited/pods", pod)
    assert last["responseStatus"]["code"] == 201
    prefix = "pod-security.kubernetes.io/"
    assert last["annotations"][f"{prefix}enforce-policy"] == "baseline:latest"
    assert last["annotations"][f"{prefix}audit-violations"].startswith(
        'would violate PodSecurity "restricted:'
    )


async def test_what_a_policy_only_audits_is_annotated(logged: Logged) -> None:
    base, kind = "/apis/admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}, {"expression": "has(object.data)", "message": "no data"}],
    }
    body = {"kind": kind, "metadata": {"name": "p"}, "spec": spec}
    (await logged.live.call("POST", f"{base}/validatingadmissionpolicies", body)).expect(201)
    spec = {"policyName": "p", "validationActions": ["Audit"]}
    body = {"kind": f"{kind}Binding", "metadata": {"name": "b"}, "spec": spec}
    (await logged.live.call("POST", f"{base}/validatingadmissionpolicybindings", body)).expect(201)
    for number in range(600):
        _, last = await logged.call("POST", MAPS, {"metadata": {"name": f"a{number}"}})
        assert last["responseStatus"]["code"] == 201
        noted = last["annotations"].get("validation.policy.admission.k8s.io/validation_failure")
        if noted:
            break
        await asyncio.sleep(0.05)
    assert orjson.loads(noted) == [
        {
            "message": "no data",
            "policy": "p",
            "binding": "b",
            "expressionIndex": 1,
            "validationActions": ["Audit"],
        }
    ]

"""What the conformance suite asks of admission policies, and what else they promise.

[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] …; their "API operations" specs are in
`tests/conformance/test_life_of_each_kind`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from extended import CRONTABS, crontab, define, definition
from hooks import MUTATING as MUTATING_WEBHOOKS
from hooks import PORT, Hooks, add, configured, patches
from live_server import LiveServer
from own_server import own_server
from test_policies import MAPS, bind, config, rules

from cluster.api.kinds import (
    DEPLOYMENTS,
    MUTATING_ADMISSION_POLICIES,
    MUTATING_ADMISSION_POLICY_BINDINGS,
    PODS,
)
from cluster.api.objects import Object


def deployment(replicas: int) -> Object:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": pod}
    return {"metadata": {"name": f"d{replicas}"}, "spec": spec}


async def test_a_deployment_is_validated(server: LiveServer) -> None:
    """should validate against a Deployment"""
    validation = {
        "expression": "object.spec.replicas > 1",
        "messageExpression": "'wants more than 1 replica, has ' + string(object.spec.replicas)",
    }
    await bind(server, {"matchConstraints": rules("deployments", group="apps"), "validations": [validation]})
    path = DEPLOYMENTS.path("default")
    (await server.call("POST", path, deployment(2))).expect(201)
    refused = (await server.call("POST", path, deployment(1))).expect(422)
    assert refused["message"] == (
        "deployments.apps \"d1\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: wants "
        "more than 1 replica, has 1"
    )
    assert refused["details"]["causes"][0]["message"].startswith("ValidatingAdmissionPolicy 'p'")


async def test_expressions_refer_to_variables(server: LiveServer) -> None:
    """should allow expressions to refer variables, and those to each other"""
    spec = {
        "matchConstraints": rules("deployments", group="apps"),
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}],
    }
    await bind(server, spec)
    path = DEPLOYMENTS.path("default")
    (await server.call("POST", path, deployment(3))).expect(201)
    for replicas, failed in ((1, "variables.replicas > 1"), (4, "variables.oddReplicas")):
        refused = (await server.call("POST", path, deployment(replicas))).expect(422)
        assert refused["message"].endswith(f"failed expression: {failed}")


async def test_every_policy_has_its_say(server: LiveServer) -> None:
    """A warning of a later binding comes with the denial of an earlier one."""
    await bind(server, {"matchConstraints": rules("configmaps"), "validations": [{"expression": "false"}]})
    binding = {"metadata": {"name": "c"}, "spec": {"policyName": "p", "validationActions": ["Warn"]}}
    from test_policies import BINDINGS

    (await server.call("POST", BINDINGS, binding)).expect(201)
    refused = await server.call("POST", MAPS, config())
    assert refused.status == 422
    assert "with binding 'c': failed expression: false" in refused.headers["Warning"]


@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("object.metadata.name", 201, ""),
        ("null", 201, ""),
        (
            "object.data.missing",
            422,
            "expression 'object.data.missing' resulted in error: no such key: missing",
        ),
        (
            "object.data.size()",
            422,
            "valueExpression 'object.data.size()' resulted in unsupported return type: int. Return type must be "
            "either string or null.",
        ),
    ],
)
async def test_audit_annotations_must_come_out(
    server: LiveServer, expression: str, code: int, said: str
) -> None:
    annotation = {"key": "k", "valueExpression": expression}
    await bind(server, {"matchConstraints": rules("configmaps"), "auditAnnotations": [annotation]})
    made = await server.call("POST", MAPS, config(a="1"))
    assert made.status == code
    assert made.json.get("message", "").endswith(said)


async def test_parameters_of_a_custom_kind_come_in_the_version_named(server: LiveServer) -> None:
    """Conditions see them too; without any, the binding says what happens."""
    body = definition()
    body["spec"]["versions"].append({**body["spec"]["versions"][0], "name": "v2", "storage": False})
    await define(server, body)
    spec = {
        "paramKind": {"apiVersion": "stable.example.com/v2", "kind": "CronTab"},
        "matchConstraints": rules("configmaps"),
        "matchConditions": [{"name": "c", "expression": "params.apiVersion == 'stable.example.com/v2'"}],
        "validations": [{"expression": "object.data.size() < params.spec.replicas"}],
    }
    reference = {"selector": {}, "parameterNotFoundAction": "Deny"}
    await bind(server, spec, paramRef=reference)
    refused = (await server.call("POST", MAPS, config(a="1"))).expect(422)
    assert refused["message"].endswith(
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    (await server.call("POST", CRONTABS, crontab(replicas=2))).expect(201)
    (await server.call("POST", MAPS, config("fits", a="1"))).expect(201)
    (await server.call("POST", MAPS, config("many", a="1", b="2"))).expect(422)


# --- mutating policies


async def mutating(server: LiveServer, name: str, expression: str, reinvocation: str, **spec: Any) -> None:
    body = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": rules("configmaps"), "failurePolicy": "Fail", "reinvocationPolicy": reinvocation,
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
            ],
            **spec,
        },
    }  # fmt: skip
    (await server.call("POST", MUTATING_ADMISSION_POLICIES.path(), body)).expect(201)
    binding = {"metadata": {"name": name}, "spec": {"policyName": name}}
    (await server.call("POST", MUTATING_ADMISSION_POLICY_BINDINGS.path(), binding)).expect(201)


@pytest.fixture
async def hooks(server: LiveServer, tmp_path: Path) -> AsyncIterator[Hooks]:
    async with own_server(tmp_path) as own:
        await own.be_service(server, PORT)
        yield Hooks(own)


@pytest.mark.parametrize(("reinvocation", "size"), [("IfNeeded", "2"), ("Never", "1")])
async def test_policies_run_again_after_webhooks(
    server: LiveServer, hooks: Hooks, reinvocation: str, size: str
) -> None:
    """What the webhook adds is counted by the policy that wants to know, though policies come first."""
    counted = "Object{metadata: Object.metadata{annotations: {'size': string(object.data.size())}}}"
    await mutating(server, "count", counted, reinvocation)
    await configured(server, MUTATING_WEBHOOKS, hooks.hook("h", patches(add("/data/more", "1"))))
    made = (await server.call("POST", MAPS, config(own="1"))).expect(201)
    assert made["data"] == {"own": "1", "more": "1"}
    assert made["metadata"]["annotations"] == {"size": size}


async def test_a_container_is_added_to_pods(server: LiveServer) -> None:
    """A sidecar, once, by name: lists merge as server-side apply merges them; defaults follow."""
    sidecar = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 's', image: 'proxy', restartPolicy: 'Always'}]}}"
    absent = "!has(object.spec.initContainers) || !object.spec.initContainers.exists(c, c.name == 's')"
    await mutating(
        server, "sidecar", sidecar, "IfNeeded", matchConstraints=rules("pods"),
        matchConditions=[{"name": "absent", "expression": absent}],
    )  # fmt: skip
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = (await server.call("POST", PODS.path("default"), body)).expect(201)
    [added] = made["spec"]["initContainers"]
    assert (added["name"], added["restartPolicy"], added["imagePullPolicy"]) == ("s", "Always", "Always")

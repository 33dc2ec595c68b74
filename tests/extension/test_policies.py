"""ValidatingAdmissionPolicies: what they deny, warn of, and find in their own expressions."""

from __future__ import annotations

import asyncio
from typing import Any

from live_server import LiveServer

from cluster.api.kinds import (
    CONFIG_MAPS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from cluster.api.objects import Object

POLICIES = VALIDATING_ADMISSION_POLICIES.path()
BINDINGS = VALIDATING_ADMISSION_POLICY_BINDINGS.path()
MAPS = CONFIG_MAPS.path("default")


def rules(*resources: str, group: str = "", version: str = "v1") -> Object:
    rule = {
        "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"],
        "resources": list(resources),
    }  # fmt: skip
    return {"resourceRules": [rule]}


async def bind(server: LiveServer, spec: Object, **binding: Any) -> None:
    body = {"metadata": {"name": "p"}, "spec": spec}
    (await server.call("POST", POLICIES, body)).expect(201)
    wanted = {"policyName": "p", "validationActions": ["Deny"], **binding}
    (await server.call("POST", BINDINGS, {"metadata": {"name": "b"}, "spec": wanted})).expect(201)


def config(name: str = "c", **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


async def test_a_policy_denies_with_message_and_reason(server: LiveServer) -> None:
    """422 Invalid unless the validation says otherwise; variables and messageExpression are evaluated."""
    validation = {
        "expression": "variables.size <= 2",
        "messageExpression": "'too many: ' + string(variables.size)",
    }
    spec = {
        "matchConstraints": rules("configmaps"),
        "variables": [{"name": "size", "expression": "has(object.data) ? object.data.size() : 0"}],
        "validations": [validation, {"expression": "object.metadata.name != 'no'", "reason": "Forbidden"}],
    }
    await bind(server, spec)
    (await server.call("POST", MAPS, config(a="1"))).expect(201)
    many = await server.call("POST", MAPS, config("d", a="1", b="2", c="3"))
    assert (many.status, many.json["reason"]) == (422, "Invalid")
    assert many.json["message"] == (
        "configmaps \"d\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many: 3"
    )
    named = await server.call("POST", MAPS, config("no"))
    assert (named.status, named.json["reason"]) == (403, "Forbidden")
    assert named.json["message"].endswith("denied request: failed expression: object.metadata.name != 'no'")


async def test_parameters_and_warnings(server: LiveServer) -> None:
    """The limit comes from a ConfigMap; a Warn binding lets the write through with a header."""
    (await server.call("POST", MAPS, config("limits", max="1"))).expect(201)
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": rules("configmaps"),
        "matchConditions": [{"name": "not-limits", "expression": "object.metadata.name != 'limits'"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.max)", "message": "too big"}],
    }
    reference = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await bind(server, spec, paramRef=reference, validationActions=["Warn", "Audit"])
    made = await server.call("POST", MAPS, config(a="1", b="2"))
    assert made.status == 201
    assert made.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': too big\""
    )


async def test_the_authorizer_can_be_asked(server: LiveServer) -> None:
    check = "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"
    await bind(server, {"matchConstraints": rules("configmaps"), "validations": [{"expression": check}]})
    (await server.call("POST", MAPS, config())).expect(201)


async def test_expressions_are_checked_against_the_kinds(server: LiveServer) -> None:
    """Mistakes that only types show become warnings in the status; nonsense is refused at once."""
    spec = {
        "matchConstraints": rules("deployments", group="apps"),
        "validations": [
            {"expression": "object.spec.replicas > '1'"},
            {"expression": "object.spec.maxRetries == 3"},
            {"expression": "object.spec.replicas > 1"},
        ],
    }
    await bind(server, spec)
    for _ in range(100):
        status = (await server.get(f"{POLICIES}/p")).json.get("status") or {}
        if "typeChecking" in status:
            break
        await asyncio.sleep(0)
    warnings = status["typeChecking"]["expressionWarnings"]
    assert [each["fieldRef"] for each in warnings] == [
        "spec.validations[0].expression", "spec.validations[1].expression",
    ]  # fmt: skip
    assert "found no matching overload for '_>_' applied to '(int, string)'" in warnings[0]["warning"]
    assert warnings[1]["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'maxRetries'"
    )
    spec["validations"] = [{"expression": "object.spec +"}]
    wrong = await server.call("POST", POLICIES, {"metadata": {"name": "q"}, "spec": spec})
    assert wrong.status == 422
    assert "compilation failed: ERROR: <input>:1:14: Syntax error" in wrong.json["message"]

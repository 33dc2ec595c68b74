"""MutatingAdmissionPolicies: apply configurations and JSON patches made by expressions."""

from __future__ import annotations

from live_server import LiveServer
from test_policies import MAPS, config, rules

from cluster.api.kinds import MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS


async def test_expressions_change_what_is_written(server: LiveServer) -> None:
    """The configuration is merged as server-side apply would; patches come after it."""
    spec = {
        "matchConstraints": rules("configmaps"),
        "matchConditions": [{"name": "labelled", "expression": "!has(object.metadata.labels)"}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": "Object{metadata: Object.metadata{labels: {'by': request.operation}}}"
                },
            },
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x.org/b'), "
                    "value: object.data.own}]"
                },
            },
        ],
    }
    body = {"metadata": {"name": "p"}, "spec": spec}
    (await server.call("POST", MUTATING_ADMISSION_POLICIES.path(), body)).expect(201)
    binding = {"metadata": {"name": "b"}, "spec": {"policyName": "p"}}
    (await server.call("POST", MUTATING_ADMISSION_POLICY_BINDINGS.path(), binding)).expect(201)
    made = (await server.call("POST", MAPS, config(own="1"))).expect(201)
    assert made["metadata"]["labels"] == {"by": "CREATE", "x.org/b": "1"}
    assert made["data"]["own"] == "1"
    refused = await server.call("POST", MAPS, config("d"))
    assert refused.status == 403
    assert refused.json["message"] == (
        "configmaps \"d\" is forbidden: policy 'p' with binding 'b' denied request: no such key: data"
    )


async def test_mutations_must_be_complete(server: LiveServer) -> None:
    spec = {"matchConstraints": rules("configmaps"), "mutations": [{"patchType": "JSONPatch"}]}
    body = {"metadata": {"name": "p"}, "spec": spec}
    refused = await server.call("POST", MUTATING_ADMISSION_POLICIES.path(), body)
    assert refused.status == 422
    assert "spec.mutations[0].jsonPatch: Required value" in refused.json["message"]

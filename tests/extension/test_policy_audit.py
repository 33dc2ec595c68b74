"""What a policy has to say to the audit log."""

from __future__ import annotations

from test_http_audit import Logged, logged
from test_policies import BINDINGS, MAPS, POLICIES, config, rules

__all__ = ["logged"]


async def test_audit_annotations_are_logged_under_the_policys_name(logged: Logged) -> None:
    """Each value once, whichever binding it comes from; null says nothing."""
    annotations = [
        {"key": "size", "valueExpression": "'size ' + string(object.data.size())"},
        {"key": "silent", "valueExpression": "null"},
    ]
    spec = {"matchConstraints": rules("configmaps"), "auditAnnotations": annotations}
    (await logged.live.call("POST", POLICIES, {"metadata": {"name": "p"}, "spec": spec})).expect(201)
    for name in ("a", "b"):
        binding = {"metadata": {"name": name}, "spec": {"policyName": "p", "validationActions": ["Audit"]}}
        (await logged.live.call("POST", BINDINGS, binding)).expect(201)
    _, last = await logged.call("POST", MAPS, config("c", own="1"))
    assert last["responseStatus"]["code"] == 201
    assert last["annotations"]["p/size"] == "size 1"
    assert "p/silent" not in last["annotations"]

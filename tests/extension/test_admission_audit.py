"""What policies and webhooks have to say to the audit log."""

from __future__ import annotations

from pathlib import Path

from hooks import MUTATING, PORT, VALIDATING, Hooks, add, allow, configured, patches
from own_server import own_server
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


async def test_what_webhooks_did_is_logged(logged: Logged, tmp_path: Path) -> None:
    """Who changed something, who was ignored when it failed, and what they say themselves."""
    async with own_server(tmp_path / "webhooks") as own:
        await own.be_service(logged.live, PORT)
        hooks = Hooks(own)
        change = patches(add("/data/more", "1"))
        noted = hooks.hook("m", lambda request: {**change(request), "auditAnnotations": {"k": "v"}})
        broken = hooks.hook("broken", allow, failurePolicy="Ignore")
        del own.handlers["/broken"]
        await configured(logged.live, MUTATING, hooks.hook("idle", allow), noted, name="c")
        await configured(logged.live, VALIDATING, broken, name="d")
        _, last = await logged.call("POST", MAPS, config("c", own="1"))
    assert last["responseStatus"]["code"] == 201
    said = last["annotations"]
    assert said["m.example.com/k"] == "v"
    head = "mutation.webhook.admission.k8s.io/round_0_index_"
    assert said[f"{head}0"] == '{"configuration":"c","webhook":"idle.example.com","mutated":false}'
    assert said[f"{head}1"] == '{"configuration":"c","webhook":"m.example.com","mutated":true}'
    assert said["failed-open.validating.webhook.admission.k8s.io/round_0_index_0"] == "broken.example.com"

"""What the conformance suite asks of admission webhooks; each test names its spec.

[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] …
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from extended import CRDS, CRONTABS, crontab, define, definition, established, patch, until
from hooks import (
    MUTATING,
    PORT,
    VALIDATING,
    Hooks,
    add,
    allow,
    configured,
    create,
    deny,
    patches,
    rule,
)
from live_server import LiveServer
from own_server import own_server

from cluster.api.kinds import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from cluster.api.objects import Object

MAPS, PODS_PATH = CONFIG_MAPS.path("default"), PODS.path("default")
SPEC: Object = {"containers": [{"name": "c", "image": "nginx"}]}


@pytest.fixture
async def hooks(server: LiveServer, tmp_path: Path) -> AsyncIterator[Hooks]:
    async with own_server(tmp_path) as own:
        await own.be_service(server, PORT)
        yield Hooks(own)


@pytest.mark.parametrize("path", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_configurations_are_listed_and_deleted_by_label(
    server: LiveServer, hooks: Hooks, path: str
) -> None:
    """listing mutating/validating webhooks should work"""
    mutating = path == MUTATING
    for number in range(10):
        answer = patches(add(f"/data/k{number}", "v")) if mutating else deny("no")
        await configured(server, path, hooks.hook(f"h{number}", answer), name=f"h{number}", run="1")
    assert len((await server.get(f"{path}?labelSelector=run%3D1")).expect(200)["items"]) == 10
    made = await create(server, MAPS, "a", data={"own": "1"})
    if mutating:
        assert len(made.expect(201)["data"]) == 11
    else:
        assert made.status == 400
    (await server.call("DELETE", f"{path}?labelSelector=run%3D1")).expect(200)
    assert (await server.get(path)).expect(200)["items"] == []
    assert (await create(server, MAPS, "b", data={"own": "1"})).expect(201)["data"] == {"own": "1"}


@pytest.mark.parametrize("path", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_a_changed_rule_counts_at_once(server: LiveServer, hooks: Hooks, path: str) -> None:
    """patching/updating a mutating/validating webhook should work"""
    answer = patches(add("/data/k", "v")) if path == MUTATING else deny("no")
    made = await configured(server, path, hooks.hook("h", answer))
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    (await server.call("PUT", f"{path}/h", made)).expect(200)
    assert (await create(server, MAPS, "a", data={"own": "1"})).expect(201)["data"] == {"own": "1"}
    operation = {"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}
    (await patch(server, f"{path}/h", [operation], "json-patch+json")).expect(200)
    again = await create(server, MAPS, "b", data={"own": "1"})
    if path == MUTATING:
        assert again.expect(201)["data"] == {"own": "1", "k": "v"}
    else:
        assert again.json["message"] == 'admission webhook "h.example.com" denied the request: no'


@pytest.mark.parametrize("path", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_match_conditions_are_stored_and_updated(server: LiveServer, hooks: Hooks, path: str) -> None:
    """should be able to create and update mutating/validating webhook configurations with match conditions"""
    first = [{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]
    made = await configured(server, path, hooks.hook("h", allow, matchConditions=first))
    assert made["webhooks"][0]["matchConditions"] == first
    second = [{"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}]
    made["webhooks"][0]["matchConditions"] = second
    (await server.call("PUT", f"{path}/h", made)).expect(200)
    assert (await server.get(f"{path}/h")).expect(200)["webhooks"][0]["matchConditions"] == second


@pytest.mark.parametrize("path", [MUTATING, VALIDATING], ids=["mutating", "validating"])
async def test_match_conditions_must_compile(server: LiveServer, hooks: Hooks, path: str) -> None:
    """should reject mutating/validating webhook configurations with invalid match conditions"""
    wrong = [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]
    body = {"metadata": {"name": "h"}, "webhooks": [hooks.hook("h", allow, matchConditions=wrong)]}
    refused = (await server.call("POST", path, body)).expect(422)
    assert "webhooks[0].matchConditions[0].expression: Invalid value" in refused["message"]
    assert "compilation failed" in refused["message"]


async def test_connections_can_be_denied(server: LiveServer, hooks: Hooks) -> None:
    """should be able to deny attaching pod"""
    (await create(server, PODS_PATH, "p", spec=SPEC)).expect(201)
    connect = rule("pods/attach", operations=("CONNECT",))
    await configured(
        server, VALIDATING, hooks.hook("h", deny("attaching to pod 'p' is not allowed"), connect)
    )
    refused = await server.call("POST", f"{PODS_PATH}/p/attach?container=c&stdin=true&stdout=true")
    assert refused.json["message"] == (
        "admission webhook \"h.example.com\" denied the request: attaching to pod 'p' is not allowed"
    )
    [asked] = hooks.asked
    assert (asked["operation"], asked["subResource"], asked["name"]) == ("CONNECT", "attach", "p")
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
    assert asked["object"] == {
        "kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "stdout": True, "container": "c",
    }  # fmt: skip
    assert asked["options"] is None


async def test_custom_objects_can_be_denied(server: LiveServer, hooks: Hooks) -> None:
    """should be able to deny custom resource creation, update and deletion"""
    await define(server, definition())
    (await server.call("POST", CRONTABS, crontab("there"))).expect(201)

    def judge(request: Object) -> Object:
        obj = request["oldObject"] if request["operation"] == "DELETE" else request["object"]
        wrong = (obj["metadata"].get("labels") or {}).get("unwanted")
        return {"allowed": not wrong, "status": {"message": "the custom resource contains unwanted data"}}

    operations = ("CREATE", "UPDATE", "DELETE")
    crontabs = rule("crontabs", group="stable.example.com", operations=operations)
    await configured(server, VALIDATING, hooks.hook("h", judge, crontabs))
    said = 'admission webhook "h.example.com" denied the request: the custom resource contains unwanted data'
    bad = crontab("bad")
    bad["metadata"]["labels"] = {"unwanted": "1"}
    assert (await server.call("POST", CRONTABS, bad)).json["message"] == said
    labelled = {"metadata": {"labels": {"unwanted": "1"}}}
    assert (await patch(server, f"{CRONTABS}/there", labelled)).json["message"] == said
    (await server.call("DELETE", f"{VALIDATING}/h")).expect(200)
    (await patch(server, f"{CRONTABS}/there", labelled)).expect(200)
    await configured(server, VALIDATING, hooks.hook("h", judge, crontabs))
    assert (await server.call("DELETE", f"{CRONTABS}/there")).json["message"] == said


async def test_pods_and_config_maps_can_be_denied(server: LiveServer, hooks: Hooks) -> None:
    """should be able to deny pod and configmap creation (and a webhook that hangs, and an exempt namespace)"""

    def judge(request: Object) -> Object:
        return {"allowed": request["name"] != "bad", "status": {"message": "bad name", "reason": "BadName"}}

    never = asyncio.get_running_loop().create_future()
    selector = {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}
    writes = ("CREATE", "UPDATE")
    only_hanging = [{"name": "hanging", "expression": "object.metadata.name == 'hanging'"}]
    await configured(
        server, VALIDATING,
        hooks.hook(
            "judge", judge, rule("pods", operations=writes), rule("configmaps", operations=writes),
            namespaceSelector=selector,
        ),
        hooks.hook(
            "hang", allow, rule("pods"), wait=lambda: asyncio.shield(never), timeoutSeconds=1,
            matchConditions=only_hanging,
        ),
    )  # fmt: skip
    for path, body in ((PODS_PATH, {"spec": SPEC}), (MAPS, {})):
        refused = await create(server, path, "bad", **body)
        assert refused.json["reason"] == "BadName"
        assert refused.json["message"] == 'admission webhook "judge.example.com" denied the request: bad name'
    (await create(server, PODS_PATH, "good", spec=SPEC)).expect(201)
    hung = (await create(server, PODS_PATH, "hanging", spec=SPEC)).expect(500)["message"]
    assert hung == (
        'Internal error occurred: failed calling webhook "hang.example.com": failed to call webhook: Post '
        '"https://own.default.svc:8443/hang?timeout=1s": context deadline exceeded'
    )
    exempt = {"metadata": {"name": "exempt", "labels": {"skip": "1"}}}
    (await server.call("POST", NAMESPACES.path(), exempt)).expect(201)
    (await create(server, CONFIG_MAPS.path("exempt"), "bad")).expect(201)


async def test_definitions_can_be_denied(server: LiveServer, hooks: Hooks) -> None:
    """should deny crd creation"""
    definitions = rule("*", group="apiextensions.k8s.io", version="*")
    await configured(server, VALIDATING, hooks.hook("h", deny("no definitions here"), definitions))
    refused = await server.call("POST", CRDS, definition())
    assert (
        refused.json["message"] == 'admission webhook "h.example.com" denied the request: no definitions here'
    )


async def test_timeouts_are_kept(server: LiveServer, hooks: Hooks) -> None:
    """should honor timeout: too short is an error or ignored, long enough is none"""
    answered = asyncio.Event()
    for policy, seconds, code in (("Fail", 1, 500), ("Ignore", 1, 201), ("Fail", 30, 201)):
        if code == 201 and policy == "Fail":
            answered.set()
        slow = hooks.hook("slow", allow, wait=answered.wait, timeoutSeconds=seconds, failurePolicy=policy)
        await configured(server, VALIDATING, slow)
        (await create(server, MAPS, f"{policy}-{seconds}".lower())).expect(code)
        (await server.call("DELETE", f"{VALIDATING}/h")).expect(200)


async def test_discovery_has_the_configurations(server: LiveServer) -> None:
    """should include webhook resources in discovery documents"""
    group = (await server.get("/apis/admissionregistration.k8s.io")).expect(200)
    assert {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"} in group["versions"]
    found = (await server.get("/apis/admissionregistration.k8s.io/v1")).expect(200)["resources"]
    names = [resource["name"] for resource in found]
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= set(names)


async def test_mutations_come_in_order(server: LiveServer, hooks: Hooks) -> None:
    """should mutate configmap: the second sees what the first has added"""

    def stage(key: str, needs: str) -> Object:
        def answer(request: Object) -> Object:
            return (
                patches(add(f"/data/{key}", "yes"))(request)
                if needs in request["object"]["data"]
                else allow(request)
            )

        return hooks.hook(key, answer)

    await configured(server, MUTATING, stage("stage-1", "start"), stage("stage-2", "stage-1"))
    made = (await create(server, MAPS, "m", data={"start": "yes"})).expect(201)
    assert made["data"] == {"start": "yes", "stage-1": "yes", "stage-2": "yes"}


async def test_custom_objects_are_changed_and_pruned(server: LiveServer, hooks: Hooks) -> None:
    """should mutate custom resource; … with pruning: what the schema does not know goes again"""
    await define(server, definition())
    change = patches(add("/spec/image", "nginx"), add("/spec/unknown", "x"))
    crontabs = rule("crontabs", group="stable.example.com")
    await configured(server, MUTATING, hooks.hook("h", change, crontabs))
    made = (await server.call("POST", CRONTABS, crontab())).expect(201)
    assert made["spec"] == {"cronSpec": "* * * * */5", "image": "nginx"}


async def test_custom_objects_are_changed_when_the_stored_version_is_another(
    server: LiveServer, hooks: Hooks
) -> None:
    """should mutate custom resource with different stored version"""
    body = definition()
    first = body["spec"]["versions"][0]
    body["spec"]["versions"].append({**first, "name": "v2", "storage": False})
    await define(server, body)
    crontabs = rule("crontabs", group="stable.example.com", version="*", operations=("CREATE", "UPDATE"))
    await configured(server, MUTATING, hooks.hook("h", patches(add("/spec/image", "changed")), crontabs))
    (await server.call("POST", CRONTABS, crontab())).expect(201)
    name = body["metadata"]["name"]
    storage = [{"op": "replace", "path": f"/spec/versions/{i}/storage", "value": i == 1} for i in (0, 1)]
    (await patch(server, f"{CRDS}/{name}", storage, "json-patch+json")).expect(200)
    await established(server, name)
    changed = (await patch(server, f"{CRONTABS}/one", {"spec": {"replicas": 3}})).expect(200)
    assert (changed["apiVersion"], changed["spec"]["replicas"]) == ("stable.example.com/v1", 3)
    assert changed["spec"]["image"] == "changed"
    assert hooks.asked[-1]["object"]["apiVersion"] == "stable.example.com/v1"


async def test_conditions_leave_one_name_out(server: LiveServer, hooks: Hooks) -> None:
    """should mutate everything except 'skip-me' configmaps"""
    conditions = [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    await configured(
        server, MUTATING, hooks.hook("h", patches(add("/data/k", "v")), matchConditions=conditions)
    )
    assert (await create(server, MAPS, "skip-me", data={"a": "1"})).expect(201)["data"] == {"a": "1"}
    assert (await create(server, MAPS, "other", data={"a": "1"})).expect(201)["data"] == {"a": "1", "k": "v"}


async def test_defaults_come_after_mutation(server: LiveServer, hooks: Hooks) -> None:
    """should mutate pod and apply defaults after mutation; the server's own steps see the change too"""
    container = [{"name": "added", "image": "busybox"}]
    await configured(
        server, MUTATING, hooks.hook("h", patches(add("/spec/initContainers", container)), rule("pods"))
    )

    async def account() -> bool:
        return (await server.get("/api/v1/namespaces/default/serviceaccounts/default")).status == 200

    await until(account)
    made = (await create(server, PODS_PATH, "p", spec=SPEC)).expect(201)
    [added] = made["spec"]["initContainers"]
    assert (added["name"], added["terminationMessagePolicy"]) == ("added", "File")
    assert [mount["mountPath"] for mount in added["volumeMounts"]] == [
        "/var/run/secrets/kubernetes.io/serviceaccount"
    ]


async def test_configurations_are_out_of_webhooks_reach(server: LiveServer, hooks: Hooks) -> None:
    """should not be able to mutate or prevent deletion of webhook configuration objects"""
    everything = rule("*", group="*", version="*", operations=("CREATE", "UPDATE", "DELETE"))
    only = [{"name": "n", "expression": "request.resource.group == 'admissionregistration.k8s.io'"}]
    await configured(
        server, VALIDATING, hooks.hook("d", deny("no"), everything, matchConditions=only), name="d"
    )
    change = patches(add("/metadata/labels", {"changed": "1"}))
    await configured(server, MUTATING, hooks.hook("m", change, everything, matchConditions=only), name="m")
    made = await configured(server, VALIDATING, hooks.hook("x", allow, rule("nothings")), name="x")
    assert made["metadata"].get("labels", {}) == {}
    (await server.call("DELETE", f"{VALIDATING}/x")).expect(200)
    assert hooks.asked == []


async def test_a_webhook_that_cannot_be_called_closes(server: LiveServer, hooks: Hooks) -> None:
    """should unconditionally reject operations on fail closed webhook: without its CA bundle"""
    closed = hooks.hook("h", allow)
    del closed["clientConfig"]["caBundle"]
    await configured(server, VALIDATING, closed)
    refused = (await create(server, MAPS, "a")).expect(500)
    assert refused["reason"] == "InternalError"
    assert refused["message"] == (
        'Internal error occurred: failed calling webhook "h.example.com": failed to call webhook: Post '
        '"https://own.default.svc:8443/h?timeout=10s": tls: failed to verify certificate: x509: certificate '
        "signed by unknown authority"
    )
    assert hooks.asked == []


async def test_a_certificate_must_be_for_the_service(server: LiveServer, tmp_path: Path) -> None:
    async with own_server(tmp_path) as own:
        await own.be_service(server, PORT, "other")
        hook = Hooks(own).hook("h", allow)
        hook["clientConfig"]["service"]["name"] = "other"
        await configured(server, VALIDATING, hook)
        refused = (await create(server, MAPS, "a")).expect(500)["message"]
    assert (
        "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted"
        in refused
    )
    assert refused.endswith("to match other.default.svc")


async def test_subresources_are_shown_as_their_own_kinds(server: LiveServer, hooks: Hooks) -> None:
    """Scale, Eviction and Binding: what was sent, not the parent. A change of a Scale counts."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployments = DEPLOYMENTS.path("default")
    (await create(server, deployments, "d", spec=spec)).expect(201)
    (await create(server, PODS_PATH, "p", spec=SPEC | {"schedulingGates": [{"name": "x"}]})).expect(201)
    scale = rule("deployments/scale", group="apps", operations=("UPDATE",))
    await configured(server, MUTATING, hooks.hook("m", patches(add("/spec/replicas", 3)), scale), name="m")
    others = rule("pods/eviction", "pods/binding")
    await configured(server, VALIDATING, hooks.hook("v", deny("stay"), others, scale), name="v")
    body = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 2}}
    (await server.call("PUT", f"{deployments}/d/scale", body)).expect(400)
    for asked, replicas in zip(hooks.asked, (2, 3), strict=True):
        assert asked["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        assert asked["resource"] == {"group": "apps", "version": "v1", "resource": "deployments"}
        assert (asked["object"]["spec"]["replicas"], asked["oldObject"]["spec"]["replicas"]) == (replicas, 1)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "default"},
    }
    refused = (await server.call("POST", f"{PODS_PATH}/p/eviction", eviction)).expect(400)
    assert refused["message"] == 'admission webhook "v.example.com" denied the request: stay'
    asked = hooks.asked[-1]
    assert (asked["kind"]["kind"], asked["kind"]["group"], asked["operation"]) == (
        "Eviction",
        "policy",
        "CREATE",
    )

"""The roles and bindings that every cluster has, and what becomes of them when the server starts again."""

from __future__ import annotations

from typing import Any

from live_server import LiveServer

from cluster.api import kinds
from cluster.api.objects import Key
from cluster.server.auth.bootstrap import bootstrap_policy
from cluster.server.auth.policy_controllers import CONTROLLERS
from cluster.server.auth.rules import compiled, missing

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
MERGE = {"Content-Type": "application/merge-patch+json"}
NAMED = (
    "admin", "cluster-admin", "edit", "view", "system:aggregate-to-admin", "system:aggregate-to-edit",
    "system:aggregate-to-view", "system:auth-delegator", "system:basic-user", "system:discovery",
    "system:kube-aggregator", "system:kube-controller-manager", "system:kube-dns", "system:kube-scheduler",
    "system:kubelet-api-admin", "system:monitoring", "system:node", "system:node-bootstrapper",
    "system:node-problem-detector", "system:node-proxier", "system:persistent-volume-provisioner",
    "system:public-info-viewer", "system:service-account-issuer-discovery", "system:volume-scheduler",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    "system:certificates.k8s.io:kube-apiserver-client-approver",
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
    "system:certificates.k8s.io:kubelet-serving-approver",
    "system:certificates.k8s.io:legacy-unknown-approver",
)  # fmt: skip


async def restarted(live: LiveServer) -> None:
    """What a start does about the defaults, over what is stored."""
    await bootstrap_policy(live.plane.client("system:apiserver"), live.plane.store)


async def merge(live: LiveServer, path: str, patch: bytes) -> Any:
    return (await live.call("PATCH", path, data=patch, headers=MERGE)).expect(200)


async def test_the_default_roles_are_there_and_bound(live: LiveServer) -> None:
    roles = {role["metadata"]["name"]: role for role in (await live.get(ROLES)).expect(200)["items"]}
    bindings = {one["metadata"]["name"]: one for one in (await live.get(BINDINGS)).expect(200)["items"]}
    assert not [name for name in NAMED if name not in roles]
    for name in CONTROLLERS:
        whole = f"system:controller:{name}"
        assert bindings[whole]["roleRef"]["name"] == whole
        assert bindings[whole]["subjects"] == [
            {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
        ]
        assert roles[whole]["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert all(one["roleRef"]["name"] in roles for one in bindings.values())


async def test_a_controller_of_ones_own_works_under_its_account(live: LiveServer) -> None:
    """A token of kube-system/deployment-controller may scale replica sets, and read no secrets."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployment-controller"}}
    await live.create(kinds.SERVICE_ACCOUNTS, account, "kube-system")
    path = "/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller/token"
    token = (await live.call("POST", path, {})).expect(201)["status"]["token"]
    assert (await live.get("/apis/apps/v1/replicasets", token=token)).status == 200
    assert (await live.get("/api/v1/secrets", token=token)).status == 403


async def test_a_start_completes_the_defaults_and_keeps_what_was_added(live: LiveServer) -> None:
    view = (await live.get(f"{ROLES}/system:aggregate-to-view")).expect(200)
    own = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}
    body = {
        **view,
        "rules": [own],
        "metadata": {**view["metadata"], "labels": {"mine": "x"}, "annotations": {}},
    }
    (await live.call("PUT", f"{ROLES}/system:aggregate-to-view", body)).expect(200)
    await restarted(live)
    after = (await live.get(f"{ROLES}/system:aggregate-to-view")).expect(200)
    assert own in after["rules"]
    assert not missing(compiled(after["rules"]), view["rules"])
    assert after["metadata"]["labels"] == {**view["metadata"]["labels"], "mine": "x"}
    assert after["metadata"]["annotations"] == view["metadata"]["annotations"]
    revision = live.plane.store.revision
    await restarted(live)
    assert live.plane.store.revision == revision


async def test_a_default_without_autoupdate_is_left_alone(live: LiveServer) -> None:
    patch = b'{"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"}},"rules":[]}'
    await merge(live, f"{ROLES}/system:basic-user", patch)
    await restarted(live)
    assert (await live.get(f"{ROLES}/system:basic-user")).expect(200)["rules"] == []


async def test_a_binding_led_elsewhere_is_made_anew(live: LiveServer) -> None:
    found = (await live.get(f"{BINDINGS}/system:basic-user")).expect(200)
    (await live.call("DELETE", f"{BINDINGS}/system:basic-user")).expect(200)
    other = {**found, "metadata": {"name": "system:basic-user"}}
    other["roleRef"] = {**found["roleRef"], "name": "view"}
    (await live.call("POST", BINDINGS, other)).expect(201)
    await restarted(live)
    entry = live.plane.store.get(kinds.CLUSTER_ROLE_BINDINGS.qualified, Key("", "system:basic-user"))
    assert entry is not None
    assert (entry.object["roleRef"], entry.object["subjects"]) == (found["roleRef"], found["subjects"])

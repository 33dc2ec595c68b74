"""Who gets in, as whom, and what they may do: over HTTPS."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import LiveServer

from cluster.api import kinds
from cluster.api.resource import Resource

JANE = "secret-of-jane"
PODS = "/api/v1/namespaces/team-a/pods"


def role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": list(rules),
    }


def binding(name: str, role_kind: str, role_name: str, /, **subject: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    if subject["kind"] != "ServiceAccount":
        subject["apiGroup"] = group
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": role_kind, "name": role_name},
        "subjects": [subject],
    }


@pytest.fixture
async def team(live: LiveServer) -> LiveServer:
    """Namespace team-a, in which the group team-a may edit."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    await live.create(kinds.NAMESPACES, body, "")
    editors = binding("editors", "ClusterRole", "edit", kind="Group", name="team-a")
    await live.create(kinds.ROLE_BINDINGS, editors, "team-a")
    return live


async def test_no_credentials_are_anonymous_and_a_wrong_token_is_nobody(live: LiveServer) -> None:
    status = (await live.get("/api/v1/pods", token="")).expect(403)
    assert status["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
        "at the cluster scope"
    )
    assert status["details"] == {"kind": "pods"}
    status = (await live.get("/version", token="wrong")).expect(401)
    assert (status["message"], status["reason"]) == ("Unauthorized", "Unauthorized")


async def test_a_team_works_in_its_namespace_only(team: LiveServer) -> None:
    assert (await team.get(PODS, token=JANE)).status == 200
    status = (await team.get("/apis/apps/v1/namespaces/default/deployments/x", token=JANE)).expect(403)
    assert status["message"] == (
        'deployments.apps "x" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" '
        'in the namespace "default"'
    )
    assert status["details"] == {"name": "x", "group": "apps", "kind": "deployments"}
    status = (await team.get("/metrics", token=JANE)).expect(403)
    assert status["message"] == 'forbidden: User "jane" cannot get path "/metrics"'


async def test_rights_end_with_the_binding(team: LiveServer) -> None:
    path = kinds.ROLE_BINDINGS.path("team-a", "editors")
    assert (await team.call("DELETE", path)).status == 200
    assert (await team.get(PODS, token=JANE)).status == 403


async def test_a_binding_to_a_role_that_is_not_there_is_named(live: LiveServer) -> None:
    await live.create(kinds.ROLE_BINDINGS, binding("b", "Role", "gone", kind="User", name="jane"))
    status = (await live.get("/api/v1/namespaces/default/pods", token=JANE)).expect(403)
    assert status["message"].endswith(': RBAC: role.rbac.authorization.k8s.io "gone" not found')


async def test_a_certificate_gives_name_and_groups(live: LiveServer) -> None:
    session = live.certified("joe", "team-b", "team-c")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = (await live.call("POST", path, body, session=session)).expect(201)["status"]["userInfo"]
    assert info["username"] == "joe"
    assert info["groups"] == ["team-b", "team-c", "system:authenticated"]
    assert info["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


async def test_names_restrict_also_watches_of_one_object(live: LiveServer) -> None:
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["mine"],
        "verbs": ["list", "get"],
    }
    await live.create(kinds.ROLES, role("one", rule))
    await live.create(kinds.ROLE_BINDINGS, binding("one", "Role", "one", kind="User", name="jane"))
    path = "/api/v1/namespaces/default/configmaps"
    assert (await live.get(f"{path}?fieldSelector=metadata.name%3Dmine", token=JANE)).status == 200
    assert (await live.get(path, token=JANE)).status == 403
    assert (await live.get(f"{path}/mine", token=JANE)).status == 404


async def test_impersonation_takes_permission(team: LiveServer) -> None:
    as_jane = {"Impersonate-User": "jane", "Impersonate-Group": "team-a"}
    assert (await team.get(PODS, headers=as_jane)).status == 200
    assert (await team.get("/api/v1/nodes", headers=as_jane)).status == 403
    status = (await team.get(PODS, token=JANE, headers={"Impersonate-User": "root"})).expect(403)
    assert status["message"] == (
        'users "root" is forbidden: User "jane" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )


@pytest.mark.parametrize("resource", [kinds.ROLES, kinds.CLUSTER_ROLES], ids=["role", "cluster role"])
async def test_nobody_grants_what_they_do_not_hold(live: LiveServer, resource: Resource) -> None:
    """Jane may write roles; what is in them she must hold herself."""
    write = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": [resource.plural], "verbs": ["create"]}
    await _give_jane(live, write)
    body = role("r", {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]})
    body["kind"] = resource.kind
    path = resource.path("default")
    status = (await live.call("POST", path, body, token=JANE)).expect(403)
    assert status["message"] == (
        f'{resource.qualified} "r" is forbidden: user "jane" (groups=["team-a" "dev" "system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}'
    )
    body["rules"] = [write]
    assert (await live.call("POST", path, body, token=JANE)).status == 201


async def test_binding_a_role_takes_its_rights_or_bind(live: LiveServer) -> None:
    rbac = "rbac.authorization.k8s.io"
    await _give_jane(live, {"apiGroups": [rbac], "resources": ["rolebindings"], "verbs": ["create"]})
    body = binding("b", "ClusterRole", "view", kind="User", name="jim")
    path = kinds.ROLE_BINDINGS.path("default")
    assert (await live.call("POST", path, body, token=JANE)).status == 403
    bind = {"apiGroups": [rbac], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"]}
    await _give_jane(live, bind)
    assert (await live.call("POST", path, body, token=JANE)).status == 201


async def _give_jane(live: LiveServer, rule: dict[str, Any]) -> None:
    name = f"jane-{'-'.join(rule['verbs'])}"
    cluster_role = role(name, rule) | {"kind": "ClusterRole"}
    await live.create(kinds.CLUSTER_ROLES, cluster_role)
    bound = binding(name, "ClusterRole", name, kind="User", name="jane") | {"kind": "ClusterRoleBinding"}
    await live.create(kinds.CLUSTER_ROLE_BINDINGS, bound)


async def test_service_account_tokens(live: LiveServer) -> None:
    """A token works, says who it is, and dies with its account."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    made = await live.create(kinds.SERVICE_ACCOUNTS, account)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/default/serviceaccounts/robot"
    answer = (await live.call("POST", f"{path}/token", request)).expect(201)
    token = answer["status"]["token"]
    assert answer["spec"]["expirationSeconds"] == 3600
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    status = (await live.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)).expect(201)[
        "status"
    ]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert status["user"]["uid"] == made["metadata"]["uid"]
    assert status["user"]["groups"][0] == "system:serviceaccounts"
    assert (await live.get("/api/v1/namespaces/default/pods", token=token)).status == 403
    await live.create(
        kinds.ROLE_BINDINGS,
        binding("r", "ClusterRole", "view", kind="ServiceAccount", name="robot", namespace="default"),
    )
    assert (await live.get("/api/v1/namespaces/default/pods", token=token)).status == 200
    tampered = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    assert (await live.get("/version", token=tampered)).status == 401
    assert (await live.call("DELETE", path)).status == 200
    assert (await live.get("/version", token=token)).status == 401


async def test_tokens_are_for_their_audience(live: LiveServer) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    await live.create(kinds.SERVICE_ACCOUNTS, account)
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["vault"], "expirationSeconds": 600},
    }
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    token = (await live.call("POST", path, request)).expect(201)["status"]["token"]
    assert (await live.get("/version", token=token)).status == 401
    request["spec"]["expirationSeconds"] = 60
    status = (await live.call("POST", path, request)).expect(422)
    assert "may not specify a duration less than 10 minutes" in status["message"]


async def test_access_reviews(team: LiveServer) -> None:
    spec = {"user": "x", "groups": ["team-a"], "resourceAttributes": {
        "verb": "create", "group": "apps", "resource": "deployments", "namespace": "team-a"}}  # fmt: skip
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    status = (await team.call("POST", path, body)).expect(201)["status"]
    assert status == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "editors/team-a" of ClusterRole "edit" to Group "team-a"',
    }
    spec["resourceAttributes"]["namespace"] = "default"
    assert (await team.call("POST", path, body)).expect(201)["status"] == {"allowed": False}


async def test_a_node_reaches_its_own_objects_only(live: LiveServer) -> None:
    session = live.certified("system:node:n1", "system:nodes")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}}
    assert (await live.call("POST", "/api/v1/nodes", node, session=session)).status == 201
    assert (await live.call("POST", "/api/v1/nodes", other)).status == 201
    headers = {"Content-Type": "application/merge-patch+json"}
    patch = b'{"metadata":{"labels":{"a":"b"}}}'
    for name, code in (("n1", 200), ("n2", 403)):
        path = f"/api/v1/nodes/{name}"
        reply = await live.call("PATCH", path, data=patch, headers=headers, session=session)
        assert reply.status == code
    assert (await live.get("/api/v1/namespaces/default/secrets/x", session=session)).status == 403

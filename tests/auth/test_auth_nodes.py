"""A node's identity: what the node authorizer lets it reach, and what NodeRestriction lets it write there."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import LiveServer

from cluster.api import kinds

PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    whole = {"containers": [{"name": "c", "image": "nginx:1.27"}], "nodeName": node, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


def named(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


class Node:
    """The API as node n1 sees it; n2 exists beside it, each runs a pod with a secret of its own."""

    def __init__(self, live: LiveServer) -> None:
        self._live = live
        self._session = live.certified("system:node:n1", "system:nodes")

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """The code and, refused, why: the message after the part that names who and what."""
        reply = await self._live.call(method, path, body, session=self._session, **more)
        return reply.status, reply.json["message"] if reply.status >= 400 else ""

    async def merge(self, path: str, patch: bytes) -> tuple[int, str]:
        return await self.ask("PATCH", path, data=patch, headers=MERGE)


@pytest.fixture
async def node(live: LiveServer) -> Node:
    for each in ("n1", "n2"):
        await live.create(kinds.NODES, named("Node", each), "")
        await live.create(kinds.SECRETS, named("Secret", f"of-{each}"))
        volumes = [{"name": "v", "secret": {"secretName": f"of-{each}"}}]
        await live.create(kinds.PODS, pod(f"on-{each}", each, volumes=volumes))
    return Node(live)


@pytest.mark.parametrize(
    ("path", "code", "why"),
    [
        ("/api/v1/nodes/n1", 200, ""),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn1", 200, ""),
        ("/api/v1/nodes/n2", 403, "node 'n1' cannot read 'n2', only its own Node object"),
        ("/api/v1/nodes", 403, "node 'n1' cannot read all nodes, only its own Node object"),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200, ""),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403,
         "can only list/watch pods with spec.nodeName field selector"),
        (PODS, 403, "can only list/watch pods with spec.nodeName field selector"),
        (f"{PODS}/on-n1", 200, ""),
        (f"{PODS}/on-n2", 403, "no relationship found between node 'n1' and this object"),
        ("/api/v1/namespaces/default/secrets/of-n1", 200, ""),
        ("/api/v1/namespaces/default/secrets/of-n2", 403,
         "no relationship found between node 'n1' and this object"),
        ("/api/v1/namespaces/default/secrets", 403, "No Object name found"),
        ("/api/v1/namespaces/default/configmaps/kube-root-ca.crt", 200, ""),
        ("/api/v1/services", 200, ""),
        ("/apis/apps/v1/deployments", 403, ""),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases/n1", 403,
         'can only access leases in the "kube-node-lease" system namespace'),
    ],
)  # fmt: skip
async def test_what_a_node_reads(node: Node, path: str, code: int, why: str) -> None:
    status, message = await node.ask("GET", path)
    assert status == code, message
    assert message.endswith(why)


async def test_a_node_writes_its_own_node_but_not_its_taints_and_reserved_labels(node: Node) -> None:
    own = "/api/v1/nodes/n1"
    assert (await node.merge(own, b'{"metadata":{"labels":{"a":"b","kubernetes.io/os":"linux"}}}'))[0] == 200
    assert await node.merge("/api/v1/nodes/n2", b'{"metadata":{"labels":{"a":"b"}}}') == (
        403, 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
    )  # fmt: skip
    for label in ("node-restriction.kubernetes.io/zone", "node-role.kubernetes.io/control-plane"):
        code, message = await node.merge(own, b'{"metadata":{"labels":{"%s":"x"}}}' % label.encode())
        assert (code, message) == (
            403, f'nodes "n1" is forbidden: is not allowed to modify the following labels: {label}',
        )  # fmt: skip
    code, message = await node.merge(own, b'{"spec":{"taints":null}}')
    assert (code, message) == (403, 'nodes "n1" is forbidden: node "n1" is not allowed to modify taints')
    assert (await node.merge(f"{own}/status", b'{"status":{"phase":"Running"}}'))[0] == 200
    code, message = await node.ask("POST", "/api/v1/nodes", named("Node", "n3"))
    assert message == 'nodes "n3" is forbidden: node "n1" is not allowed to modify node "n3"'


async def test_a_node_reports_and_deletes_its_own_pods_only(node: Node) -> None:
    patch = b'{"status":{"phase":"Running"}}'
    assert (await node.merge(f"{PODS}/on-n1/status", patch))[0] == 200
    code, message = await node.merge(f"{PODS}/on-n2/status", patch)
    assert (code, message) == (
        403,
        'pods "on-n2" is forbidden: node "n1" can only update status for pod with spec.nodeName set to itself',
    )
    code, message = await node.ask("DELETE", f"{PODS}/on-n2")
    assert message.endswith('node "n1" can only delete pods with spec.nodeName set to itself')
    assert (await node.ask("DELETE", f"{PODS}/on-n1?gracePeriodSeconds=0"))[0] == 200
    assert (await node.merge(f"{PODS}/on-n2", b'{"metadata":{"labels":{"a":"b"}}}'))[0] == 403


async def test_a_node_creates_mirror_pods_only(node: Node) -> None:
    body = pod("mine", "n1")
    code, message = await node.ask("POST", PODS, body)
    assert code == 403
    assert 'pod does not have "kubernetes.io/config.mirror" annotation' in message
    body["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert (await node.ask("POST", PODS, body))[0] == 201
    other = pod("other", "n2")
    other["metadata"]["annotations"] = body["metadata"]["annotations"]
    code, message = await node.ask("POST", PODS, other)
    assert message.endswith('node "n1" can only create pods with spec.nodeName set to itself')
    secretive = pod("secretive", "n1", volumes=[{"name": "v", "secret": {"secretName": "of-n1"}}])
    secretive["metadata"]["annotations"] = body["metadata"]["annotations"]
    code, message = await node.ask("POST", PODS, secretive)
    assert message.endswith('node "n1" can not create pods that reference secrets')


async def test_a_node_holds_its_own_lease(live: LiveServer, node: Node) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n1"}}
    assert (await node.ask("POST", leases, body))[0] == 201
    assert (await node.ask("GET", f"{leases}/n1"))[0] == 200
    body["metadata"] = {"name": "n2"}
    _, message = await node.ask("POST", leases, body)
    assert message.endswith("can only access node lease with the same name as the requesting node")


async def test_a_node_gets_tokens_for_its_own_pods(live: LiveServer, node: Node) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"

    async def asked(bound: dict[str, str] | None) -> tuple[int, str]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return await node.ask("POST", path, body | {"spec": {"boundObjectRef": bound} if bound else {}})

    async def reference(name: str) -> dict[str, str]:
        uid = (await live.get(f"{PODS}/{name}")).json["metadata"]["uid"]
        return {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}

    assert (await asked(await reference("on-n1")))[0] == 201
    code, message = await asked(await reference("on-n2"))
    assert message.endswith("node requested token bound to a pod scheduled on a different node")
    code, message = await asked(None)
    assert (code, message.endswith("node requested token not bound to a pod")) == (403, True)
    wrong = await reference("on-n1") | {"uid": "x"}
    assert (await asked(wrong))[1].endswith("node requested token bound to a pod with a different uid")

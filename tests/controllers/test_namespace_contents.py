"""What every namespace has, and how one goes away."""

from __future__ import annotations

from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import condition_of


async def gone(cluster: Cluster, name: str) -> bool:
    try:
        await cluster.client.get(kinds.NAMESPACES, name)
    except NotFound:
        return True
    return False


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_a_namespace_gets_its_account_and_certificate_and_gets_them_back() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.NAMESPACES, namespace("team"))
        await cluster.settle(1)
        await cluster.get(kinds.SERVICE_ACCOUNTS, "default", "team")
        found = await cluster.get(kinds.CONFIG_MAPS, "kube-root-ca.crt", "team")
        assert found["data"] == {"ca.crt": "CA"}
        await cluster.client.delete(kinds.SERVICE_ACCOUNTS, "default", namespace="team")
        await cluster.client.patch(
            kinds.CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "other"}}, namespace="team"
        )
        await cluster.settle(1)
        await cluster.get(kinds.SERVICE_ACCOUNTS, "default", "team")
        found = await cluster.get(kinds.CONFIG_MAPS, "kube-root-ca.crt", "team")
        assert found["data"] == {"ca.crt": "CA"}
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_deleted_namespace_takes_everything_along() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.NAMESPACES, namespace("team"))
        await cluster.settle(1)
        body = deployment(replicas=5)
        body["metadata"]["namespace"] = "team"
        await cluster.create(kinds.DEPLOYMENTS, body)
        await cluster.settle()
        await cluster.client.delete(kinds.NAMESPACES, "team")
        await cluster.eventually(lambda: gone(cluster, "team"))
        for resource in (kinds.PODS, kinds.REPLICA_SETS, kinds.DEPLOYMENTS, kinds.CONFIG_MAPS):
            assert not await cluster.list(resource, "team")
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_finalizer_inside_holds_the_namespace_and_its_conditions_say_so() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.NAMESPACES, namespace("team"))
        held = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "held", "namespace": "team", "finalizers": ["example.com/wait"]},
        }
        await cluster.create(kinds.CONFIG_MAPS, held)
        await cluster.client.delete(kinds.NAMESPACES, "team")
        await cluster.settle(5)
        found = await cluster.client.get(kinds.NAMESPACES, "team")
        assert found["status"]["phase"] == "Terminating"
        remaining = condition_of(found, "NamespaceContentRemaining") or {}
        assert remaining["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
        finalizers = condition_of(found, "NamespaceFinalizersRemaining") or {}
        assert finalizers["message"].endswith("example.com/wait in 1 resource instances")
        await cluster.client.patch(
            kinds.CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, namespace="team"
        )
        await cluster.eventually(lambda: gone(cluster, "team"))

    simulate(scenario)

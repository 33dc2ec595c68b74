"""kubernetes-asyncio, lightkube and kr8s against the same cluster: each client's own way of the daily verbs."""

from __future__ import annotations

from typing import Any

import pytest
from live_cluster import Cluster

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore")]

POD = {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]}


async def test_kubernetes_asyncio(cluster: Cluster, space: str) -> None:
    """Create, watch to readiness, exec over WebSocket, log, apply, delete."""
    from kubernetes_asyncio import client, config, watch
    from kubernetes_asyncio.stream import WsApiClient

    settings: Any = client.Configuration()
    await config.load_kube_config(str(cluster.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as api, WsApiClient(settings) as sockets:
        core = client.CoreV1Api(api)
        await core.create_namespaced_pod(space, {"metadata": {"name": "p"}, "spec": POD})
        async with watch.Watch() as watching:
            async for event in watching.stream(core.list_namespaced_pod, space, timeout_seconds=20):
                statuses = event["object"].status.container_statuses or []
                if any(status.ready for status in statuses):
                    break
        said = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            "p", space, command=["echo", "hi"], stdout=True, stderr=True, stdin=False, tty=False
        )
        assert said.strip() == "hi"
        assert await core.read_namespaced_pod_log("p", space)
        patched = await core.patch_namespaced_pod("p", space, {"metadata": {"labels": {"a": "b"}}})
        assert patched.metadata.labels == {"a": "b"}
        await core.delete_namespaced_pod("p", space, grace_period_seconds=0)
        with pytest.raises(client.ApiException) as gone:
            await core.read_namespaced_pod("none", space)
        assert gone.value.status == 404


async def test_lightkube(cluster: Cluster, space: str) -> None:
    """Typed objects, server-side apply, list and watch, wait for a condition, delete."""
    from lightkube import ApiError, AsyncClient, KubeConfig
    from lightkube.models.apps_v1 import DeploymentSpec
    from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
    from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap, Pod

    made = KubeConfig.from_file(str(cluster.kubeconfig)).get()
    client = AsyncClient(made, namespace=space, field_manager="lightkube", trust_env=False)
    labels = {"app": "web"}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=[Container(name="c", image="nginx")])
    )
    spec = DeploymentSpec(replicas=2, selector=LabelSelector(matchLabels=labels), template=template)
    await client.apply(Deployment(metadata=ObjectMeta(name="web", namespace=space), spec=spec))
    await client.wait(Deployment, "web", for_conditions=["Available"])
    pods = [pod.metadata.name async for pod in client.list(Pod, labels=labels)]
    assert len(pods) == 2
    assert [line async for line in client.log(pods[0])]
    scale = await client.get(Deployment.Scale, "web")
    scale.spec.replicas = 1
    await client.replace(scale, "web")
    async for event, found in client.watch(Deployment):
        assert event in ("ADDED", "MODIFIED")
        if found.status and found.status.replicas == 1:
            break
    await client.create(ConfigMap(metadata=ObjectMeta(name="m", namespace=space), data={"a": "b"}))
    await client.patch(ConfigMap, "m", {"data": {"a": None}})
    assert not (await client.get(ConfigMap, "m")).data
    await client.delete(Deployment, "web")
    with pytest.raises(ApiError) as missing:
        await client.get(Pod, "none")
    assert missing.value.status.reason == "NotFound"
    await client.close()


async def test_kr8s(cluster: Cluster, space: str) -> None:
    """Objects that refresh themselves, wait, exec, logs, a forwarded port, scale, delete."""
    import httpx
    import kr8s.asyncio
    from kr8s.asyncio.objects import Deployment, Pod

    api = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig), namespace=space)
    pod = await Pod({"metadata": {"name": "p", "namespace": space}, "spec": POD}, api=api)
    await pod.create()
    await pod.wait("condition=Ready", timeout=20)
    ran = await pod.exec(["echo", "hello"])
    assert ran.stdout.decode().strip() == "hello"
    assert [line async for line in pod.logs()]
    async with pod.portforward(remote_port=80) as port, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200
    await pod.label(a="b")
    assert pod.labels == {"a": "b"}
    labels = {"app": "k"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": POD}}
    web = await Deployment({"metadata": {"name": "k", "namespace": space}, "spec": spec}, api=api)
    await web.create()
    await web.wait("condition=Available", timeout=20)
    await web.scale(2)
    await web.wait("jsonpath='{.status.readyReplicas}'=2", timeout=20)
    assert len([found async for found in api.get("pods", namespace=space, label_selector=labels)]) == 2
    await web.delete()
    await pod.delete()

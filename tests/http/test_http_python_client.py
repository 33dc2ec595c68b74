"""The official Python client, which nobody here wrote."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes import client, config, watch
from live_server import LiveServer


@pytest.fixture
def core(live: LiveServer) -> client.CoreV1Api:
    return client.CoreV1Api(config.new_client_from_config(str(live.kubeconfig)))


async def test_objects_make_the_round_trip(core: client.CoreV1Api) -> None:
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="gen-"), data={"a": "b"})
    made = await asyncio.to_thread(core.create_namespaced_config_map, "default", body)
    name = made.metadata.name
    assert name.startswith("gen-")
    read = await asyncio.to_thread(core.read_namespaced_config_map, name, "default")
    assert read.data == {"a": "b"}
    patch = {"data": {"c": "d"}}
    patched = await asyncio.to_thread(core.patch_namespaced_config_map, name, "default", patch)
    assert patched.data == {"a": "b", "c": "d"}
    await asyncio.to_thread(core.delete_namespaced_config_map, name, "default")
    with pytest.raises(client.ApiException) as refused:
        await asyncio.to_thread(core.read_namespaced_config_map, name, "default")
    assert refused.value.status == 404


async def test_a_watch_sees_what_is_there(core: client.CoreV1Api) -> None:
    def names() -> list[Any]:
        stream = watch.Watch().stream(core.list_namespace, timeout_seconds=1)
        return [event["object"].metadata.name for event in stream]

    assert set(await asyncio.to_thread(names)) >= {"default", "kube-system"}

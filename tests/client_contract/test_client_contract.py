"""What every ApiClient promises, over each implementation (see conftest)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.client import ApiClient, EventType, PatchType
from cluster.api.objects import Object, copy_of


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def pod(name: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]},
    }


async def collect(client: ApiClient, revision: str, count: int, **options: Any) -> list[tuple[str, str]]:
    """The next `count` events as (type, name)."""
    seen: list[tuple[str, str]] = []
    stream = client.watch(kinds.CONFIG_MAPS, namespace="default", revision=revision, **options)
    try:
        async with asyncio.timeout(5):
            async for batch in stream:
                seen += [(e.type.value, e.object["metadata"]["name"]) for e in batch]
                if len(seen) >= count:
                    return seen
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return seen


class TestObjects:
    async def test_created_object_has_identity_and_can_be_read(self, client: ApiClient) -> None:
        """uid, creationTimestamp and resourceVersion come from the server; the data comes back as it was."""
        made = await client.create(kinds.CONFIG_MAPS, config_map("a", k="v"))
        read = await client.get(kinds.CONFIG_MAPS, "a", namespace="default")
        assert read["data"] == {"k": "v"}
        assert read["metadata"]["uid"] == made["metadata"]["uid"]
        assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert made["metadata"]["creationTimestamp"]

    async def test_second_creation_is_refused(self, client: ApiClient) -> None:
        await client.create(kinds.CONFIG_MAPS, config_map("a"))
        with pytest.raises(errors.AlreadyExists, match='configmaps "a" already exists'):
            await client.create(kinds.CONFIG_MAPS, config_map("a"))

    async def test_missing_object_is_not_found(self, client: ApiClient) -> None:
        with pytest.raises(errors.NotFound, match='configmaps "nope" not found'):
            await client.get(kinds.CONFIG_MAPS, "nope", namespace="default")

    async def test_missing_namespace_is_not_found(self, client: ApiClient) -> None:
        body = config_map("a") | {"metadata": {"name": "a", "namespace": "nowhere"}}
        with pytest.raises(errors.NotFound, match='namespaces "nowhere" not found'):
            await client.create(kinds.CONFIG_MAPS, body)

    async def test_generated_names_differ(self, client: ApiClient) -> None:
        body = {"metadata": {"generateName": "job-", "namespace": "default"}}
        names = [(await client.create(kinds.CONFIG_MAPS, body))["metadata"]["name"] for _ in range(5)]
        assert len(set(names)) == 5
        assert all(name.startswith("job-") and len(name) == 9 for name in names)

    async def test_caller_keeps_its_body(self, client: ApiClient) -> None:
        body = pod("a", app="web")
        before = copy_of(body)
        await client.create(kinds.PODS, body)
        assert body == before

    async def test_stale_update_is_a_conflict(self, client: ApiClient) -> None:
        """An update with the resourceVersion of an older version is refused, one without is not."""
        old = await client.create(kinds.CONFIG_MAPS, config_map("a", k="1"))
        await client.update(kinds.CONFIG_MAPS, {**old, "data": {"k": "2"}})
        with pytest.raises(errors.Conflict, match="the object has been modified"):
            await client.update(kinds.CONFIG_MAPS, {**old, "data": {"k": "3"}})
        new = await client.update(kinds.CONFIG_MAPS, config_map("a", k="4"))
        assert new["data"] == {"k": "4"}

    async def test_update_without_change_keeps_the_revision(self, client: ApiClient) -> None:
        made = await client.create(kinds.CONFIG_MAPS, config_map("a", k="1"))
        same = await client.update(kinds.CONFIG_MAPS, made)
        assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    async def test_status_and_spec_are_written_apart(self, client: ApiClient) -> None:
        made = await client.create(kinds.PODS, pod("a") | {"status": {"phase": "Running"}})
        assert made["status"]["phase"] == "Pending"
        body = copy_of(made) | {"status": {"phase": "Running", "podIP": "10.0.0.1"}}
        body["spec"]["containers"][0]["image"] = "other:2"
        after = await client.update(kinds.PODS, body, subresource="status")
        assert after["status"]["phase"] == "Running"
        assert after["spec"]["containers"][0]["image"] == "nginx:1.27"
        plain = await client.update(kinds.PODS, {**after, "status": {"phase": "Failed"}})
        assert plain["status"]["phase"] == "Running"


class TestPatches:
    async def test_merge_patch_sets_and_removes(self, client: ApiClient) -> None:
        await client.create(kinds.CONFIG_MAPS, config_map("a", k="1", gone="x"))
        patch = {"data": {"k": "2", "gone": None}}
        after = await client.patch(kinds.CONFIG_MAPS, "a", patch, namespace="default")
        assert after["data"] == {"k": "2"}

    async def test_json_patch_tests_first(self, client: ApiClient) -> None:
        await client.create(kinds.CONFIG_MAPS, config_map("a", k="1"))
        good = [
            {"op": "test", "path": "/data/k", "value": "1"},
            {"op": "replace", "path": "/data/k", "value": "2"},
        ]
        after = await client.patch(kinds.CONFIG_MAPS, "a", good, namespace="default", kind=PatchType.JSON)
        assert after["data"] == {"k": "2"}
        with pytest.raises(errors.Invalid):
            await client.patch(kinds.CONFIG_MAPS, "a", good, namespace="default", kind=PatchType.JSON)

    async def test_strategic_patch_merges_containers_by_name(self, client: ApiClient) -> None:
        await client.create(kinds.PODS, pod("a"))
        patch = {"spec": {"containers": [{"name": "web", "image": "nginx:1.28"}]}}
        after = await client.patch(kinds.PODS, "a", patch, namespace="default", kind=PatchType.STRATEGIC)
        container = after["spec"]["containers"][0]
        assert (container["name"], container["image"]) == ("web", "nginx:1.28")
        assert container["imagePullPolicy"] == "IfNotPresent"

    async def test_apply_creates_then_owns(self, client: ApiClient) -> None:
        """What one manager applied, another one can't change without force."""
        config = config_map("a", k="1")
        await client.patch(kinds.CONFIG_MAPS, "a", config, namespace="default", kind=PatchType.APPLY)
        other = client.as_user("somebody-else")
        with pytest.raises(errors.Conflict, match="Apply failed with 1 conflict"):
            await other.patch(
                kinds.CONFIG_MAPS, "a", config_map("a", k="2"), namespace="default", kind=PatchType.APPLY
            )
        after = await other.patch(
            kinds.CONFIG_MAPS,
            "a",
            config_map("a", k="2"),
            namespace="default",
            kind=PatchType.APPLY,
            force=True,
        )
        assert after["data"] == {"k": "2"}


class TestLists:
    async def test_lists_are_ordered_and_selected(self, client: ApiClient) -> None:
        for name, app in (("c", "x"), ("a", "x"), ("b", "y")):
            body = config_map(name)
            body["metadata"]["labels"] = {"app": app}
            await client.create(kinds.CONFIG_MAPS, body)
        everything = await client.list(kinds.CONFIG_MAPS, namespace="default")
        assert [o["metadata"]["name"] for o in everything.items] == ["a", "b", "c"]
        chosen = await client.list(kinds.CONFIG_MAPS, label_selector="app in (x)")
        assert [o["metadata"]["name"] for o in chosen.items] == ["a", "c"]
        named = await client.list(kinds.CONFIG_MAPS, field_selector="metadata.name=b")
        assert [o["metadata"]["name"] for o in named.items] == ["b"]

    async def test_wrong_selectors_are_bad_requests(self, client: ApiClient) -> None:
        with pytest.raises(errors.BadRequest):
            await client.list(kinds.CONFIG_MAPS, label_selector="a in b")
        with pytest.raises(errors.BadRequest, match=r"field label not supported: spec\.foo"):
            await client.list(kinds.PODS, field_selector="spec.foo=1")


class TestWatches:
    async def test_watch_gives_every_change_after_the_list(self, client: ApiClient) -> None:
        listed = await client.list(kinds.CONFIG_MAPS, namespace="default")
        await client.create(kinds.CONFIG_MAPS, config_map("a"))
        await client.update(kinds.CONFIG_MAPS, config_map("a", k="v"))
        await client.delete(kinds.CONFIG_MAPS, "a", namespace="default")
        seen = await collect(client, listed.revision, 3)
        assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    async def test_selected_watch_turns_changes_of_labels_into_arrivals_and_departures(
        self, client: ApiClient
    ) -> None:
        listed = await client.list(kinds.CONFIG_MAPS, namespace="default")
        await client.create(kinds.CONFIG_MAPS, config_map("a"))
        for labels in ({"app": "web"}, {"app": "web", "more": "1"}, {"app": "db"}):
            await client.patch(kinds.CONFIG_MAPS, "a", {"metadata": {"labels": labels}}, namespace="default")
        seen = await collect(client, listed.revision, 3, label_selector="app=web")
        assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    async def test_watch_from_revision_zero_begins_with_what_there_is(self, client: ApiClient) -> None:
        await client.create(kinds.CONFIG_MAPS, config_map("a"))
        await client.create(kinds.CONFIG_MAPS, config_map("b"))
        assert await collect(client, "0", 2) == [("ADDED", "a"), ("ADDED", "b")]

    async def test_deletion_event_carries_its_own_revision(self, client: ApiClient) -> None:
        made = await client.create(kinds.CONFIG_MAPS, config_map("a"))
        revision = made["metadata"]["resourceVersion"]
        await client.delete(kinds.CONFIG_MAPS, "a", namespace="default")
        stream = client.watch(kinds.CONFIG_MAPS, namespace="default", revision=revision)
        async with asyncio.timeout(5):
            batch = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        assert batch[0].type is EventType.DELETED
        assert int(batch[0].object["metadata"]["resourceVersion"]) > int(revision)


class TestDeletions:
    async def test_preconditions_protect_a_successor(self, client: ApiClient) -> None:
        await client.create(kinds.CONFIG_MAPS, config_map("a"))
        with pytest.raises(errors.Conflict, match="the UID in the precondition"):
            await client.delete(kinds.CONFIG_MAPS, "a", namespace="default", uid="another")
        await client.delete(kinds.CONFIG_MAPS, "a", namespace="default")
        with pytest.raises(errors.NotFound):
            await client.delete(kinds.CONFIG_MAPS, "a", namespace="default")

    async def test_finalizers_hold_an_object_back(self, client: ApiClient) -> None:
        body = config_map("a")
        body["metadata"]["finalizers"] = ["example.com/hold"]
        await client.create(kinds.CONFIG_MAPS, body)
        await client.delete(kinds.CONFIG_MAPS, "a", namespace="default")
        held = await client.get(kinds.CONFIG_MAPS, "a", namespace="default")
        assert held["metadata"]["deletionTimestamp"]
        await client.patch(kinds.CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, namespace="default")
        with pytest.raises(errors.NotFound):
            await client.get(kinds.CONFIG_MAPS, "a", namespace="default")

    async def test_scheduled_pod_dies_in_two_steps(self, client: ApiClient) -> None:
        """First it is marked with its grace period, then whoever ran it removes it with grace 0."""
        await client.create(kinds.PODS, pod("a"))
        binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
        await client.create(kinds.PODS, binding, namespace="default", name="a", subresource="binding")
        marked = await client.delete(kinds.PODS, "a", namespace="default")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
        shorter = await client.delete(kinds.PODS, "a", namespace="default", grace_period_s=5)
        assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
        await client.delete(kinds.PODS, "a", namespace="default", grace_period_s=0)
        with pytest.raises(errors.NotFound):
            await client.get(kinds.PODS, "a", namespace="default")

    async def test_pod_without_a_node_goes_at_once(self, client: ApiClient) -> None:
        await client.create(kinds.PODS, pod("a"))
        await client.delete(kinds.PODS, "a", namespace="default")
        with pytest.raises(errors.NotFound):
            await client.get(kinds.PODS, "a", namespace="default")


class TestSubresources:
    async def test_pod_is_bound_once(self, client: ApiClient) -> None:
        await client.create(kinds.PODS, pod("a"))
        binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
        await client.create(kinds.PODS, binding, namespace="default", name="a", subresource="binding")
        bound = await client.get(kinds.PODS, "a", namespace="default")
        assert bound["spec"]["nodeName"] == "n1"
        with pytest.raises(errors.Conflict, match='pod a is already assigned to node "n1"'):
            await client.create(kinds.PODS, binding, namespace="default", name="a", subresource="binding")

    async def test_scale_is_a_window_on_replicas(self, client: ApiClient) -> None:
        await client.create(kinds.DEPLOYMENTS, deployment("web", 2))
        scale = await client.get(kinds.DEPLOYMENTS, "web", namespace="default", subresource="scale")
        assert scale["spec"]["replicas"] == 2
        assert scale["status"]["selector"] == "app=web"
        await client.patch(
            kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, namespace="default", subresource="scale"
        )
        scaled = await client.get(kinds.DEPLOYMENTS, "web", namespace="default")
        assert scaled["spec"]["replicas"] == 5
        assert scaled["metadata"]["generation"] == 2


def deployment(name: str, replicas: int) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]},
            },
        },
    }

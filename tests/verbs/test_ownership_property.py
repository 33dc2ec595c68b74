"""managedFields stay true whatever two managers do: apply, update, patch, by force or not, status or spec."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.chance import Chance
from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api import errors, kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object, copy_of
from cluster.api.registry import Registry
from cluster.server.call import Call, User
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

Path = tuple[str, ...]
LABELS, NODES, REPLICAS = ("metadata", "labels"), ("nodeSelector",), ("replicas",)

WISHES = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), min_size=1, max_size=2),
        "nodes": st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), min_size=1, max_size=2),
        "replicas": st.integers(1, 3),
        "images": st.dictionaries(st.sampled_from("cde"), st.sampled_from("xy"), min_size=1, max_size=2),
        "observed": st.integers(1, 3),
    },
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["apply", "apply", "put", "merge", "status put", "status apply"]),
        st.sampled_from("mn"),
        WISHES,
        st.booleans(),
    ),
    max_size=8,
)


def config(wishes: Any) -> Object:
    """What an applier of these wishes sends; nothing that it does not wish."""
    pod: Object = {}
    if "nodes" in wishes:
        pod["nodeSelector"] = dict(wishes["nodes"])
    if "images" in wishes:
        pod["containers"] = [{"name": name, "image": image} for name, image in wishes["images"].items()]
    spec: Object = {"replicas": wishes["replicas"]} if "replicas" in wishes else {}
    if pod:
        spec["template"] = {"spec": pod}
    metadata: Object = {"name": "web", "namespace": "default"}
    if "labels" in wishes:
        metadata["labels"] = dict(wishes["labels"])
    made: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    if "observed" in wishes:
        made["status"] = {"replicas": wishes["observed"]}
    return made


BASE = config({"images": {"c": "x"}, "replicas": 1})
BASE["spec"] |= {"selector": {"matchLabels": {"app": "web"}}}
BASE["spec"]["template"]["metadata"] = {"labels": {"app": "web"}}


def leaves(obj: Object) -> dict[Path, Any]:
    """The values that the steps play with, by a short path."""
    spec = obj.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    found: dict[Path, Any] = {(*LABELS, k): v for k, v in (obj["metadata"].get("labels") or {}).items()}
    if pod.get("nodeSelector"):
        found[NODES] = pod["nodeSelector"]  # atomic: set and owned as a whole
    found |= {("image", c["name"]): c["image"] for c in pod.get("containers") or () if "image" in c}
    if "replicas" in spec:
        found[REPLICAS] = spec["replicas"]
    return found


def owned(fields: Any) -> set[Path]:
    """Which of them an entry of managedFields names."""
    spec = fields.get("f:spec", {})
    pod = spec.get("f:template", {}).get("f:spec", {})
    found: set[Path] = {
        (*LABELS, k[2:]) for k in fields.get("f:metadata", {}).get("f:labels", {}) if k != "."
    }
    if "f:nodeSelector" in pod:
        found.add(NODES)
    for key, item in pod.get("f:containers", {}).items():
        if key == ".":
            continue
        name = orjson.loads(key[2:])["name"]
        found |= {("image", name)} if "f:image" in item else set()
        found |= {("container", name)} if "." in item else set()
    if "f:replicas" in spec:
        found.add(REPLICAS)
    return found


def dangling(fields: Any, value: Any, path: str = "") -> Iterator[str]:
    """Owned paths that lead to nothing."""
    for element, below in fields.items():
        if element == ".":
            continue
        inner = _followed(element, value)
        if inner is None:
            yield path + element
        else:
            yield from dangling(below, inner[0], f"{path}{element} ")


def _followed(element: str, value: Any) -> tuple[Any] | None:
    if element.startswith("f:") and isinstance(value, dict):
        return (value[element[2:]],) if element[2:] in value else None
    if element.startswith("k:") and isinstance(value, list):
        keys = orjson.loads(element[2:])
        return next(((item,) for item in value if keys.items() <= item.items()), None)
    return None


class Scene:
    """One Deployment and those who write it."""

    def __init__(self) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        store = Store(MemoryJournal(), clock=clock, verify=True)
        self.verbs = Verbs(store, Registry(), clock=clock, chance=Chance(1))
        self._client = LocalClient(self.verbs, "test")

    def call(self, manager: str, subresource: str = "") -> Call:
        user = User(name="test", groups=("system:masters",))
        return Call(
            user=user, resource=kinds.DEPLOYMENTS, namespace="default", name="web", field_manager=manager,
            subresource=subresource,
        )  # fmt: skip

    async def begin(self) -> Object:
        await self._client.create(kinds.NAMESPACES, {"metadata": {"name": "default"}})
        call = self.call("creator")
        call.name = ""
        return dict((await self.verbs.create(call, copy_of(BASE))).object)

    async def outcome(
        self, live: Object, how: str, manager: str, wishes: Any, force: bool
    ) -> Object | errors.Conflict | errors.Invalid:
        try:
            return await self.step(live, how, manager, wishes, force)
        except (errors.Conflict, errors.Invalid) as refused:
            return refused

    async def step(self, live: Object, how: str, manager: str, wishes: Any, force: bool) -> Object:
        sent = config(wishes)
        match how:
            case "apply" | "status apply":
                call = self.call(manager, "status" if how == "status apply" else "")
                return dict((await self.verbs.patch(call, PatchType.APPLY, sent, force=force)).object)
            case "merge":
                sent["spec"].pop("template", None)
                return dict((await self.verbs.patch(self.call(manager), PatchType.MERGE, sent)).object)
            case "status put":
                body = copy_of(live) | {"status": sent.get("status", {})}
                return dict((await self.verbs.update(self.call(manager, "status"), body)).object)
        body = copy_of(live)
        body["metadata"]["labels"] = sent["metadata"].get("labels", {})
        body["spec"]["template"]["spec"]["nodeSelector"] = wishes.get("nodes", {})
        if wishes.get("images"):
            body["spec"]["template"]["spec"]["containers"] = sent["spec"]["template"]["spec"]["containers"]
        if "replicas" in wishes:
            body["spec"]["replicas"] = wishes["replicas"]
        return dict((await self.verbs.update(self.call(manager), body)).object)


def owners_of(obj: Object, path: Path) -> set[str]:
    entries = obj["metadata"].get("managedFields") or ()
    return {f"{e['manager']} {e['operation']}" for e in entries if path in owned(e["fieldsV1"])}


def expected_conflicts(live: Object, manager: str, wishes: Any) -> set[tuple[str, Path]]:
    before = leaves(live)
    return {
        (owner, path)
        for path, value in leaves(config(wishes)).items()
        if path in before and before[path] != value
        for owner in owners_of(live, path)
        if owner != f"{manager} Apply"
    }


def check_conflict(conflict: errors.Conflict, how: str, expected: set[tuple[str, Path]]) -> None:
    if how == "apply":
        assert len(conflict.causes) == len(expected) > 0
        named = {f'conflict with "{owner.split()[0]}"' for owner, _ in expected}
        assert all(any(c.message.startswith(n) for n in named) for c in conflict.causes)


def check(live: Object, after: Object, how: str, manager: str, wishes: Any) -> None:
    for entry in after["metadata"]["managedFields"]:
        assert entry["fieldsV1"], "an entry without fields"
        assert not list(dangling(entry["fieldsV1"], after)), entry
    before, now = leaves(live), leaves(after)
    if how.startswith("status"):
        assert now == before
        return
    asked = leaves(config(wishes))
    for path, value in now.items():
        has = owners_of(after, path)
        if how == "apply":
            if path in asked:
                assert value == asked[path]
                assert f"{manager} Apply" in has, path
            else:
                assert f"{manager} Apply" not in has, path
        elif before.get(path) != value:
            assert has == {f"{manager} Update"}, path
        else:
            assert has >= owners_of(live, path), path
        let_go = how == "apply" and path not in asked and owners_of(live, path) == {f"{manager} Apply"}
        if let_go:
            assert path == REPLICAS, f"{path} was to be removed, and has no default"
        elif owners_of(live, path) and before.get(path) == value:
            assert has, f"{path} has lost its owners"
    for path in before.keys() - now.keys():
        if how == "apply":  # an image goes with its container, whoever set it since
            removed = ("container", path[1]) if path[0] == "image" else path
            assert owners_of(live, removed) == {f"{manager} Apply"}, (
                f"{removed} was not {manager}'s to remove"
            )


@settings(max_examples=250)
@given(STEPS)
def test_any_interleaving_of_two_managers_keeps_managed_fields_true(steps: list[Any]) -> None:
    """No owner of what is not there; what was set is its setter's; a conflict names exactly whom it is with."""

    async def run() -> None:
        scene = Scene()
        live = await scene.begin()
        for how, manager, wishes, force in steps:
            conflicts = expected_conflicts(live, manager, wishes) if how == "apply" and not force else set()
            outcome = await scene.outcome(live, how, manager, wishes, force)
            if isinstance(outcome, errors.Conflict):
                check_conflict(outcome, how, conflicts)
                continue
            assert not conflicts
            if isinstance(outcome, errors.Invalid):
                continue  # a container without an image, for instance
            after = outcome
            check(live, after, how, manager, wishes)
            live = after
        scene.verbs.close()

    run_virtual(run())

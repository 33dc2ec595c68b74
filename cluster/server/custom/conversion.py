"""Conversion webhooks: objects of a custom kind in the version that somebody wants, by asking a server.

The store holds each object in the version that was the storage version when it was written, and says so in
the object. Where the definition's strategy is Webhook, whatever reads or writes another version comes through
here, a whole list in one question. Kinds without such a webhook never do: their versions differ by name and
schema only, and stay synchronous.

Answers about stored objects are kept, as Kubernetes keeps them in its watch cache, so that ten watchers cost
one question; a changed definition starts with none.

Divergence: entries of metadata.managedFields keep the version in which they were made; server-side apply in
another version takes their field names as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.chance import Chance
from cluster.api.custom import Read
from cluster.api.errors import Unclassified
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.server.webhooks.caller import Caller, CallFailed
from cluster.store.entry import Entry

TIMEOUT_S = 30.0
KEPT = 4_096
"""Answers kept for one version; with more the oldest go."""


class NotConverted(Unclassified):
    """The webhook did not give what was asked for."""


class ConversionWebhook:
    """One definition's webhook."""

    def __init__(self, spec: Mapping[str, Any], caller: Caller, chance: Chance) -> None:
        """`spec`: the definition's spec.conversion.webhook."""
        self._client: Mapping[str, Any] = spec["clientConfig"]
        self._versions: Sequence[str] = spec.get("conversionReviewVersions") or ()
        self._caller = caller
        self._chance = chance

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects in that version: copies, except for those that are in it already. Raises
        NotConverted."""
        asked = [obj for obj in objects if obj["apiVersion"] != api_version]
        if not asked:
            return list(objects)
        kind = _shown_kind(asked[0])
        made = iter(await self._ask(asked, api_version, kind))
        return [obj if obj["apiVersion"] == api_version else next(made) for obj in objects]

    async def _ask(self, asked: Sequence[Object], api_version: str, kind: str) -> list[Object]:
        uid = self._chance.uuid()
        review_version = next((each for each in self._versions if each in ("v1", "v1beta1")), None)
        if review_version is None:
            raise NotConverted("no supported conversion review versions")
        group_version = f"apiextensions.k8s.io/{review_version}"
        review = {
            "kind": "ConversionReview",
            "apiVersion": group_version,
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": list(asked)},
        }
        try:
            answer = await self._caller.post(self._client, review, TIMEOUT_S)
        except CallFailed as error:
            raise NotConverted(f"conversion webhook for {kind} failed: {error}") from None
        converted = _converted(answer, group_version, uid, kind)
        if len(converted) != len(asked):
            raise NotConverted(
                f"conversion webhook for {kind} returned {len(converted)} objects, expected {len(asked)}"
            )
        where = "invalid object" if len(asked) == 1 else "invalid converted object"
        return [
            _checked(old, new, api_version, f"conversion webhook for {kind} returned {where}", index)
            for index, (old, new) in enumerate(zip(asked, converted, strict=True))
        ]


def _converted(answer: Any, review: str, uid: str, kind: str) -> Sequence[Any]:
    head = f"conversion webhook for {kind} failed"
    found = answer if isinstance(answer, Mapping) else {}
    strict = review.endswith("/v1")
    if strict and (found.get("apiVersion"), found.get("kind")) != (review, "ConversionReview"):
        group_version, named = found.get("apiVersion", ""), found.get("kind", "")
        raise NotConverted(
            f"{head}: expected webhook response of {review}, Kind=ConversionReview, got {group_version}, "
            f"Kind={named}"
        )
    response = found.get("response")
    if not isinstance(response, Mapping):
        raise NotConverted(f"{head}: no response provided")
    if strict and response.get("uid") != uid:
        raise NotConverted(f'{head}: expected response.uid="{uid}", got "{response.get("uid", "")}"')
    result: Mapping[str, Any] = response.get("result") or {}
    if (status := result.get("status", "")) != "Success":
        said = result.get("message") or f"response.result.status was '{status}', not 'Success'"
        raise NotConverted(f"{head}: {said}")
    objects: Sequence[Any] = response.get("convertedObjects") or ()
    return objects


def _checked(old: Object, new: Any, api_version: str, head: str, index: int) -> Object:
    """`new` with the metadata of `old`, of which a webhook may change labels and annotations only."""
    at = f"{head} at index {index}"
    if not isinstance(new, dict) or not new.get("kind"):
        raise NotConverted(f"{at}: Object 'Kind' is missing in the answer")
    if new.get("apiVersion") != api_version:
        why = f"invalid groupVersion (expected {api_version}, received {new.get('apiVersion', '')})"
        raise NotConverted(f"{at}: {why}")
    if new["kind"] != old["kind"]:
        raise NotConverted(f"{at}: invalid kind (expected {old['kind']}, received {new['kind']})")
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise NotConverted(f"{head.replace('object', 'metadata')}: missing metadata in converted object")
    for field, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        before, after = old["metadata"].get(field, ""), metadata.get(field, "")
        if before != after:
            raise NotConverted(f"{head}: must have the same {shown}: {before} != {after}")
    kept = {name: v for name, v in old["metadata"].items() if name not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        if metadata.get(field) is not None:
            kept[field] = _texts(metadata[field], field, head)
    return {**new, "metadata": kept}


def _texts(value: Any, field: str, head: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise NotConverted(f"{head}: invalid metadata.{field} in converted object")
    return value


def _shown_kind(obj: Object) -> str:
    return f"{obj['apiVersion']}, Kind={obj['kind']}"


class Conversion:
    """One served version of a kind with a webhook. Implements `cluster.api.custom.Converting`."""

    def __init__(
        self, resource: Resource, storage_version: str, read: Read, webhook: ConversionWebhook
    ) -> None:
        """`read` prunes and defaults what the webhook answered. `storage_version`: an apiVersion."""
        self._api_version = resource.api_version
        self._storage_version = storage_version
        self._read = read
        self._webhook = webhook
        self._kept: dict[tuple[str, str], Object] = {}

    async def served(self, objects: Sequence[Object]) -> list[Object]:
        """Raises ApiError."""
        converted = await self._webhook.convert(objects, self._api_version)
        return [self._read(obj) for obj in converted]

    async def stored(self, obj: Object) -> Object:
        """The form in which the store holds it. Raises ApiError."""
        return (await self._webhook.convert([obj], self._storage_version))[0]

    async def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """Stored entries in this version. Raises ApiError."""
        names = [(entry.uid, entry.object["metadata"].get("resourceVersion", "")) for entry in entries]
        kept = self._kept
        views = [kept.get(name) for name in names]
        missing = [entry.object for entry, view in zip(entries, views, strict=True) if view is None]
        fresh = iter(await self.served(missing))
        made = []
        for name, entry, view in zip(names, entries, views, strict=True):
            if view is None:
                view = next(fresh)
                if entry.object["apiVersion"] != self._api_version:
                    kept[name] = view
            made.append(Entry(entry.qualified, entry.key, view, entry.revision))
        while len(kept) > KEPT:
            del kept[next(iter(kept))]
        return made


async def in_version(registry: Registry, obj: Object, version: Resource) -> Object:
    """`obj` as `version` shows it, whoever converts."""
    if obj["apiVersion"] == version.api_version:
        return obj
    custom = registry.custom_of(version)
    if custom is not None and custom.conversion is not None:
        return (await custom.conversion.served([obj]))[0]
    return registry.convert(obj, version)

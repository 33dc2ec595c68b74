"""What a pod's ConfigMap, Secret, downward API and projected volumes hold, and what keeps them from being
made: pure, from the objects that the node was given.

`agents.podvolumes` brings the contents to the containers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from agents.environment import (
    ConfigProblem,
    Lookup,
    Place,
    config_map_values,
    field_value,
    resource_value,
    secret_values,
)
from cluster.api.objects import Object

DEFAULT_MODE = 0o644
_OBJECTS = (("configMap", "ConfigMap", "config"), ("secret", "Secret", "secret"))


class MountProblem(Exception):
    """Why a volume can't be set up."""


class Content(NamedTuple):
    data: bytes
    mode: int
    uid: int = 0


class TokenSpec(NamedTuple):
    """A service account token that a volume wants."""

    audience: str
    expires_s: int


def made_of_objects(volume: Object) -> bool:
    """Whether the agent fills the volume and keeps it up to date."""
    return any(field in volume for field in ("configMap", "secret", "downwardAPI", "projected"))


def mount_problems(pod: Object, place: Place, lookup: Lookup) -> list[str]:
    """Why volumes can't be set up, worded as the FailedMount event; empty where all can."""
    problems = []
    for volume in pod["spec"].get("volumes", ()):
        if made_of_objects(volume):
            try:
                for _ in contents(volume, pod, place, lookup, None):
                    pass
            except (MountProblem, ConfigProblem) as why:
                problems.append(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}')
    return problems


def tokens_of(volume: Object) -> Iterator[TokenSpec]:
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            yield _token_spec(source["serviceAccountToken"])


def _token_spec(source: Object) -> TokenSpec:
    return TokenSpec(source.get("audience", ""), source.get("expirationSeconds") or 3600)


def contents(
    volume: Object, pod: Object, place: Place, lookup: Lookup, tokens: Mapping[TokenSpec, str] | None
) -> Iterator[tuple[str, Content]]:
    """Relative path → content. Raises MountProblem. `tokens` None: leave tokens out."""
    projected = volume.get("projected")
    if projected is None:
        detail = volume.get("configMap") or volume.get("secret") or volume.get("downwardAPI") or {}
        yield from _source(volume, pod, place, lookup, detail.get("defaultMode", DEFAULT_MODE))
        return
    mode = projected.get("defaultMode", DEFAULT_MODE)
    for source in projected.get("sources", ()):
        if "serviceAccountToken" not in source:
            yield from _source(source, pod, place, lookup, mode)
        elif tokens is not None:
            wanted = source["serviceAccountToken"]
            yield wanted["path"], _token_content(tokens[_token_spec(wanted)].encode(), mode, pod)


def _token_content(data: bytes, mode: int, pod: Object) -> Content:
    """Only for the pod's group or, where all its containers are one user's, for that user."""
    if fs_group(pod) is not None:
        return Content(data, 0o600)
    spec = pod["spec"]
    outer = (spec.get("securityContext") or {}).get("runAsUser")
    users = {
        (container.get("securityContext") or {}).get("runAsUser", outer)
        for container in (*spec["containers"], *spec.get("initContainers", ()))
    }
    user = users.pop()
    return Content(data, mode) if users or user is None else Content(data, 0o600, user)


def fs_group(pod: Object) -> int | None:
    """To whom the pod's volumes belong."""
    group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group


def _source(
    source: Object, pod: Object, place: Place, lookup: Lookup, mode: int
) -> Iterator[tuple[str, Content]]:
    if "downwardAPI" in source:
        yield from _downward(source["downwardAPI"].get("items") or (), pod, place, mode)
    namespace = pod["metadata"]["namespace"]
    for field, kind, word in _OBJECTS:
        detail = source.get(field)
        if detail is None:
            continue
        name = detail.get("secretName") or detail.get("name", "")
        found, optional = lookup(kind, namespace, name), bool(detail.get("optional"))
        if found is None:
            if not optional:
                raise MountProblem(f'{kind.lower()} "{name}" not found')
            continue
        values = config_map_values(found) if kind == "ConfigMap" else secret_values(found)
        if "items" not in detail:
            yield from ((key, Content(data, mode)) for key, data in values.items())
            continue
        for item in detail["items"]:
            if item["key"] in values:
                yield item["path"], Content(values[item["key"]], item.get("mode", mode))
            elif not optional:
                prefix = (
                    "configmap references non-existent" if word == "config" else "references non-existent"
                )
                raise MountProblem(f"{prefix} {word} key: {item['key']}")


def _downward(items: Sequence[Object], pod: Object, place: Place, mode: int) -> Iterator[tuple[str, Content]]:
    for item in items:
        if "fieldRef" in item:
            text = field_value(item["fieldRef"]["fieldPath"], pod, place)
        else:
            reference = item["resourceFieldRef"]
            text = resource_value(reference, pod, pod["spec"]["containers"][0], place)
        yield item["path"], Content(text.encode(), item.get("mode", mode))

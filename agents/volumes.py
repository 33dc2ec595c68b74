"""A pod's ConfigMap, Secret, downward API and projected volumes, as files of its containers.

Divergence: service account tokens are left out, and files are made when a container starts; a later
change of the objects does not reach a running emulated container.
"""

from __future__ import annotations

from collections.abc import Iterator

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


def mount_problems(pod: Object, lookup: Lookup) -> list[str]:
    """Why volumes can't be set up, worded as the FailedMount event; empty where all can."""
    namespace = pod["metadata"]["namespace"]
    problems = []
    for volume in pod["spec"].get("volumes", ()):
        for kind, name, optional in _references(volume):
            if not optional and lookup(kind, namespace, name) is None:
                why = f'{kind.lower()} "{name}" not found'
                problems.append(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}')
                break
    return problems


def _references(volume: Object) -> Iterator[tuple[str, str, bool]]:
    if "configMap" in volume:
        source = volume["configMap"]
        yield "ConfigMap", source.get("name", ""), bool(source.get("optional"))
    elif "secret" in volume:
        source = volume["secret"]
        yield "Secret", source.get("secretName", ""), bool(source.get("optional"))
    elif "projected" in volume:
        for source in volume["projected"].get("sources", ()):
            for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                if field in source:
                    yield kind, source[field].get("name", ""), bool(source[field].get("optional"))


def files_of(pod: Object, container: Object, place: Place, lookup: Lookup) -> dict[str, bytes]:
    """Absolute path → content of what is mounted. Raises ConfigProblem."""
    mounts = container.get("volumeMounts")
    if not mounts:
        return {}
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    files: dict[str, bytes] = {}
    for mount in mounts:
        volume = volumes.get(mount["name"])
        content = _content(volume, pod, container, place, lookup) if volume is not None else {}
        root, part = mount["mountPath"].rstrip("/"), mount.get("subPath", "")
        for path, data in content.items():
            if not part:
                files[f"{root}/{path}"] = data
            elif path == part:
                files[root] = data
            elif path.startswith(part + "/"):
                files[f"{root}/{path[len(part) + 1 :]}"] = data
    return files


def _content(
    volume: Object, pod: Object, container: Object, place: Place, lookup: Lookup
) -> dict[str, bytes]:
    if "projected" in volume:
        files: dict[str, bytes] = {}
        for source in volume["projected"].get("sources", ()):
            files.update(_source(source, pod, container, place, lookup))
        return files
    return _source(volume, pod, container, place, lookup)


def _source(source: Object, pod: Object, container: Object, place: Place, lookup: Lookup) -> dict[str, bytes]:
    namespace = pod["metadata"]["namespace"]
    if "downwardAPI" in source:
        return _downward(source["downwardAPI"].get("items", ()), pod, container, place)
    for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if field not in source:
            continue
        detail = source[field]
        found = lookup(kind, namespace, detail.get("secretName") or detail.get("name", ""))
        if found is None:
            return {}
        values = config_map_values(found) if kind == "ConfigMap" else secret_values(found)
        return _picked(values, detail, kind)
    return {}


def _picked(values: dict[str, bytes], detail: Object, kind: str) -> dict[str, bytes]:
    if "items" not in detail:
        return values
    picked = {}
    for item in detail["items"]:
        if item["key"] in values:
            picked[item["path"]] = values[item["key"]]
        elif not detail.get("optional"):
            raise ConfigProblem(f"{kind.lower()} references non-existent key: {item['key']}")
    return picked


def _downward(items: list[Object], pod: Object, container: Object, place: Place) -> dict[str, bytes]:
    files = {}
    for item in items:
        if "fieldRef" in item:
            text = field_value(item["fieldRef"]["fieldPath"], pod, place)
        else:
            text = resource_value(item["resourceFieldRef"], pod, container, place)
        files[item["path"]] = text.encode()
    return files

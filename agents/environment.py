"""A container's environment: services, envFrom and env with their references, as the kubelet resolves them.

Later entries win: service variables, then envFrom, then env. A reference that can't be resolved and is not
optional keeps the container from being created, with the kubelet's wording.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cluster.api import quantity
from cluster.api.objects import Object

Lookup = Callable[[str, str, str], Object | None]
"""(kind, namespace, name) → the object, if the node was given it."""
OwnFile = Callable[[str, str], bytes]
"""(name of a volume of the pod's, path in it) → what the file holds. Raises OSError."""

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class ConfigProblem(Exception):
    """Why the container can't be configured."""


def _no_file(volume: str, path: str) -> bytes:
    raise FileNotFoundError(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod runs, for the references to it."""

    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]
    """The node's; what a container without limits may use."""
    cluster_dns: str = ""
    cluster_domain: str = "cluster.local"


def environment_of(
    pod: Object,
    container: Object,
    place: Place,
    lookup: Lookup,
    services: Iterable[Object],
    own_file: OwnFile = _no_file,
) -> dict[str, str]:
    """Raises ConfigProblem."""
    result = service_variables(pod, services)
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        for name, value in _whole(source, namespace, lookup).items():
            result[prefix + name] = value
    for entry in container.get("env", ()):
        name = entry["name"]
        if "valueFrom" in entry:
            source = entry["valueFrom"]
            if "fileKeyRef" in source:
                found = _value_in_file(source["fileKeyRef"], own_file)
            else:
                found = _value_from(source, pod, container, place, lookup)
            if found is not None:
                result[name] = found
        else:
            result[name] = expand(entry.get("value", ""), result)
    return result


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces $(NAME) where NAME is known; $$ stands for $."""
    if "$" not in text:
        return text

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return _REFERENCE.sub(replacement, text)


def references(text: str) -> list[str]:
    """The names in $(NAME), known or not."""
    return [match[1] for match in _REFERENCE.finditer(text) if match[1] is not None]


def expanded_command(container: Object, variables: Mapping[str, str]) -> Object:
    """The container with $(NAME) in command and args replaced; itself where there is none."""
    changed = {
        field: [expand(word, variables) for word in container[field]]
        for field in ("command", "args")
        if any("$" in word for word in container.get(field) or ())
    }
    return {**container, **changed} if changed else container


def config_map_values(config_map: Object) -> dict[str, bytes]:
    values = {name: text.encode() for name, text in (config_map.get("data") or {}).items()}
    for name, text in (config_map.get("binaryData") or {}).items():
        values[name] = base64.b64decode(text)
    return values


def secret_values(secret: Object) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in (secret.get("data") or {}).items()}


def _whole(source: Object, namespace: str, lookup: Lookup) -> dict[str, str]:
    for field, kind, word in (("configMapRef", "ConfigMap", "configmap"), ("secretRef", "Secret", "secret")):
        reference = source.get(field)
        if reference is None:
            continue
        found = lookup(kind, namespace, reference.get("name", ""))
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigProblem(f'{word} "{reference.get("name", "")}" not found')
        if kind == "ConfigMap":
            return dict(found.get("data") or {})
        return {name: value.decode(errors="replace") for name, value in secret_values(found).items()}
    return {}


def _value_from(source: Object, pod: Object, container: Object, place: Place, lookup: Lookup) -> str | None:
    """None where an optional reference leads nowhere."""
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod, place)
    if "resourceFieldRef" in source:
        return resource_value(source["resourceFieldRef"], pod, container, place)
    namespace = pod["metadata"]["namespace"]
    for field, kind, word in (
        ("configMapKeyRef", "ConfigMap", "configmap"),
        ("secretKeyRef", "Secret", "secret"),
    ):
        reference = source.get(field)
        if reference is None:
            continue
        name, key = reference.get("name", ""), reference["key"]
        found = lookup(kind, namespace, name)
        if found is None:
            if reference.get("optional"):
                return None
            raise ConfigProblem(f'{word} "{name}" not found')
        values = config_map_values(found) if kind == "ConfigMap" else secret_values(found)
        if key not in values:
            if reference.get("optional"):
                return None
            raise ConfigProblem(f"couldn't find key {key} in {kind} {namespace}/{name}")
        return values[key].decode(errors="replace")
    return None


def _value_in_file(reference: Object, own_file: OwnFile) -> str | None:
    """None where an optional reference leads nowhere."""
    path, key = reference["path"], reference["key"]
    try:
        text = own_file(reference["volumeName"], path).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise ConfigProblem("couldn't parse env file") from error
    found = _variables_in(text).get(key)
    if found is None and not reference.get("optional"):
        raise ConfigProblem(f'environment variable key "{key}" not found in file "{path}"')
    return found


def _variables_in(text: str) -> dict[str, str]:
    """Lines of the form NAME=value, the value in quotes or not; others and comments count for nothing."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name and not name.startswith("#"):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name] = value[1:-1] if quoted else value
    return found


def field_value(path: str, pod: Object, place: Place) -> str:
    """A fieldRef. Raises ConfigProblem."""
    meta, spec = pod["metadata"], pod["spec"]
    match = _SUBSCRIPT.fullmatch(path)
    if match is not None:
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta.get(path.removeprefix("metadata."), ""))
        case "metadata.labels" | "metadata.annotations":
            entries = meta.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f'{name}="{entries[name]}"' for name in sorted(entries))
        case "spec.nodeName":
            return str(spec.get("nodeName", ""))
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName", ""))
        case "status.hostIP" | "status.hostIPs":
            return place.host_ip
        case "status.podIP" | "status.podIPs":
            return place.pod_ip
    raise ConfigProblem(f"unsupported fieldPath: {path}")


def resource_value(reference: Object, pod: Object, container: Object, place: Place) -> str:
    """A resourceFieldRef, in units of its divisor, rounded up. Raises ConfigProblem."""
    name = reference.get("containerName")
    if name and name != container["name"]:
        spec = pod["spec"]
        every = (*spec["containers"], *spec.get("initContainers", ()))
        found = next((c for c in every if c["name"] == name), None)
        if found is None:
            raise ConfigProblem(f"container {name} not found")
        container = found
    kind, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(resource)
    if amount is None:
        amount = place.allocatable.get(resource, "0") if kind == "limits" else "0"
    divisor = quantity.parse(str(reference.get("divisor") or "1"))
    units = divisor.nanos or quantity.NANOS
    return str(-(-quantity.parse(str(amount)).nanos // units))


def service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """The docker-link style variables of the services in the pod's namespace, and of the API's."""
    namespace = pod["metadata"]["namespace"]
    links = pod["spec"].get("enableServiceLinks", True)
    result: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        master = meta["namespace"] == "default" and meta["name"] == "kubernetes"
        if not master and not (links and meta["namespace"] == namespace):
            continue
        address = spec.get("clusterIP", "")
        if address and address != "None" and spec.get("ports"):
            result.update(_variables_of(meta["name"], address, spec["ports"]))
    return result


def _variables_of(name: str, address: str, ports: list[Object]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    result = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for position, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{port['port']}"
        if position == 0:
            result[f"{prefix}_PORT"] = url
        start = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        result[start] = url
        result[f"{start}_PROTO"] = protocol.lower()
        result[f"{start}_PORT"] = str(port["port"])
        result[f"{start}_ADDR"] = address
    return result

"""Which resource a URL path means, as Kubernetes' RequestInfo reads it.

    /api/v1/namespaces/NS/pods/NAME/SUBRESOURCE/REST…      /apis/GROUP/VERSION/PLURAL/NAME/SUBRESOURCE/REST…

Written by hand because every request passes here: a few string operations, no patterns. Whether the
resource is served at all is not asked here: authorization comes first, for unknown paths too.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Target:
    group: str
    version: str
    plural: str
    namespace: str = ""
    """For a namespace object itself: its name, so that roles inside it can speak about it."""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows a proxy subresource, without the leading slash."""
    watch: bool = False
    """The old `/watch/` form of the path."""


def split(raw: str) -> tuple[str, str]:
    """Decoded path and raw query of a request line's target."""
    path, _, query = raw.partition("?")
    return (unquote(path) if "%" in path else path), query


def target_of(path: str) -> Target | None:
    """The target of a resource path; None for every other path (discovery, health, …)."""
    parts = path.split("/")
    if parts[-1] == "":
        parts.pop()
    if len(parts) < 4 or parts[1] not in ("api", "apis"):
        return None
    if parts[1] == "api":
        group, version, rest = "", parts[2], parts[3:]
    else:
        if len(parts) < 5:
            return None
        group, version, rest = parts[2], parts[3], parts[4:]
    watch = rest[0] == "watch" and len(rest) > 1
    return _resource(group, version, rest[1:] if watch else rest, watch)


def _resource(group: str, version: str, parts: list[str], watch: bool) -> Target:
    if parts[0] != "namespaces":
        return _target(group, version, "", parts, watch)
    if len(parts) == 1:
        return Target(group, version, "namespaces", watch=watch)
    namespace = parts[1]
    if len(parts) == 2 or parts[2] in NAMESPACE_SUBRESOURCES:
        subresource = parts[2] if len(parts) > 2 else ""
        return Target(group, version, "namespaces", namespace, namespace, subresource, watch=watch)
    return _target(group, version, namespace, parts[2:], watch)


def _target(group: str, version: str, namespace: str, parts: list[str], watch: bool) -> Target:
    count = len(parts)
    return Target(
        group,
        version,
        parts[0],
        namespace,
        parts[1] if count > 1 else "",
        parts[2] if count > 2 else "",
        "/".join(parts[3:]) if count > 3 else "",
        watch,
    )

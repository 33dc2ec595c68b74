"""The paths of the API that belong to no resource: lists of groups, versions and resources, version, keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cluster.api.openapi_paths import Operation, Path
from cluster.api.openapi_schemas import META
from cluster.api.registry import Registry

_VERSION_INFO: Final = "io.k8s.apimachinery.pkg.version.Info"
_FIXED: Final = {
    "/api/": ("getCoreAPIVersions", "core", META + "APIVersions"),
    "/apis/": ("getAPIVersions", "apis", META + "APIGroupList"),
    "/version/": ("getCodeVersion", "version", _VERSION_INFO),
    "/.well-known/openid-configuration/": (
        "getServiceAccountIssuerOpenIDConfiguration", "WellKnown", "",
    ),
    "/openid/v1/jwks/": ("getServiceAccountIssuerOpenIDKeyset", "openid", ""),
}  # fmt: skip


def root_paths(registry: Registry) -> Iterator[tuple[str, Path]]:
    """With the name of the v3 document that each belongs to. Groups of custom kinds alone have none."""
    for path, (operation, tag, answer) in _FIXED.items():
        yield path.strip("/"), _read(path, operation, tag, answer)
    groups: set[str] = set()
    for resource in registry.all():
        if not resource.schema:
            continue
        root = f"apis/{resource.group}" if resource.group else "api"
        parts = (resource.group or "core").removesuffix(".k8s.io").split(".")
        name = "".join(part.title() for part in parts)
        tag = name[:1].lower() + name[1:]
        if resource.group and resource.group not in groups:
            yield root, _read(f"/{root}/", f"get{name}APIGroup", tag, META + "APIGroup")
        groups.add(resource.group)
        version = f"{root}/{resource.version}"
        if version not in groups:
            operation = f"get{name}{resource.version.title()}APIResources"
            answer = META + "APIResourceList"
            yield version, _read(f"/{version}/", operation, f"{tag}_{resource.version}", answer)
        groups.add(version)


def _read(path: str, operation: str, tag: str, answer: str) -> Path:
    return Path(path, (), (Operation("get", "", operation, {}, (), answers=((200, answer),), tag=tag),))

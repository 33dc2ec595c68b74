"""The API's documents about itself, made from the registry by `cluster.api.discovery` and `openapi`.

OpenAPI is imported when first asked for: most processes of a test never are.
"""

from __future__ import annotations

from typing import Any

from cluster.api import discovery
from cluster.api.custom.publishing import published_schemas
from cluster.api.registry import Registry
from cluster.server.aggregation import discovery as remote
from cluster.server.aggregation.backends import Backend, Backends


class Published:
    """Implements `documents.ApiDocuments`."""

    def __init__(self, registry: Registry, backends: Backends | None = None) -> None:
        self._registry = registry
        self._backends = backends

    @property
    def generation(self) -> int:
        return self._registry.generation + (self._backends.generation if self._backends is not None else 0)

    def _remote(self) -> list[Backend]:
        return list(self._backends.table.values()) if self._backends is not None else []

    def core_versions(self, server: str) -> Any:
        return discovery.core_versions(server)

    def groups(self) -> Any:
        return remote.with_groups(discovery.groups(self._registry), self._remote())

    def group(self, name: str) -> Any | None:
        return remote.with_group(discovery.group(self._registry, name), name, self._remote())

    def resources(self, group: str, version: str) -> Any | None:
        return discovery.resources(self._registry, group, version)

    def aggregated(self, root: str, version: str) -> Any:
        found = discovery.aggregated(self._registry, root, version)
        return remote.with_aggregated(found, self._remote()) if root == "apis" else found

    def openapi_v2(self) -> Any:
        from cluster.api import openapi

        return openapi.v2(self._registry, published_schemas(self._registry))

    def openapi_v2_protobuf(self) -> bytes:
        from cluster.api import openapi_protobuf

        return openapi_protobuf.encode(self.openapi_v2())

    def openapi_v3(self) -> Any:
        from cluster.api import openapi

        index = openapi.v3_index(self._registry, published_schemas(self._registry))
        for backend in self._remote():
            if backend.openapi:
                index["paths"][backend.root[1:]] = {"serverRelativeURL": backend.openapi}
        return index

    def openapi_v3_of(self, path: str) -> Any | None:
        from cluster.api import openapi

        return openapi.v3(self._registry, path, published_schemas(self._registry))

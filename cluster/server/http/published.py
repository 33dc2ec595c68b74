"""The API's documents about itself, made from the registry by `cluster.api.discovery` and `openapi`.

OpenAPI is imported when first asked for: most processes of a test never are.
"""

from __future__ import annotations

from typing import Any

from cluster.api import discovery
from cluster.api.custom.publishing import published_schemas
from cluster.api.registry import Registry


class Published:
    """Implements `documents.ApiDocuments`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def generation(self) -> int:
        return self._registry.generation

    def core_versions(self, server: str) -> Any:
        return discovery.core_versions(server)

    def groups(self) -> Any:
        return discovery.groups(self._registry)

    def group(self, name: str) -> Any | None:
        return discovery.group(self._registry, name)

    def resources(self, group: str, version: str) -> Any | None:
        return discovery.resources(self._registry, group, version)

    def aggregated(self, root: str, version: str) -> Any:
        return discovery.aggregated(self._registry, root, version)

    def openapi_v2(self) -> Any:
        from cluster.api import openapi

        return openapi.v2(self._registry, published_schemas(self._registry))

    def openapi_v2_protobuf(self) -> bytes:
        from cluster.api import openapi_protobuf

        return openapi_protobuf.encode(self.openapi_v2())

    def openapi_v3(self) -> Any:
        from cluster.api import openapi

        return openapi.v3_index(self._registry, published_schemas(self._registry))

    def openapi_v3_of(self, path: str) -> Any | None:
        from cluster.api import openapi

        return openapi.v3(self._registry, path, published_schemas(self._registry))

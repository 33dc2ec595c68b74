"""Everything that is not a resource: discovery, OpenAPI, version, health, metrics, token keys.

Documents made from the registry are cached with their encoded form until the registry changes: clients
read them at every start. OpenAPI v3 documents carry a hash in their address and may be kept for ever.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import orjson

from broker.clock import Clock
from cluster.api.errors import NotFound
from cluster.server.auth.tokens import ISSUER, ServiceAccountTokens
from cluster.server.http.accept import clauses, negotiate, not_acceptable
from cluster.server.http.exchange import Answer, Exchange, document
from cluster.server.http.health import Health
from cluster.server.http.metrics import CONTENT_TYPE, Metrics

MAJOR, MINOR = "1", "37"
GIT_VERSION = "v1.37.0+kubemu"
AGGREGATED_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""How answers name it. Clients ask with an `@`, which is no media type and could not be parsed."""
_OPENAPI_V2_PROTOBUF_TYPES = (OPENAPI_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_FOREVER = ("Cache-Control", "public, immutable")


def path_not_found() -> NotFound:
    return NotFound("the server could not find the requested resource")


class ApiDocuments(Protocol):
    """What the API says about itself, as JSON values made from the registry."""

    @property
    def generation(self) -> int:
        """Changes whenever any of the documents may."""

    def core_versions(self, server: str) -> Any:
        """APIVersions at /api."""

    def groups(self) -> Any:
        """APIGroupList at /apis."""

    def group(self, name: str) -> Any | None: ...

    def resources(self, group: str, version: str) -> Any | None:
        """APIResourceList; None for a group version that is not served."""

    def aggregated(self, root: str, version: str) -> Any:
        """APIGroupDiscoveryList for "api" or "apis", in apidiscovery.k8s.io/v2 or v2beta1."""

    def openapi_v2(self) -> Any: ...

    def openapi_v2_protobuf(self) -> bytes:
        """The same in gnostic's protobuf form."""

    def openapi_v3(self) -> Any:
        """The index at /openapi/v3."""

    def openapi_v3_of(self, path: str) -> Any | None:
        """The document of `api/v1` or `apis/apps/v1`."""


Page: TypeAlias = Callable[[str], Any | None]
"""The document for the rest of a path; None where there is none."""


class Documents:
    def __init__(
        self,
        api: ApiDocuments,
        *,
        health: Health,
        metrics: Metrics,
        tokens: ServiceAccountTokens,
        clock: Clock,
        server_address: Callable[[], str],
    ) -> None:
        """`server_address`: host and port, as /api tells clients."""
        self._api = api
        self._health = health
        self._metrics = metrics
        self._tokens = tokens
        self._server_address = server_address
        self.pages: dict[str, Page] = {}
        """Documents of kubemu's own, by what their paths begin with."""
        self._build_date = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._cache: dict[str, tuple[bytes, str]] = {}
        self._generation = -1

    async def answer(self, exchange: Exchange) -> Answer:
        path = exchange.path.rstrip("/") or "/"
        if exchange.method not in ("GET", "HEAD"):
            raise path_not_found()
        if path.startswith(("/api", "/openapi/")):
            return self._described(exchange, path)
        for prefix, page in self.pages.items():
            if path.startswith(prefix):
                found = page(path.removeprefix(prefix))
                if found is None:
                    raise path_not_found()
                return document(found)
        match path:
            case "/version":
                return document(self._version())
            case "/metrics":
                return Answer(self._metrics.text().encode(), 200, CONTENT_TYPE)
            case "/.well-known/openid-configuration":
                return document(self._openid())
            case "/openid/v1/jwks":
                return Answer(orjson.dumps(self._tokens.key.jwks()), 200, "application/jwk-set+json")
            case "/":
                return document({"paths": sorted(self._paths())})
        excluded = exchange.request.rel_url.query.getall("exclude", [])
        answer = self._health.answer(path, excluded, "verbose" in exchange.query)
        if answer is None:
            raise path_not_found()
        return answer

    def _described(self, exchange: Exchange, path: str) -> Answer:
        if self._generation != self._api.generation:
            self._cache.clear()
            self._generation = self._api.generation
        match path.split("/")[1:]:
            case ["api" | "apis" as root]:
                return self._root(exchange, root)
            case ["api", version]:
                return self._cached(path, lambda: self._api.resources("", version), exchange)
            case ["apis", group]:
                return self._cached(path, lambda: self._api.group(group), exchange)
            case ["apis", group, version]:
                return self._cached(path, lambda: self._api.resources(group, version), exchange)
            case ["openapi", "v2"]:
                return self._openapi_v2(exchange)
            case ["openapi", "v3"]:
                return self._cached(path, self._api.openapi_v3, exchange)
            case ["openapi", "v3", *rest]:
                return self._openapi_v3(exchange, path, "/".join(rest))
        raise path_not_found()

    def _root(self, exchange: Exchange, root: str) -> Answer:
        for media_type, parameters in clauses(exchange.accept):
            if (
                media_type == "application/json"
                and parameters.get("as") == "APIGroupDiscoveryList"
                and parameters.get("g") == "apidiscovery.k8s.io"
                and parameters.get("v") in ("v2", "v2beta1")
            ):
                return self._aggregated(exchange, root, parameters["v"])
            if media_type in ("application/json", "*/*", "application/*") and "as" not in parameters:
                break
        negotiate(exchange.accept.replace(";as=APIGroupDiscoveryList", ";as=refused"))
        if root == "apis":
            return self._cached(root, self._api.groups, exchange)
        return self._cached(root, lambda: self._api.core_versions(self._server_address()), exchange)

    def _aggregated(self, exchange: Exchange, root: str, version: str) -> Answer:
        key = f"{root} {version}"
        answer = self._cached(key, lambda: self._api.aggregated(root, version), exchange, etag=True)
        answer.content_type = AGGREGATED_DISCOVERY.format(version=version)
        return answer

    def _openapi_v2(self, exchange: Exchange) -> Answer:
        for media_type, _ in clauses(exchange.accept) or (("*/*", {}),):
            if media_type in _OPENAPI_V2_PROTOBUF_TYPES:
                answer = self._cached(media_type, self._api.openapi_v2_protobuf, exchange, etag=True)
                answer.content_type = OPENAPI_PROTOBUF
                return answer
            if media_type in ("application/json", "*/*", "application/*"):
                return self._cached("/openapi/v2", self._api.openapi_v2, exchange, etag=True)
        raise not_acceptable("application/json")

    def _openapi_v3(self, exchange: Exchange, path: str, name: str) -> Answer:
        answer = self._cached(path, lambda: self._api.openapi_v3_of(name), exchange, etag=True)
        if exchange.query.get("hash"):
            answer.headers = (*answer.headers, _FOREVER)
        return answer

    def _cached(
        self, key: str, make: Callable[[], Any | None], exchange: Exchange, *, etag: bool = False
    ) -> Answer:
        found = self._cache.get(key)
        if found is None:
            value = make()
            if value is None:
                raise path_not_found()
            encoded = value if isinstance(value, bytes) else orjson.dumps(value)
            found = self._cache[key] = (encoded, _etag(encoded) if etag else "")
        body, tag = found
        form = negotiate(exchange.accept) if not etag else None
        if form is not None and form.encoding.value != "application/json":
            return document(orjson.loads(body), form)
        return _tagged(exchange, body, tag, "application/json") if tag else Answer(body)

    def _version(self) -> dict[str, str]:
        return {
            "major": MAJOR,
            "minor": MINOR,
            "emulationMajor": MAJOR,
            "emulationMinor": MINOR,
            "minCompatibilityMajor": MAJOR,
            "minCompatibilityMinor": str(int(MINOR) - 1),
            "gitVersion": GIT_VERSION,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": self._build_date,
            "goVersion": f"python{platform.python_version()}",
            "compiler": sys.implementation.name,
            "platform": f"{sys.platform}/{_architecture()}",
        }

    def _openid(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "jwks_uri": f"https://{self._server_address()}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def _paths(self) -> list[str]:
        groups = [group["name"] for group in self._api.groups()["groups"]]
        fixed = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3"]
        fixed += ["/openid/v1/jwks", "/readyz", "/version", "/.well-known/openid-configuration"]
        return fixed + [f"/apis/{group}" for group in groups]


def _tagged(exchange: Exchange, body: bytes, tag: str, content_type: str) -> Answer:
    """The body, or 304 for a client that has it already."""
    headers = (("ETag", f'"{tag}"'), ("Vary", "Accept"))
    if f'"{tag}"' in exchange.request.headers.get("If-None-Match", ""):
        return Answer(b"", 304, content_type, headers)
    return Answer(body, 200, content_type, headers)


def _etag(encoded: bytes) -> str:
    return hashlib.sha512(encoded).hexdigest().upper()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

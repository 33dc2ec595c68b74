"""Requests drawn from the served OpenAPI v3 documents, against a live server with all its controllers.

Nothing may end in a 5xx, no answer may be outside the schema that the document gives for it (or be another
than a Status), and nothing in the control plane may crash over what has been stored.

KUBEMU_FUZZ_SEED and KUBEMU_FUZZ_ROUNDS make longer runs; a failure names the request and the seed.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import pytest
from fuzzing import ACCEPTED, MEDIA_TYPES, QUERIES, STRINGS, Maker, Operation, Request, operations, outside
from live_server import LiveServer, Reply, live_server
from structlog.testing import capture_logs
from test_validation import FINE as COMMON
from test_validation_rarer_kinds import FINE as RARE

SEED = int(os.environ.get("KUBEMU_FUZZ_SEED", "1"))
ROUNDS = int(os.environ.get("KUBEMU_FUZZ_ROUNDS", "8"))
ANSWER_S = 60
"""Longer than any request takes on a busy machine: then it hangs."""
NAMESPACES = ("default", "none-such", "A_b", "kube-system")
RARELY = {"deletecollection": 0.2, "delete": 0.5}
"""How often an operation is taken when its turn comes, so that there is something left to work on."""
TALKS = ("connect", "watch", "watchlist")
"""Actions that reach nodes, or that take as long as they like."""
DECIDES = (
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "APIService",
    "CustomResourceDefinition", "ResourceQuota", "LimitRange",
)  # fmt: skip
"""Kinds that decide on what other requests get: only tried, never stored."""
GOOD: dict[str, list[dict[str, Any]]] = {}
for _resource, _parts in (*COMMON, *RARE):
    GOOD.setdefault(_resource.kind, []).append(_parts)
MISMERGED = (
    b"does not contain declared merge key",
    b"unknown patch type",
    b"cannot yet be specified",
    b"setElementOrder",
)
"""Of strategic merge patches that make no sense: Kubernetes, too, answers them with 500."""
KUBERNETES_TOO = (b"failed to create typed patch object", b"replicas field", b"error dialing backend")
"""In other 500s that Kubernetes gives as well: applied fields that no schema has, a Scale of an object without
replicas, the log of a pod whose node can't be reached."""
STATUS = {"kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"}


WIDGETS = {
    "metadata": {"name": "widgets.fuzz.example.com"},
    "spec": {
        "group": "fuzz.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "additionalPrinterColumns": [{"name": "size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-validations": [{"rule": "self.parts.all(p, p.name != 'bad')"}],
                                "required": ["parts"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 0, "default": 1},
                                    "colour": {"type": "string", "enum": ["red", "blue"]},
                                    "any": {"x-kubernetes-preserve-unknown-fields": True},
                                    "amount": {"x-kubernetes-int-or-string": True},
                                    "parts": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "n": {"type": "number"},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}
GOOD["Widget"] = [{"spec": {"parts": [{"name": "a"}, {"name": "b", "n": 1.5}]}}]


class Fuzzer:
    def __init__(self, live: LiveServer, document: dict[str, Any], random: Random) -> None:
        self._live = live
        self._schemas = document["components"]["schemas"]
        self._random = random
        self._maker = Maker(self._schemas, random)
        self._made: dict[str, list[tuple[str, str]]] = {}
        """Namespace and name of what was created, by the path of the collection."""
        self._kinds = {
            (f"{k['group']}/{k['version']}".removeprefix("/"), k["kind"]): schema
            for schema in self._schemas.values()
            for k in schema.get("x-kubernetes-group-version-kind", ())
        }

    async def run(self, operation: Operation) -> list[str]:
        if self._random.random() > RARELY.get(operation.action, 1):
            return []
        namespace, name = self._target(operation)
        path = operation.path.replace("{namespace}", quote(namespace, safe=""))
        path = path.replace("{name}", quote(name, safe="") or "x")
        current = None
        if operation.action in ("put", "patch") and self._random.random() < 0.8:
            found = await self._live.call("GET", path)
            current = found.json if found.status == 200 else None
        request = self._request(operation, path, current)
        content = (
            {"Content-Type": request.headers["Content-Type"]} if "Content-Type" in request.headers else {}
        )
        data = request.raw if request.raw is not None else None
        if data is None and request.body is not None:
            data = json.dumps(request.body).encode()
        sent = {"Accept": request.headers.get("Accept", "application/json"), **content}
        reply = await self._live.call(request.method, request.path, headers=sent, data=data)
        wrong = list(self._judged(operation, request, reply))
        return [
            f"{request.method} {request.path} {sent} {data!r}\n    → {reply.status}: {text}" for text in wrong
        ]

    def _judged(self, operation: Operation, request: Request, reply: Reply) -> Any:
        is_merge = "strategic" in request.headers.get("Content-Type", "")
        if reply.status == 500 and is_merge and any(words in reply.text for words in MISMERGED):
            return
        if reply.status == 500 and any(words in reply.text for words in KUBERNETES_TOO):
            return
        if reply.status >= 500:
            yield reply.text[:2000].decode("utf-8", "replace")
            return
        kind = reply.headers.get("Content-Type", "").partition(";")[0]
        if kind != "application/json" or "as=" in reply.headers.get("Content-Type", ""):
            return
        answer = orjson.loads(reply.text)
        if reply.status >= 400 or answer.get("kind") == "Status":
            if not isinstance(answer, dict) or not answer.keys() <= STATUS or answer.get("kind") != "Status":
                yield f"no Status: {reply.text[:500]!r}"
            elif reply.status >= 400 and (answer["code"] != reply.status or not answer.get("message")):
                yield f"another code or no message: {answer}"
            return
        if answer.get("kind") in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            return
        if reply.status not in operation.answers:
            yield "a code that the document does not have"
        else:
            schema = operation.answers[reply.status]
            if (
                operation.method == "DELETE"
            ):  # Kubernetes documents a Status and often answers what was deleted
                schema = self._kinds[answer["apiVersion"], answer["kind"]]
            yield from outside(answer, schema, self._schemas)
        if reply.status == 201 and "metadata" in answer and operation.action == "post":
            named = answer["metadata"].get("namespace", ""), answer["metadata"].get("name", "")
            self._made.setdefault(operation.path, []).append(named)

    def _target(self, operation: Operation) -> tuple[str, str]:
        """Namespace and name: mostly of something that is there."""
        known = self._made.get(operation.path.partition("/{name}")[0], [])
        if known and self._random.random() < 0.9:
            return self._random.choice(known[-4:])
        namespace = "fuzz" if self._random.random() < 0.9 else self._random.choice(NAMESPACES)
        return namespace, self._random.choice(("fuzz-1", "a", *STRINGS))

    def _request(self, operation: Operation, path: str, current: Any) -> Request:
        random = self._random
        query = self._query(operation)
        headers = {"Accept": random.choice(ACCEPTED)} if random.random() < 0.1 else {}
        if operation.body is None:
            return Request(method=operation.method, path=path + query, headers=headers)
        media = operation.media_types[0] if operation.media_types[0] != "*/*" else "application/json"
        if operation.method == "PATCH":
            media = random.choice(operation.media_types)
        elif random.random() < 0.05:
            media = random.choice(MEDIA_TYPES)
        headers["Content-Type"] = media
        if random.random() < 0.03:
            raw = random.choice(
                (b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"k8s\x00\x0a", b'{"a":1,"a":2}')
            )
            return Request(method=operation.method, path=path + query, raw=raw, headers=headers)
        body = self._body(operation, media, current)
        return Request(method=operation.method, path=path + query, body=body, headers=headers)

    def _query(self, operation: Operation) -> str:
        chosen = {}
        for name in operation.queries:
            if self._random.random() < 0.06 and name not in ("watch", "follow"):
                values = QUERIES.get(name, ("true", "false", "x", "1"))
                chosen[name] = self._random.choice(values)
        if operation.kind in DECIDES and operation.method != "GET":
            chosen["dryRun"] = "All"
        if "application/apply-patch+yaml" in operation.media_types and self._random.random() < 0.7:
            chosen["fieldManager"] = "fuzz"
        return "?" + urlencode(chosen) if chosen else ""

    def _body(self, operation: Operation, media: str, current: Any) -> Any:
        assert operation.body is not None
        if media == "application/json-patch+json":
            return self._json_patch(operation)
        if operation.method == "DELETE":
            return None if self._random.random() < 0.5 else self._maker.value(operation.body)
        schema = next(iter(operation.answers.values()), operation.body)
        good = GOOD.get(operation.kind)
        if current is not None:
            if operation.method == "PATCH":
                current = self._part(current)
                if media == "application/apply-patch+yaml" and isinstance(current.get("metadata"), dict):
                    current["metadata"].pop("managedFields", None)
            return self._maker.changed(current, schema, self._random.choice((0, 1, 1, 2)))
        if good is None or "{name}/" in operation.path or self._random.random() < 0.15:
            body = self._maker.value(schema)
        else:
            body = self._random.choice(good)
            body = body | {
                "metadata": {"name": f"fuzz-{self._random.randrange(6)}"} | body.get("metadata", {})
            }
        times = self._random.choice((0, 0, 1, 1, 2, 4))
        return self._maker.changed(body, schema, times)

    def _part(self, value: Any) -> Any:
        """Some of an object, as patches have it: its identity and a few fields at each level."""
        if not isinstance(value, dict):
            return value
        keep = ("apiVersion", "kind", "name", "key", "port")
        return {k: self._part(v) for k, v in value.items() if k in keep or self._random.random() < 0.5}

    def _json_patch(self, operation: Operation) -> Any:
        steps = ("", "metadata", "labels", "spec", "status", "0", "-", "a~1b", "template", "containers")
        path = "".join("/" + self._random.choice(steps) for _ in range(self._random.randrange(4)))
        verb = self._random.choice(("add", "remove", "replace", "move", "copy", "test", "fly"))
        change = {"op": verb, "path": path, "value": self._random.choice(STRINGS), "from": "/metadata/name"}
        return self._random.choice(([change], [change, change], [], {"op": 1}, [1]))


async def documents(live: LiveServer) -> dict[str, Any]:
    index = (await live.get("/openapi/v3")).json["paths"]
    found = {}
    for name, entry in sorted(index.items()):
        if (
            name.startswith(("api/", "apis/"))
            and "metrics.k8s.io" not in name
            and name.count("/") == 2 - (name[:4] == "api/")
        ):
            found[name] = (await live.get(entry["serverRelativeURL"])).json
    return found


@pytest.mark.services
async def test_no_request_is_answered_outside_the_document(tmp_path: Path) -> None:
    random = Random(SEED)
    wrong: list[str] = []
    with capture_logs() as logs:
        async with live_server(tmp_path) as live:
            await live.call("POST", "/api/v1/namespaces", {"metadata": {"name": "fuzz"}})
            await live.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", WIDGETS)
            fuzzers = [
                (Fuzzer(live, doc, random), list(operations(doc))) for doc in (await documents(live)).values()
            ]
            for _ in range(ROUNDS):
                for fuzzer, choices in fuzzers:
                    for operation in choices:
                        if operation.action not in TALKS:
                            wrong += await attempt(fuzzer, operation)
    crashed = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert not wrong, f"seed {SEED}: {len(wrong)} answers, the first:\n" + "\n".join(wrong[:20])
    assert not crashed, f"seed {SEED}: {crashed[:5]}"


async def attempt(fuzzer: Fuzzer, operation: Operation) -> list[str]:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await fuzzer.run(operation)
    except (aiohttp.ClientError, TimeoutError) as error:
        return [f"{operation.method} {operation.path}: {error!r}"]

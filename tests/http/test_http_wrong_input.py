"""What a client can do wrong, and the Status it gets."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import LiveServer

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("method", "path", "more", "code", "reason", "message"),
    [
        pytest.param("GET", "/api/v1/namespaces/default/pots", {}, 404, "NotFound",
                     "the server could not find the requested resource", id="unknown resource"),
        pytest.param("GET", "/nothing", {}, 404, "NotFound",
                     "the server could not find the requested resource", id="unknown path"),
        pytest.param("GET", f"{CONFIG_MAPS}/x", {}, 404, "NotFound",
                     'configmaps "x" not found', id="unknown object"),
        pytest.param("PUT", CONFIG_MAPS, {"body": {}}, 405, "MethodNotAllowed",
                     "the server does not allow this method on the requested resource", id="wrong method"),
        pytest.param("POST", "/api/v1/configmaps", {"body": {}}, 405, "MethodNotAllowed",
                     "the server does not allow this method on the requested resource", id="no namespace"),
        pytest.param("GET", "/api/v1/namespaces/default/nodes", {}, 404, "NotFound",
                     "the server could not find the requested resource", id="namespace of a node"),
        pytest.param("GET", CONFIG_MAPS, {"headers": {"Accept": "text/html"}}, 406, "NotAcceptable",
                     "only the following media types are accepted: application/json, application/yaml",
                     id="accepts nothing we have"),
        pytest.param("POST", CONFIG_MAPS,
                     {"data": b"x", "headers": {"Content-Type": "application/cbor"}},
                     415, "UnsupportedMediaType",
                     "the body of the request was in an unknown format - accepted media types include: "
                     "application/json, application/yaml, application/vnd.kubernetes.protobuf", id="CBOR body"),
        pytest.param("GET", f"{CONFIG_MAPS}?limit=ten", {}, 400, "BadRequest",
                     'strconv.ParseInt: parsing "ten": invalid syntax', id="limit is no number"),
        pytest.param("POST", f"{CONFIG_MAPS}?dryRun=Some", {"body": {}}, 422, "Invalid",
                     'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": '
                     'supported values: "All"', id="unknown dry run"),
        pytest.param("POST", f"{CONFIG_MAPS}?fieldValidation=Maybe", {"body": {}}, 422, "Invalid",
                     'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": '
                     'supported values: "Ignore", "Strict", "Warn"', id="unknown field validation"),
        pytest.param("GET", f"{CONFIG_MAPS}?resourceVersionMatch=Exact", {}, 422, "Invalid",
                     'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
                     "resourceVersionMatch is forbidden unless resourceVersion is provided",
                     id="match without a revision"),
        pytest.param("PATCH", f"{CONFIG_MAPS}/x?force=true",
                     {"data": b"{}", "headers": {"Content-Type": "application/merge-patch+json"}}, 422, "Invalid",
                     'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: '
                     "may not be specified for non-apply patch", id="force without apply"),
        pytest.param("PATCH", f"{CONFIG_MAPS}/x",
                     {"data": b"{}", "headers": {"Content-Type": "application/apply-patch+yaml"}}, 422, "Invalid",
                     'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: '
                     "is required for apply patch", id="apply without a manager"),
    ],
)  # fmt: skip
async def test_a_wrong_request_gets_the_status_that_says_so(
    live: LiveServer, method: str, path: str, more: dict[str, Any], code: int, reason: str, message: str
) -> None:
    status = (await live.call(method, path, **more)).expect(code)
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
    assert (status["reason"], status["message"]) == (reason, message)


async def test_a_body_that_is_no_json_is_a_bad_request(live: LiveServer) -> None:
    reply = await live.call("POST", CONFIG_MAPS, data=b"{", headers={"Content-Type": "application/json"})
    assert reply.expect(400)["reason"] == "BadRequest"


async def test_a_body_over_three_mebibytes_is_refused(live: LiveServer) -> None:
    body = b'{"data":{"x":"' + b"x" * (3 << 20) + b'"}}'
    reply = await live.call("POST", CONFIG_MAPS, data=body, headers={"Content-Type": "application/json"})
    status = reply.expect(413)
    assert status["reason"] == "RequestEntityTooLarge"
    assert status["message"] == "Request entity too large: limit is 3145728"


async def test_fields_given_twice_are_named(live: LiveServer) -> None:
    """Strict refuses them, Warn (the default) only warns."""
    body = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice","name":"twice"},"data":{"a":"b"}}'
    )
    headers = {"Content-Type": "application/json"}
    strict = await live.call("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", data=body, headers=headers)
    assert 'duplicate field "metadata.name"' in strict.expect(400)["message"]
    warned = await live.call("POST", CONFIG_MAPS, data=body, headers=headers)
    assert warned.status == 201
    assert warned.headers["Warning"] == '299 - "duplicate field \\"metadata.name\\""'


async def test_a_failure_can_be_had_as_yaml(live: LiveServer) -> None:
    reply = await live.get(f"{CONFIG_MAPS}/x", headers={"Accept": "application/yaml"})
    assert reply.status == 404
    assert b"reason: NotFound" in reply.text

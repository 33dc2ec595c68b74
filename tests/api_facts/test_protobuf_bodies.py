"""Bodies in protobuf, encoded here by hand: what no JSON client of ours sends."""

from __future__ import annotations

import pytest

from cluster.api import kinds
from cluster.api.registry import Registry
from cluster.server.http import protobuf


def field(number: int, value: bytes | int) -> bytes:
    tag = number << 3
    if isinstance(value, int):
        return varint(tag) + varint(value)
    return varint(tag | 2) + varint(len(value)) + value


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def envelope(api_version: str, kind: str, body: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, body)


STRING = field(5, b"string")


@pytest.mark.parametrize(
    ("encoded", "schema"),
    [
        (field(30, field(1, 1)), {"additionalProperties": True}),
        (field(30, b""), {"additionalProperties": False}),
        (field(30, field(1, 1) + field(2, STRING)), {"additionalProperties": {"type": "string"}}),
        (field(24, field(1, STRING)), {"items": {"type": "string"}}),
        (field(24, field(2, STRING) + field(2, b"")), {"items": [{"type": "string"}, {}]}),
        (field(20, field(1, b'{"a":1}')) + field(20, field(1, b"2")), {"enum": [{"a": 1}, 2]}),
    ],
    ids=["anything", "nothing", "a schema", "one schema of items", "schemas of items", "any JSON"],
)
def test_a_schema_in_a_definition_may_be_something_simpler(encoded: bytes, schema: object) -> None:
    """Go's types for these have no field names in JSON: a bool, a list or the schema itself stands there."""
    version = field(7, field(1, b"v1") + field(4, field(1, encoded)))
    body = envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, version))
    definition = protobuf.object_of(body, Registry())
    assert definition["spec"]["versions"] == [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]


def test_years_have_four_digits() -> None:
    """Go clients send moments near the zero time."""
    two_seconds_in = field(1, -62135596798 & (1 << 64) - 1)
    body = envelope("coordination.k8s.io/v1", "Lease", field(2, field(4, two_seconds_in)))
    lease = protobuf.object_of(body, Registry())
    assert lease["spec"] == {"renewTime": "0001-01-01T00:00:02.000000Z"}


def test_kinds_without_numbers_have_no_form() -> None:
    assert protobuf.has_form(kinds.PODS)
    assert not protobuf.has_form(kinds.API_SERVICES)

"""Bodies become canonical objects, or are refused in the API server's words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import facts, kinds, structure
from cluster.api.errors import BadRequest
from cluster.api.facts import Shape, Type
from cluster.api.resource import Resource


def decoded(resource: Resource, text: str, mode: structure.Mode = "Strict", content_type: str = "") -> Any:
    body, duplicates = structure.parse(text.encode(), content_type, kind=resource.kind)
    return structure.decode(resource, body, mode, duplicates=duplicates)


DEPLOYMENT = 'Deployment in version "v1" cannot be handled as a Deployment: '
CONFIG_MAP = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
UNREADABLE = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "

REFUSED: dict[str, tuple[Resource, str, str]] = {
    "string-for-int": (
        kinds.DEPLOYMENTS,
        '{"spec":{"replicas":"3"}}',
        DEPLOYMENT
        + "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    ),
    "fraction-for-int": (
        kinds.DEPLOYMENTS,
        '{"spec":{"replicas":1.5}}',
        DEPLOYMENT
        + "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
    ),
    "object-for-list": (
        kinds.DEPLOYMENTS,
        '{"spec":{"template":{"spec":{"containers":{}}}}}',
        DEPLOYMENT
        + "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers "
        "of type []v1.Container",
    ),
    "number-in-map": (
        kinds.CONFIG_MAPS,
        '{"data":{"a":1}}',
        CONFIG_MAP + "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ),
    "quantity": (
        kinds.LIMIT_RANGES,
        '{"spec":{"limits":[{"max":{"cpu":"x"}}]}}',
        'LimitRange in version "v1" cannot be handled as a LimitRange: quantities must match the regular '
        "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    "time": (
        kinds.CONFIG_MAPS,
        '{"metadata":{"creationTimestamp":"x"}}',
        CONFIG_MAP + 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
    ),
    "unknown-and-repeated": (
        kinds.DEPLOYMENTS,
        '{"spec":{"foo":1,"paused":true,"paused":false,"template":{"spec":{"containers":[{"x":1}]}}}}',
        DEPLOYMENT + 'strict decoding error: unknown field "spec.foo", duplicate field "spec.paused", '
        'unknown field "spec.template.spec.containers[0].x"',
    ),
    "repeated-label": (
        kinds.CONFIG_MAPS,
        '{"metadata":{"labels":{"a":"b","a":"c"}}}',
        CONFIG_MAP + 'strict decoding error: duplicate field "metadata.labels.a"',
    ),
    "other-kind": (
        kinds.CONFIG_MAPS,
        '{"kind":"Pod"}',
        'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (v1.ConfigMap): '
        "unknown conversion",
    ),
    "other-version": (
        kinds.CONFIG_MAPS,
        '{"apiVersion":"v2"}',
        "the API version in the data (v2) does not match the expected API version (v1)",
    ),
    "no-json": (
        kinds.CONFIG_MAPS,
        "xyz",
        UNREADABLE + "json parse error: invalid character 'x' looking for beginning of value (78797a)",
    ),
    "nothing": (
        kinds.CONFIG_MAPS,
        "",
        UNREADABLE + "json parse error: unexpected end of JSON input (<empty>)",
    ),
}


@pytest.mark.parametrize(("resource", "text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused(resource: Resource, text: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        decoded(resource, text)
    assert refused.value.message == message


def test_warn_decodes_and_names_what_strict_refuses() -> None:
    obj, warnings = decoded(kinds.DEPLOYMENTS, '{"spec":{"foo":1,"replicas":1,"replicas":2}}', "Warn")
    assert obj["spec"]["replicas"] == 2
    assert "foo" not in obj["spec"]
    assert warnings == ['unknown field "spec.foo"', 'duplicate field "spec.replicas"']


def test_ignore_says_nothing() -> None:
    assert decoded(kinds.DEPLOYMENTS, '{"spec":{"foo":1}}', "Ignore")[1] == []


def test_repeated_yaml_keys_are_named_by_line() -> None:
    _, warnings = decoded(kinds.CONFIG_MAPS, "data:\n  a: b\n  a: c\n", "Warn", "application/yaml")
    assert warnings == ['yaml: unmarshal errors:\n  line 3: key "a" already set in map']


def test_yaml_times_and_keys_are_text() -> None:
    obj, _ = decoded(
        kinds.CONFIG_MAPS,
        "metadata: {creationTimestamp: 2020-01-01T00:00:00Z}\ndata: {1: x}\n",
        "Strict",
        "application/yaml",
    )
    assert obj["metadata"]["creationTimestamp"] == "2020-01-01T00:00:00Z"
    assert obj["data"] == {"1": "x"}


CANONICAL: dict[str, tuple[Resource, Any, Any]] = {
    "null-is-nothing": (kinds.CONFIG_MAPS, {"data": None}, {}),
    "null-in-a-map-is-empty": (kinds.CONFIG_MAPS, {"data": {"a": None}}, {"data": {"a": ""}}),
    "meaningless-zeros-go": (kinds.CONFIG_MAPS, {"metadata": {"labels": {}, "generateName": ""}}, {}),
    "meaningful-zeros-stay": (kinds.REPLICA_SETS, {"spec": {"replicas": 0}}, {"spec": {"replicas": 0}}),
    "an-empty-class-stays": (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        {"spec": {"storageClassName": ""}},
        {"spec": {"storageClassName": ""}},
    ),
    "status-is-always-there": (kinds.DAEMON_SETS, {}, {"status": {"numberReady": 0}}),
    "amounts-are-canonical": (
        kinds.LIMIT_RANGES,
        {"spec": {"limits": [{"type": "Pod", "max": {"cpu": 0.5, "memory": "1024Mi"}}]}},
        {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "500m", "memory": "1Gi"}}]}},
    ),
    "times-are-utc": (
        kinds.CONFIG_MAPS,
        {"metadata": {"creationTimestamp": "2020-01-01T02:00:00+02:00"}},
        {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}},
    ),
}


def includes(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and includes(whole[key], value) for key, value in part.items())
    return bool(whole == part)


@pytest.mark.parametrize(("resource", "body", "expected"), CANONICAL.values(), ids=CANONICAL.keys())
def test_objects_are_canonical(resource: Resource, body: Any, expected: Any) -> None:
    obj, _ = structure.decode(resource, body, "Strict")
    assert includes(obj, expected)
    if expected == {}:
        assert obj == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}


LEAVES: dict[Shape, st.SearchStrategy[Any]] = {
    Shape.STRING: st.text(max_size=5),
    Shape.INTEGER: st.integers(-5, 5),
    Shape.NUMBER: st.integers(0, 3),
    Shape.BOOLEAN: st.booleans(),
    Shape.BYTES: st.sampled_from(["", "YQ=="]),
    Shape.QUANTITY: st.sampled_from(["1", "500m", "1Gi", "0.5", 2]),
    Shape.INT_OR_STRING: st.sampled_from([0, 3, "", "25%"]),
    Shape.TIME: st.just("2020-01-01T00:00:00Z"),
    Shape.MICRO_TIME: st.just("2020-01-01T00:00:00.000001Z"),
    Shape.ANY: st.just({"a": [None, 1]}),
    Shape.ANY_OBJECT: st.just({"a": None}),
}


def values(type_: Type, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a type, with nulls, empty parts and everything else that a client may send."""
    if type_.shape in LEAVES:
        return LEAVES[type_.shape]
    if type_.shape is Shape.STRUCT:
        fields = {
            name: st.none() | values(field.type, depth + 1)
            for name, field in type_.fields.items()
            if name not in ("apiVersion", "kind") and depth < 4
        }
        return st.fixed_dictionaries({}, optional=fields)
    assert type_.element is not None
    element = values(type_.element, depth + 1)
    if type_.shape is Shape.LIST:
        return st.lists(element, max_size=2)
    return st.dictionaries(st.text(max_size=3), element, max_size=2)


SAMPLED = (kinds.SERVICES, kinds.NETWORK_POLICIES, kinds.NODES, kinds.LEASES)


@pytest.mark.parametrize("resource", SAMPLED, ids=lambda r: r.plural)
def test_decoding_twice_changes_nothing(resource: Resource) -> None:
    """What the server stored and a client sends back unchanged is stored the same: no new revision."""

    @given(values(facts.of(resource)))
    def holds(body: Any) -> None:
        before = json.dumps(body)
        once, warnings = structure.decode(resource, body, "Strict")
        assert warnings == []
        assert json.dumps(body) == before
        assert structure.decode(resource, once, "Strict") == (once, [])

    holds()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_decoded_or_refused(body: Any) -> None:
    """Nothing that a client sends is a bug of ours."""
    for whole in (body, {"spec": body, "metadata": body}):
        with contextlib.suppress(BadRequest):
            structure.decode(kinds.PODS, whole)


INT64 = st.integers(-(2**63), 2**63 - 1)  # beyond, a number is a float, as in Go


@given(st.dictionaries(st.text(), INT64 | st.text()), st.booleans())
def test_duplicates_are_found_whatever_the_spelling(data: dict[str, Any], spaced: bool) -> None:
    text = json.dumps(data, separators=(", ", ": ") if spaced else (",", ":"))
    assert structure.parse(text.encode()) == (data, structure.parse(text.encode())[1])
    assert not structure.parse(text.encode())[1]
    key = json.dumps(next(iter(data), "a"))
    twice = text[:-1] + ("," if data else f"{key}:1,") + f"{key}:2}}"
    assert structure.parse(twice.encode())[1]

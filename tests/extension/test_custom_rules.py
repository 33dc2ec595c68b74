"""CEL rules of custom kinds, and what a definition's schema may look like."""

from __future__ import annotations

from typing import Any

import pytest
from extended import definition

from cluster.api import validation
from cluster.api.custom.types import root_type
from cluster.api.custom.validation import validator
from cluster.api.kinds import CUSTOM_RESOURCE_DEFINITIONS

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.min <= self.max", "message": "min must not be above max"},
                {"rule": "self.max <= 10", "messageExpression": "'max is ' + string(self.max)"},
                {
                    "rule": "!has(self.pin) || self.pin > 0", "reason": "FieldValueForbidden",
                    "fieldPath": ".pin", "message": "not positive",
                },
                {"rule": "self.list[0].startsWith('a') || true"},
            ],
            "properties": {
                "min": {"type": "integer"},
                "max": {"type": "integer"},
                "pin": {"type": "integer"},
                "name": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}],
                },
                "list": {
                    "type": "array",
                    "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 3"}]},
                },
                "ports": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object", "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "port": {
                                "type": "integer",
                                "x-kubernetes-validations": [{"rule": "self >= oldSelf"}],
                            },
                        },
                    },
                },
            },
        }
    },
}  # fmt: skip
VALIDATE = validator(SCHEMA, root_type(SCHEMA))


def complaints(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    before = None if old is None else {"spec": old}
    return [f"{cause.field}: {cause.message}" for cause in VALIDATE({"spec": new}, before)]


def test_rules_refuse_with_their_own_words() -> None:
    assert complaints({"min": 3, "max": 2, "pin": 0, "list": ["ab", "abcd"]}) == [
        'spec: Invalid value: "object": min must not be above max',
        "spec.pin: Forbidden: not positive",
        'spec.list[1]: Invalid value: "string": failed rule: self.size() < 3',
    ]
    assert complaints({"min": 3, "max": 20}) == ['spec: Invalid value: "object": max is 20']
    assert complaints({"min": 3}) == [
        'spec: Invalid value: "object": no such key: max evaluating rule: min must not be above max',
        'spec: Invalid value: "object": no such key: max evaluating rule: self.max <= 10',
    ]


def test_transition_rules_compare_with_the_old_value() -> None:
    """Not asked on creation; in lists that are maps the item with the same key is the old one."""
    new = {"min": 1, "max": 2, "name": "b", "ports": [{"name": "x", "port": 1}, {"name": "y", "port": 2}]}
    assert complaints(new) == []
    old = {**new, "name": "a", "ports": [{"name": "y", "port": 3}]}
    assert complaints(new, old) == [
        'spec.name: Invalid value: "string": is immutable',
        'spec.ports[1].port: Invalid value: "integer": failed rule: self >= oldSelf',
    ]


def test_an_unchanged_mistake_does_not_block_other_changes() -> None:
    """Values that stay are not validated again, be the schema stricter now."""
    bad = {"min": 1, "max": 2, "list": ["abcd"]}
    assert complaints({**bad, "min": 2}, bad) == []


def test_rules_wait_until_the_schema_is_satisfied() -> None:
    found = complaints({"min": "x", "max": 2})
    assert found[0].startswith('spec.min: Invalid value: "string": spec.min in body must be of type integer')
    assert found[1].startswith('<nil>: Invalid value: "null": some validation rules were not checked')


PATH = "spec.versions[0].schema.openAPIV3Schema"


@pytest.mark.parametrize(
    ("schema", "field", "message"),
    [
        ({}, f"{PATH}.properties[x].type", "Required value: must not be empty for specified object fields"),
        ({"type": "array"}, f"{PATH}.properties[x].items", "Required value: must be specified"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            f"{PATH}.properties[x].additionalProperties", "Forbidden: must not be used together with properties",
        ),
        (
            {"type": "string", "default": 3}, f"{PATH}.properties[x].default",
            f'Invalid value: "integer": {PATH}.properties[x].default in body must be of type string: "integer"',
        ),
        (
            {"type": "object", "x-kubernetes-validations": [{"rule": "self.z == 1"}]},
            f"{PATH}.properties[x].x-kubernetes-validations[0].rule",
            'Invalid value: "self.z == 1": compilation failed: '
            "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 1\n | ....^",
        ),
        (
            {"type": "integer", "x-kubernetes-validations": [{"rule": "self + 1"}]},
            f"{PATH}.properties[x].x-kubernetes-validations[0].rule",
            'Invalid value: "self + 1": cel expression must evaluate to a bool',
        ),
    ],
)  # fmt: skip
def test_schemas_must_be_structural(schema: dict[str, Any], field: str, message: str) -> None:
    body = definition()
    body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"x": schema}
    body["spec"]["names"] |= {"singular": "crontab", "listKind": "CronTabList"}
    causes = validation.validate_create(CUSTOM_RESOURCE_DEFINITIONS, body)
    assert [(cause.field, cause.message) for cause in causes] == [(field, message)]

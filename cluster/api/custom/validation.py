"""The whole validation of custom objects: schema, then expression rules if the schema is satisfied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.custom import Validate
from cluster.api.custom.types import Schema
from cluster.api.custom.validating import ABSENT, validate_value
from cluster.api.errors import Cause
from cluster.api.facts import Type
from cluster.api.objects import Object
from cluster.api.validation.report import Report


def validator(schema: Schema, type_: Type) -> Validate:
    def validate(obj: Object, old: Mapping[str, Any] | None) -> list[Cause]:
        report = Report()
        validate_value(schema, obj, ABSENT if old is None else old, "", report)
        return report.causes

    return validate

"""Collects what is wrong with an object, with the API's reasons and words for each kind of mistake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from cluster.api.errors import Cause
from cluster.api.structure.quoting import quoted

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"


class Report:
    """Validators add to it in the order in which Kubernetes reports."""

    __slots__ = ("causes",)

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def _add(self, reason: str, path: str, message: str, detail: str) -> None:
        self.causes.append(Cause("FieldValue" + reason, f"{message}: {detail}" if detail else message, path))

    def required(self, path: str, detail: str = "") -> None:
        self._add("Required", path, "Required value", detail)

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self._add("Invalid", path, f"Invalid value: {shown(value)}", detail)

    def invalid_each(self, path: str, value: Any, details: Iterable[str]) -> None:
        for detail in details:
            self.invalid(path, value, detail)

    def unsupported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        choices = ", ".join(quoted(choice) for choice in supported)
        detail = f"supported values: {choices}" if choices else ""
        self._add("NotSupported", path, f"Unsupported value: {shown(value)}", detail)

    def type_invalid(self, path: str, value: Any, detail: str) -> None:
        self._add("TypeInvalid", path, f"Invalid value: {shown(value)}", detail)

    def unsupported_json(self, path: str, value: Any, supported: Iterable[Any]) -> None:
        """Choices of any type."""
        choices = ", ".join(shown(choice) for choice in supported)
        self._add("NotSupported", path, f"Unsupported value: {shown(value)}", f"supported values: {choices}")

    def duplicate(self, path: str, value: Any) -> None:
        self._add("Duplicate", path, f"Duplicate value: {shown(value)}", "")

    def forbidden(self, path: str, detail: str) -> None:
        self._add("Forbidden", path, "Forbidden", detail)

    def not_found(self, path: str, value: Any) -> None:
        self._add("NotFound", path, f"Not found: {shown(value)}", "")

    def too_long(self, path: str, limit: int, unit: str = "bytes") -> None:
        self._add("TooLong", path, "Too long", f"may not be more than {limit} {unit}")

    def too_many(self, path: str, count: int, limit: int) -> None:
        unit = "item" if limit == 1 else "items"
        self._add("TooMany", path, f"Too many: {count}", f"must have at most {limit} {unit}")

    def immutable(self, path: str, new: Any, old: Any) -> None:
        if new != old:
            self.invalid(path, new, IMMUTABLE)

    def not_negative(self, path: str, value: int) -> None:
        if value < 0:
            self.invalid(path, value, NOT_NEGATIVE)

    def within(self, path: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            self.invalid(path, value, f"must be between {low} and {high}, inclusive")

    def one_of(self, path: str, value: Any, supported: Iterable[str], *, needed: bool = True) -> None:
        """A choice; an empty one is missing, or fine if it is not `needed`."""
        if value in (None, ""):
            if needed:
                self.required(path)
        elif value not in supported:
            self.unsupported(path, value, supported)


def shown(value: Any) -> str:
    """A value inside a message: text as Go quotes it, the rest as JSON."""
    if isinstance(value, str):
        return quoted(value)
    return orjson.dumps(value).decode()

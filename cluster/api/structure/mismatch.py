"""Values that don't fit a type, worded as Go's JSON decoder words it."""

from __future__ import annotations

from typing import Any

import orjson


class Misfit(Exception):
    """The value doesn't fit; the text of the exception is all there is to say (quantities, times)."""


class TypeMismatch(Misfit):
    """A JSON value of another type than the Go field. Structs on the way out add themselves."""

    def __init__(self, value: Any, go: str) -> None:
        super().__init__()
        self.found = found_in(value, go)
        self.go = go
        self.struct = ""
        self.path: list[str] = []

    def within(self, struct: str, field: str) -> None:
        """Called from the inside to the outside."""
        self.struct = self.struct or struct
        self.path.append(field)

    def __str__(self) -> str:
        if not self.path:
            return f"json: cannot unmarshal {self.found} into Go value of type {self.go}"
        path = ".".join(reversed(self.path))
        return (
            f"json: cannot unmarshal {self.found} into Go struct field {self.struct}.{path} of type {self.go}"
        )


_NUMERIC = frozenset({"int32", "int64", "int", "float64"})


def found_in(value: Any, go: str) -> str:
    """Go's name of what was found; a number that doesn't fit a numeric type is quoted."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return f"number {orjson.dumps(value).decode()}" if go in _NUMERIC else "number"
    return "array" if isinstance(value, list) else "object"

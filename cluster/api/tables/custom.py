"""Tables of custom resources: additionalPrinterColumns, each a JSONPath with a type, after the name.

Without columns of their own, custom resources show name and age. A cell whose path finds nothing, or a value
of another type than the column's, is null (kubectl prints it as empty).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cluster.api import jsonpath
from cluster.api.tables.columns import NAME, Cells, Column, Layout, name, since

_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def layout_of(printer_columns: Sequence[Mapping[str, Any]] | None) -> Layout:
    """The layout of a CRD version's additionalPrinterColumns. Raises jsonpath.JsonPathError."""
    definitions = printer_columns or (_AGE,)
    columns = tuple(
        Column(
            column["name"],
            column.get("type", "string"),
            int(column.get("priority", 0)),
            column.get("format", ""),
            column.get("description", "")
            or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
        )
        for column in definitions
    )
    readers = [(jsonpath.compile_path(c["jsonPath"]), _READERS.get(c["type"], _text)) for c in definitions]

    def cells(obj: Mapping[str, Any], now: datetime) -> Cells:
        found: Cells = [name(obj)]
        for find, read in readers:
            values = find(obj)
            found.append(read(values, now) if values else None)
        return found

    return Layout((NAME, *columns), cells)


_Reader = Callable[[list[Any], datetime], Any]


def _integer(values: list[Any], now: datetime) -> Any:
    value = values[0]
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number(values: list[Any], now: datetime) -> Any:
    value = values[0]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(values: list[Any], now: datetime) -> Any:
    return values[0] if isinstance(values[0], bool) else None


def _date(values: list[Any], now: datetime) -> Any:
    value = values[0]
    if not isinstance(value, str):
        return None
    try:
        return since(value, now)
    except ValueError:
        return "<invalid>"


def _text(values: list[Any], now: datetime) -> Any:
    shown = [
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for value in values
    ]
    return " ".join(shown)


_READERS: Final[dict[str, _Reader]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "string": _text,
}

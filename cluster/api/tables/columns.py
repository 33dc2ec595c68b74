"""What a table is made of: column definitions, cells, and the texts that all kinds share (ages, label lists).

A kind's table is a `Layout`: its columns and one function from an object to its cells. Descriptions are
our own
short words; kubectl does not show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cluster.api import selectors
from cluster.api.objects import Object, parse_timestamp

NONE: Final = "<none>"
UNSET: Final = "<unset>"
UNKNOWN: Final = "<unknown>"

Cells = list[Any]
Printer = Callable[[Mapping[str, Any], datetime], Cells]

_DESCRIPTIONS: Final = {
    "Name": "Name of the object, unique within its namespace for its kind",
    "Age": "Time since the object was created",
    "Created At": "Time at which the object was created",
    "Containers": "Names of the containers in the template",
    "Images": "Images of the containers in the template",
    "Selector": "Labels by which the objects below are found",
}


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or _DESCRIPTIONS.get(self.name, self.name),
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Layout:
    columns: tuple[Column, ...]
    cells: Printer


NAME: Final = Column("Name", format="name")
AGE: Final = Column("Age")


def layout(cells: Printer, *columns: Column | str) -> Layout:
    """Columns given as text are "Name", or "Name:integer", with a trailing "+" for wide output only."""
    return Layout(tuple(c if isinstance(c, Column) else _column(c) for c in columns), cells)


def _column(text: str) -> Column:
    name, _, kind = text.removesuffix("+").partition(":")
    if text == "Name":
        return NAME
    return Column(name, kind or "string", priority=1 if text.endswith("+") else 0)


def human_duration(seconds: float) -> str:
    """As kubectl prints ages: two units at most, fewer the longer it is."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(moment: str | None, now: datetime) -> str:
    """The age of a time stamp."""
    if not moment:
        return UNKNOWN
    return human_duration((now - _moment(moment)).total_seconds())


def _moment(text: str) -> datetime:
    moment = parse_timestamp(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def age(obj: Mapping[str, Any], now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def name(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("name", ""))


def format_labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) if labels else NONE


def format_selector(selector: Mapping[str, Any] | None) -> str:
    try:
        return str(selectors.of_object_form(selector or {})) or NONE
    except selectors.SelectorError:
        return "<error>"


def template_cells(spec: Object) -> tuple[str, str]:
    """The Containers and Images cells of a pod spec."""
    containers = spec.get("containers") or ()
    return ",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)


def or_none(text: Any) -> str:
    return str(text) if text not in (None, "") else NONE


def some(texts: Iterable[str], limit: int = 3) -> str:
    """The first few, and how many more there are."""
    found = list(texts)
    joined = ",".join(found[:limit])
    return f"{joined} + {len(found) - limit} more..." if len(found) > limit else joined


def true_conditions(obj: Mapping[str, Any]) -> set[str]:
    conditions: Sequence[Mapping[str, Any]] = obj.get("status", {}).get("conditions") or ()
    return {c["type"] for c in conditions if c.get("status") == "True"}

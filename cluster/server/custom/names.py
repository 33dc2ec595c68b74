"""Which names of a definition are accepted: a name belongs to the first definition of the group that has it.

A definition keeps what it was accepted with while its new wish collides, and says so in NamesAccepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Names = dict[str, Any]


def accepted(definition: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> tuple[Names, str, str]:
    """The names to be served now, and reason and message of a collision ("" if there is none)."""
    wanted: Names = definition["spec"]["names"]
    current: Names = (definition.get("status") or {}).get("acceptedNames") or {}
    taken = _Taken(definition, others)
    names: Names = {}
    problems: list[tuple[str, str]] = []
    for field, reason in _REASONS:
        if field in ("categories", "shortNames"):
            continue
        value = wanted.get(field, "")
        taken_now = taken.kinds if field in ("kind", "listKind") else taken.names
        if value in taken_now:
            problems.append((reason, f'"{value}" is already in use'))
            value = current.get(field, "")
        names[field] = value
    short: Sequence[str] = wanted.get("shortNames") or ()
    clashing = [name for name in short if name in taken.names]
    problems += [("ShortNamesConflict", f'"{name}" is already in use') for name in clashing]
    names["shortNames"] = list(current.get("shortNames") or ()) if clashing else list(short)
    names["categories"] = list(wanted.get("categories") or ())
    complete = {name: value for name, value in names.items() if value}
    complete.setdefault("kind", "")
    complete.setdefault("plural", "")
    if not problems:
        return complete, "", ""
    return complete, problems[-1][0], "; ".join(text for _, text in problems)


_REASONS = (
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("shortNames", "ShortNamesConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
    ("categories", ""),
)


class _Taken:
    """What the other definitions of the group have been accepted with."""

    def __init__(self, definition: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> None:
        self.names: dict[str, None] = {}
        self.kinds: dict[str, None] = {}
        for other in others:
            same = other["metadata"]["name"] == definition["metadata"]["name"]
            if same or other["spec"]["group"] != definition["spec"]["group"]:
                continue
            names: Names = (other.get("status") or {}).get("acceptedNames") or {}
            for name in (names.get("plural"), names.get("singular"), *(names.get("shortNames") or ())):
                if name:
                    self.names[name] = None
            for kind in (names.get("kind"), names.get("listKind")):
                if kind:
                    self.kinds[kind] = None

"""Packs desired endpoints into EndpointSlices with as few writes as possible: pure.

Endpoints that are wanted stay where they are; what changed is changed in place; what is gone leaves; the
rest fills slices that are being written anyway, then the fullest other slice with room for all of it, then
new ones. So one pod of a thousand turning ready rewrites one slice of a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.api.objects import Object

SLICE_LIMIT = 100


@dataclass(slots=True)
class Packed:
    """What to write for one set of ports."""

    create: list[list[Object]] = field(default_factory=list)
    """Endpoints of each new slice."""
    update: list[tuple[Object, list[Object]]] = field(default_factory=list)
    """Existing slices with their new endpoints."""
    delete: list[Object] = field(default_factory=list)
    keep: list[Object] = field(default_factory=list)


def identity(endpoint: Object) -> tuple[str, ...]:
    """What makes two entries the same endpoint: the pod and its addresses."""
    target = endpoint.get("targetRef") or {}
    return (target.get("uid", ""), target.get("name", ""), *endpoint["addresses"])


def pack(existing: Sequence[Object], desired: Sequence[Object], *, limit: int = SLICE_LIMIT) -> Packed:
    missing = {identity(endpoint): endpoint for endpoint in desired}
    result = Packed()
    changed: list[tuple[Object, list[Object]]] = []
    for piece in existing:
        kept, differs = _retain(piece, missing)
        if not kept:
            result.delete.append(piece)
        elif differs:
            changed.append((piece, kept))
        else:
            result.keep.append(piece)
    rest = list(missing.values())
    if rest and result.delete and not changed:
        changed.append((result.delete.pop(0), []))
    changed.sort(key=lambda each: -len(each[1]))
    for _, endpoints in changed:
        room = limit - len(endpoints)
        endpoints.extend(rest[:room])
        rest = rest[room:]
    result.update = changed
    _place(result, rest, limit)
    return result


def _retain(piece: Object, missing: dict[tuple[str, ...], Object]) -> tuple[list[Object], bool]:
    """The slice's endpoints that are still wanted, in their present form; takes them out of `missing`."""
    kept: list[Object] = []
    differs = False
    for endpoint in piece.get("endpoints") or ():
        wanted = missing.pop(identity(endpoint), None)
        if wanted is None:
            differs = True
        else:
            kept.append(wanted)
            differs = differs or wanted != endpoint
    return kept, differs


def _place(result: Packed, rest: list[Object], limit: int) -> None:
    while len(rest) >= limit:
        result.create.append(rest[:limit])
        rest = rest[limit:]
    if not rest:
        return
    roomy = [piece for piece in result.keep if len(piece.get("endpoints") or ()) + len(rest) <= limit]
    if roomy:
        fullest = max(roomy, key=lambda piece: len(piece.get("endpoints") or ()))
        result.keep = [piece for piece in result.keep if piece is not fullest]
        result.update.append((fullest, [*(fullest.get("endpoints") or ()), *rest]))
    else:
        result.create.append(rest)

"""metadata.managedFields: who set which field, kept on every write.

`track` compares an object with its former version and gives what changed to the writer, taking it from all
others;
what disappeared belongs to nobody any more. An entry is a manager with an operation, an API version and a
subresource. Entries and the sets in them are never changed in place, so versions of an object share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from cluster.api.facts import Type
from cluster.api.managed_compare import compare, created_fields
from cluster.api.managed_forms import ItemError, form_of
from cluster.api.managed_sets import Fields, is_well_formed, minus, union
from cluster.api.objects import Object
from cluster.api.resource import Resource

MAX_UPDATERS: Final = 10
"""Entries with operation Update; beyond, the oldest are merged into one."""
ANCIENT: Final = "ancient-changes"

Operation = Literal["Apply", "Update"]


class Owner(NamedTuple):
    manager: str
    operation: Operation
    api_version: str
    """Empty for appliers: they are the same manager in every version."""
    subresource: str


class Claim(NamedTuple):
    fields: Fields
    api_version: str
    time: str


Claims = dict[Owner, Claim]


def track(
    resource: Resource,
    new: Object,
    old: Mapping[str, Any] | None,
    *,
    manager: str,
    now: str,
    subresource: str = "",
    type_: Type | None = None,
) -> None:
    """Sets `new`'s managedFields (in place: metadata must be private) from what changed since `old`.

    `old` is None when the object is created. `now` is a metav1.Time. `type_`: a custom resource's.
    """
    form = form_of(resource, type_)
    metadata = new["metadata"]
    entries = _entries(new, old, subresource)
    no_fields: Fields = {}
    changed, removed = no_fields, no_fields
    with suppress(ItemError):  # an item of a list without its key: the write counts, who owns it stays unsaid
        changed, removed = (created_fields(new, form), no_fields) if old is None else compare(old, new, form)
    if changed or removed:
        owner = Owner(manager, "Update", resource.api_version, subresource)
        claims = claims_of(entries)
        _update(claims, owner, changed, removed, now)
        entries = entries_of(_capped(claims))
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)


def _entries(new: Object, old: Mapping[str, Any] | None, subresource: str) -> list[Object]:
    """The entries to go on from: those sent, if they make sense, else those of the former version."""
    live: list[Object] = (old["metadata"].get("managedFields") or []) if old is not None else []
    sent = new["metadata"].get("managedFields")
    if subresource or sent is None or sent is live:
        return live
    if not sent or (len(sent) == 1 and not sent[0]):
        return []
    return sent if _is_readable(sent) else live


def _is_readable(entries: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        entry.get("operation") in ("Apply", "Update")
        and entry.get("fieldsType", "FieldsV1") == "FieldsV1"
        and is_well_formed(entry.get("fieldsV1", {}))
        for entry in entries
    ) and any(entry.get("fieldsV1") for entry in entries)


def claims_of(entries: Sequence[Mapping[str, Any]]) -> Claims:
    claims: Claims = {}
    for entry in entries:
        operation: Operation = "Apply" if entry["operation"] == "Apply" else "Update"
        version = entry.get("apiVersion", "")
        owner = Owner(
            entry.get("manager", ""),
            operation,
            "" if operation == "Apply" else version,
            entry.get("subresource", ""),
        )
        claims[owner] = Claim(entry.get("fieldsV1") or {}, version, entry.get("time") or "")
    return claims


def entries_of(claims: Claims) -> list[Object]:
    """In Kubernetes' order: appliers first, then by time."""
    ordered = sorted(claims.items(), key=_rank)
    return [_entry(owner, claim) for owner, claim in ordered]


def _rank(item: tuple[Owner, Claim]) -> tuple[str, str, str, str, str]:
    owner, claim = item
    return owner.operation, claim.time, owner.manager, claim.api_version, owner.subresource


def _entry(owner: Owner, claim: Claim) -> Object:
    entry: Object = {"manager": owner.manager, "operation": owner.operation, "apiVersion": claim.api_version}
    if claim.time:
        entry["time"] = claim.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = claim.fields
    if owner.subresource:
        entry["subresource"] = owner.subresource
    return entry


def _update(claims: Claims, owner: Owner, changed: Fields, removed: Fields, now: str) -> None:
    mine = claims.get(owner)
    release(claims, changed, removed, keep=owner)
    fields = minus(mine.fields, removed) if mine is not None and removed else mine.fields if mine else {}
    if changed:
        claims[owner] = Claim(union(fields, changed), owner.api_version, now)
    elif mine is not None:
        if fields:
            claims[owner] = mine._replace(fields=fields)
        else:
            del claims[owner]


def release(claims: Claims, changed: Fields, removed: Fields, keep: Owner) -> None:
    """Takes fields from all owners but one; who owns nothing any more is dropped."""
    for owner, claim in list(claims.items()):
        if owner == keep:
            continue
        fields = minus(claim.fields, changed) if changed else claim.fields
        if removed:
            fields = minus(fields, removed)
        if fields is claim.fields:
            continue
        if fields:
            claims[owner] = claim._replace(fields=fields)
        else:
            del claims[owner]


def _capped(claims: Claims) -> Claims:
    """Merges the oldest updaters of one API version, two at first, until there are few enough."""
    updaters = sorted((i for i in claims.items() if i[0].operation == "Update"), key=_rank)
    surplus = len(updaters) - MAX_UPDATERS
    first: dict[str, Owner] = {}
    for owner, claim in updaters:
        if surplus <= 0:
            break
        version = claim.api_version
        if version not in first:
            first[version] = owner
            continue
        bucket = Owner(ANCIENT, "Update", version, "")
        if bucket not in claims:
            claims[bucket] = claims.pop(first[version])
        if owner != bucket:
            claims[bucket] = Claim(union(claims[bucket].fields, claim.fields), version, claim.time)
            del claims[owner]
            surplus -= 1
    return claims

"""The forms in which objects and lists leave: as stored, as a Table, or as metadata only.

The plain form never touches the objects: cached bytes are joined. What a whole list is made of is kept
per namespace until the next write to the resource, so that many clients that list the same cost one join.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from broker.clock import Clock
from cluster.api import tables
from cluster.api.errors import BadRequest
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.server.call import Call
from cluster.server.http.accept import TABLE, Form
from cluster.server.verbs import Listing
from cluster.store.entry import Entry
from cluster.store.store import Store

CACHED_LISTS = 64
CACHED_BYTES = 64 * 1024 * 1024
_NO_QUERY: Mapping[str, str] = {}


class Forms:
    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._joined: OrderedDict[tuple[str, str, str], tuple[int, bytes]] = OrderedDict()
        self._joined_bytes = 0

    def list_pieces(self, call: Call, listing: Listing) -> tuple[bytes, bytes, bytes]:
        """The JSON of a list: what is before the items, the items, what is after them."""
        resource = call.resource
        head = orjson.dumps(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": _list_metadata(listing),
            }
        )
        return head[:-1] + b',"items":[', self._items(call, listing), b"]}\n"

    def _items(self, call: Call, listing: Listing) -> bytes:
        written = listing.written
        if written is None:
            return _join(listing.entries)
        resource = call.resource
        key = (resource.qualified, resource.version, call.namespace)
        custom = self._registry.custom_of(resource)
        if custom is not None and custom.read is not None:  # reads differ with the definition
            return _join(listing.entries)
        found = self._joined.get(key)
        if found is not None and found[0] == written:
            self._joined.move_to_end(key)
            return found[1]
        joined = _join(listing.entries)
        self._keep(key, written, joined)
        return joined

    def _keep(self, key: tuple[str, str, str], written: int, joined: bytes) -> None:
        previous = self._joined.pop(key, None)
        if previous is not None:
            self._joined_bytes -= len(previous[1])
        if len(joined) > CACHED_BYTES:
            return
        self._joined[key] = (written, joined)
        self._joined_bytes += len(joined)
        while len(self._joined) > CACHED_LISTS or self._joined_bytes > CACHED_BYTES:
            self._joined_bytes -= len(self._joined.popitem(last=False)[1][1])

    def list_value(self, call: Call, listing: Listing, form: Form, query: Mapping[str, str]) -> Object:
        """The list as a Table, as metadata, or (for YAML) as it is."""
        objects = [entry.object for entry in listing.entries]
        if not form.transform:
            resource = call.resource
            return {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": _list_metadata(listing),
                "items": objects,
            }
        metadata: dict[str, Any] = {
            "revision": listing.revision,
            "continue_token": listing.continue_token,
            "remaining": listing.remaining,
        }
        if form.transform != TABLE:
            return _in_version(tables.partial_metadata_list(objects, **metadata), form)
        made = tables.table(
            self._layout(call.resource), objects, now=self._clock.now(), include=_include(query), **metadata
        )
        return _in_version(made, form)

    def value(
        self,
        call: Call,
        entry: Entry,
        form: Form,
        query: Mapping[str, str] = _NO_QUERY,
        *,
        columns: bool = True,
    ) -> Object:
        """One object in the form asked for; a Status is never transformed."""
        obj = entry.object
        if not form.transform or obj.get("kind") == "Status":
            return obj
        if form.transform != TABLE:
            return _in_version(tables.partial_metadata(obj), form)
        made = tables.table(
            self._layout(call.resource),
            [obj],
            now=self._clock.now(),
            include=_include(query),
            columns=columns,
            revision=obj["metadata"].get("resourceVersion", ""),
        )
        return _in_version(made, form)

    def bookmark(self, entry: Entry, form: Form) -> Object:
        """A bookmark in the watched form; it has nothing but metadata."""
        if form.transform != TABLE:
            return _in_version(tables.partial_metadata(entry.object), form)
        metadata = entry.object["metadata"]
        made: Object = {"kind": "Table", "apiVersion": tables.META, "columnDefinitions": [], "rows": []}
        return _in_version({**made, "metadata": metadata}, form)

    def _layout(self, resource: Resource) -> tables.Layout:
        custom = self._registry.custom_of(resource)
        return tables.layout_of(resource, None if custom is None else custom.columns)


def _join(entries: Sequence[Entry]) -> bytes:
    return b",".join([entry.json for entry in entries])


def _list_metadata(listing: Listing) -> Object:
    metadata: Object = {"resourceVersion": listing.revision}
    if listing.continue_token:
        metadata["continue"] = listing.continue_token
    if listing.remaining is not None:
        metadata["remainingItemCount"] = listing.remaining
    return metadata


def _include(query: Mapping[str, str]) -> tables.Include:
    wanted = query.get("includeObject") or "Metadata"
    if wanted not in ("None", "Metadata", "Object"):
        raise BadRequest(
            'TableOptions.meta.k8s.io "" is invalid: includeObject: Invalid value: '
            f"\"{wanted}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    return cast(tables.Include, wanted)


def _in_version(made: Object, form: Form) -> Object:
    if form.version != "v1":
        made["apiVersion"] = f"meta.k8s.io/{form.version}"
    return made

"""Renewing a Lease that the caller already owns alone: the write that each node makes all the time.

Such a write changes one time stamp, so of the general path (`writing`) only what can matter is left: the
caller is trusted and made the body from the stored version, the Lease's fields are the same ones, and they
have no other manager. The result is what the general path would store; where anything else is the case
None says that it has to be taken.
"""

from __future__ import annotations

from typing import Any

from cluster.api.kinds import LEASES
from cluster.api.objects import Object, timestamp
from cluster.server.call import Call
from cluster.server.verbs.environment import Environment
from cluster.store.entry import Entry


def renewed(env: Environment, call: Call, body: Object, current: Entry) -> Object | None:
    """The next version of the Lease `current`."""
    if not call.trusted or call.resource is not LEASES or call.dry_run or call.subresource:
        return None
    old = current.object
    metadata, spec, known = old["metadata"], body.get("spec"), old.get("spec")
    if body["metadata"] is not metadata or len(body) != len(old) or not spec or not known:
        return None
    if spec.get("renewTime") is None or {**spec, "renewTime": known.get("renewTime")} != known:
        return None
    entries: list[dict[str, Any]] = metadata.get("managedFields") or []
    if len(entries) != 1 or "deletionTimestamp" in metadata:
        return None
    entry = entries[0]
    same = (entry.get("manager"), entry.get("operation"), entry.get("apiVersion"), entry.get("subresource"))
    if same != (call.field_manager, "Update", LEASES.api_version, None):
        return None
    if spec["renewTime"] != known.get("renewTime"):
        entries = [{**entry, "time": timestamp(env.clock.now())}]
    return {**old, "metadata": {**metadata, "managedFields": entries}, "spec": dict(spec)}

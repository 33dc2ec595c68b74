"""System metadata: what the server writes into every object, and what a request must agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.chance import Chance
from broker.clock import Clock
from cluster.api import errors
from cluster.api.objects import Object, timestamp
from cluster.api.resource import Resource
from cluster.server.call import Call

GENERATED_NAME_LIMIT = 63
NAME_SUFFIX_LENGTH = 5
_KEPT_ON_UPDATE = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
)  # fmt: skip


def check_target(call: Call, metadata: Object) -> None:
    """The body must name what the path names; what it leaves out is taken from the path."""
    if not call.resource.namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = call.namespace
    elif metadata["namespace"] != call.namespace:
        raise errors.BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not call.name:
        return
    name = metadata.get("name")
    if not name:
        raise errors.BadRequest("name must be provided")
    if name != call.name:
        raise errors.BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )


def fill_new(metadata: Object, *, clock: Clock, chance: Chance) -> None:
    """Identity and birth of a new object."""
    version = metadata.pop("resourceVersion", "")
    if version.isdecimal() and int(version):
        raise errors.Unclassified("resourceVersion should not be set on objects to be created")
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = chance.uuid()
    metadata["creationTimestamp"] = timestamp(clock.now())
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = generated_name(metadata["generateName"], chance)


def generated_name(prefix: str, chance: Chance) -> str:
    return prefix[: GENERATED_NAME_LIMIT - NAME_SUFFIX_LENGTH] + chance.name_suffix(NAME_SUFFIX_LENGTH)


def keep_system_fields(new: Object, old: Mapping[str, Any]) -> None:
    """An update can't touch identity, birth or death."""
    new.pop("selfLink", None)
    for name in _KEPT_ON_UPDATE:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)
    if "generateName" in old:
        new.setdefault("generateName", old["generateName"])


def check_versions(
    resource: Resource, namespace: str, new: Mapping[str, Any], old: Mapping[str, Any]
) -> None:
    """Optimistic concurrency: uid and resourceVersion, where the body has them, must be the current ones."""
    uid = new.get("uid")
    if uid and uid != old["uid"]:
        raise errors.conflict(resource, old["name"], _storage_error(resource, namespace, old, uid))
    revision = new.get("resourceVersion")
    if revision and revision != old["resourceVersion"]:
        if not revision.isdigit():
            raise errors.invalid(
                resource,
                old["name"],
                [
                    errors.Cause(
                        "FieldValueInvalid",
                        f'Invalid value: "{revision}": must be an integer',
                        "metadata.resourceVersion",
                    )
                ],
            )
        if int(revision):
            raise errors.conflict(resource, old["name"])


def _storage_error(resource: Resource, namespace: str, old: Mapping[str, Any], uid: str) -> str:
    path = "/".join(part for part in (resource.group, resource.plural, namespace, old["name"]) if part)
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{path}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
        f"UID in object meta: {old['uid']}"
    )


def require_revision(resource: Resource, metadata: Mapping[str, Any], name: str) -> None:
    """For kinds that can't be updated blindly."""
    if metadata.get("resourceVersion") in (None, "", "0"):
        raise errors.invalid(
            resource,
            name,
            [
                errors.Cause(
                    "FieldValueInvalid",
                    "Invalid value: 0x0: must be specified for an update",
                    "metadata.resourceVersion",
                )
            ],
        )


def deduplicate_owners(call: Call, metadata: Object) -> None:
    """The same owner twice is kept once, with a warning."""
    references = metadata.get("ownerReferences")
    if not references or len(references) < 2:
        return
    uids: dict[str, Object] = {}
    unique = [r for r in references if r not in uids.values() and uids.setdefault(_identity(r), r) is r]
    if len(unique) < len(references):
        metadata["ownerReferences"] = unique
        call.warnings.append(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references "
            "in 1.20+, and may reject such requests as early as 1.24; please fix your requests"
        )


def _identity(reference: Mapping[str, Any]) -> str:
    return repr(sorted(reference.items()))

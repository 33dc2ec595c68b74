"""Query parameters, read as Kubernetes reads them: a bad value is the client's error, named.

Kubernetes converts the query into an options object (ListOptions, CreateOptions, …) and then validates
that object; so a number that is none gives 400, and a value that is not allowed gives 422 with the field.
Unknown parameters are ignored there, and so here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import unquote_plus

from cluster.api import structure
from cluster.api.client import Propagation
from cluster.api.errors import BadRequest, Cause, Invalid
from cluster.server.call import DeleteOptions, ListOptions, WatchOptions

Query = Mapping[str, str]
FieldValidation = Literal["Strict", "Warn", "Ignore"]

FIELD_MANAGER_LIMIT = 128
PROPAGATIONS = ("Background", "Foreground", "Orphan")
_NONE: Query = {}


def parse(raw: str) -> Query:
    """The first value of each parameter."""
    if not raw:
        return _NONE
    query: dict[str, str] = {}
    for part in raw.split("&"):
        key, _, value = part.partition("=")
        if "%" in part or "+" in part:
            key, value = unquote_plus(key), unquote_plus(value)
        query.setdefault(key, value)
    return query


def flag(query: Query, name: str) -> bool:
    """Set without a value is true; only `false` and `0` are false."""
    value = query.get(name)
    return value is not None and value.lower() not in ("false", "0")


def number(query: Query, name: str) -> int | None:
    value = query.get(name)
    if value is None or value == "":
        return None
    try:
        if not value.isascii() or "_" in value or value != value.strip():
            raise ValueError(value)
        return int(value)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None


def list_options(query: Query) -> ListOptions:
    if not query:
        return _ALL
    match = query.get("resourceVersionMatch", "")
    _check(_list_objections(query))
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=max(0, number(query, "limit") or 0),
        continue_token=query.get("continue", ""),
        revision=query.get("resourceVersion", ""),
        revision_match=cast(Literal["", "Exact", "NotOlderThan"], match),
    )


_ALL = ListOptions()


def watch_options(query: Query) -> WatchOptions:
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    _check(_watch_objections(query, initial))
    timeout_s = number(query, "timeoutSeconds")
    return WatchOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        revision=query.get("resourceVersion", ""),
        bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial_events=initial,
        timeout_s=float(timeout_s) if timeout_s else None,
    )


def _check(objections: list[Cause]) -> None:
    if objections:
        raise _invalid("ListOptions", *objections)


_MATCH = "resourceVersionMatch"
_EXACT, _NOT_OLDER = "Exact", "NotOlderThan"


def _watch_objections(query: Query, initial: bool | None) -> list[Cause]:
    found, match = [], query.get(_MATCH, "")
    if initial is not None and match != _NOT_OLDER:
        why = f"sendInitialEvents requires setting resourceVersionMatch to {_NOT_OLDER}"
        found.append(_forbidden(_MATCH, why))
    if match and initial is None:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(_forbidden(_MATCH, why))
    if match and match != _NOT_OLDER:
        found.append(_unsupported(_MATCH, match, (_NOT_OLDER,)))
    if match and query.get("continue"):
        found.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    return found


def _list_objections(query: Query) -> list[Cause]:
    found, match, revision = [], query.get(_MATCH, ""), query.get("resourceVersion", "")
    if match and not revision:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(_forbidden(_MATCH, why))
    if match and query.get("continue"):
        found.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    if match and match not in (_EXACT, _NOT_OLDER):
        found.append(_unsupported(_MATCH, match, (_EXACT, _NOT_OLDER, "")))
    if match == _EXACT and revision == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(_forbidden(_MATCH, why))
    if "sendInitialEvents" in query:
        found.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return found


def dry_run(query: Query, options: str) -> bool:
    """`options` names the options object in errors: CreateOptions, UpdateOptions, …"""
    value = query.get("dryRun")
    if not value:
        return False
    if value != "All":
        raise _invalid(options, _unsupported("dryRun", value, ("All",)))
    return True


def field_validation(query: Query, options: str) -> FieldValidation:
    value = query.get("fieldValidation")
    if not value:
        return "Warn"
    if value not in ("Strict", "Warn", "Ignore"):
        raise _invalid(options, _unsupported("fieldValidation", value, ("Ignore", "Strict", "Warn")))
    return cast(FieldValidation, value)


def field_manager(query: Query, user_agent: str, options: str) -> str:
    """The named manager, or the program's name at the start of the User-Agent."""
    named = query.get("fieldManager", "")
    if len(named.encode()) > FIELD_MANAGER_LIMIT:
        cause = Cause(
            "FieldValueTooLong", f"Too long: may not be more than {FIELD_MANAGER_LIMIT} bytes", "fieldManager"
        )
        raise _invalid(options, cause)
    return named or user_agent.partition("/")[0][:FIELD_MANAGER_LIMIT] or "unknown"


def apply_options(query: Query) -> bool:
    """Whether to force; an apply must name its manager."""
    if not query.get("fieldManager"):
        cause = Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
        raise _invalid("PatchOptions", cause)
    return flag(query, "force")


def refuse_force(query: Query) -> None:
    if "force" in query:
        raise _invalid("PatchOptions", _forbidden("force", "may not be specified for non-apply patch"))


def delete_options(query: Query, body: Any) -> tuple[DeleteOptions, bool]:
    """The options, from the body where there is one, else from the query; and whether it is a dry run."""
    if body not in (None, {}):
        return _delete_from_body(structure.decode_options(body, "DeleteOptions"))
    policy = _propagation(
        query.get("propagationPolicy"),
        flag(query, "orphanDependents") if "orphanDependents" in query else None,
    )
    grace = number(query, "gracePeriodSeconds")
    return DeleteOptions(grace_period_s=grace, propagation=policy), dry_run(query, "DeleteOptions")


def _delete_from_body(body: Mapping[str, Any]) -> tuple[DeleteOptions, bool]:
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    runs = body.get("dryRun") or []
    for run in runs:
        if run != "All":
            raise _invalid("DeleteOptions", _unsupported("dryRun", str(run), ("All",)))
    options = DeleteOptions(
        uid=preconditions.get("uid") or "",
        revision=preconditions.get("resourceVersion") or "",
        grace_period_s=grace,
        propagation=_propagation(body.get("propagationPolicy"), body.get("orphanDependents")),
        body=body,
    )
    return options, bool(runs)


def _propagation(policy: str | None, orphan: bool | None) -> Propagation | None:
    if policy and orphan is not None:
        raise _invalid(
            "DeleteOptions",
            _value(
                "propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set"
            ),
        )
    if policy:
        if policy not in PROPAGATIONS:
            raise _invalid(
                "DeleteOptions",
                _unsupported("propagationPolicy", policy, ("Background", "Foreground", "Orphan", "nil")),
            )
        return cast(Propagation, policy)
    if orphan is None:
        return None
    return "Orphan" if orphan else "Background"


def _invalid(kind: str, *causes: Cause) -> Invalid:
    details = {"group": "meta.k8s.io", "kind": kind}
    shown = [f"{cause.field}: {cause.message}" for cause in causes]
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    return Invalid(f'{kind}.meta.k8s.io "" is invalid: {text}', details=details, causes=causes)


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _value(field: str, value: str, why: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": {why}', field)


def _unsupported(field: str, value: str, supported: tuple[str, ...]) -> Cause:
    shown = ", ".join(f'"{one}"' for one in supported)
    message = f'Unsupported value: "{value}": supported values: {shown}'
    return Cause("FieldValueNotSupported", message, field)

"""Claims for devices: ResourceClaim, ResourceClaimTemplate, DeviceClass, DeviceTaintRule."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from cluster.api.cel.kinds import BOOL
from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.device_parts import (
    validate_full_name,
    validate_label,
    validate_pool_name,
    validate_taint,
)
from cluster.api.validation.matching import check_expression
from cluster.api.validation.metadata import validate_template_metadata
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_node_selector
from cluster.api.validation.storage_drivers import validate_driver_name

_MOST = 32
"""Of requests, selectors, constraints, configurations."""
_MOST_ALTERNATIVES = 8
_MOST_TOLERATIONS = 16
_MOST_RESERVED = 256
_EXPRESSION_LIMIT = 10 * 1024
_PARAMETERS_LIMIT = 10 * 1024
_MODES = ("All", "ExactCount")
_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)
_ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"


def validate_claim(obj: Object, report: Report) -> None:
    _validate_claim_spec(obj.get("spec") or {}, "spec", report)


def validate_claim_update(new: Object, old: Object, report: Report) -> None:
    report.immutable("spec", new.get("spec"), old.get("spec"))
    _validate_claim_spec(new.get("spec") or {}, "spec", report)


def validate_claim_template(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    validate_template_metadata(spec.get("metadata") or {}, "spec.metadata", report)
    _validate_claim_spec(spec.get("spec") or {}, "spec.spec", report)


def validate_claim_template_update(new: Object, old: Object, report: Report) -> None:
    report.immutable("spec", new.get("spec"), old.get("spec"))
    validate_claim_template(new, report)


def _validate_claim_spec(spec: Object, path: str, report: Report) -> None:
    devices, here = spec.get("devices") or {}, f"{path}.devices"
    requests = devices.get("requests") or []
    known = _request_names(requests)
    for index, request in enumerate(requests):
        _validate_request(request, f"{here}.requests[{index}]", report)
    _validate_size(requests, f"{here}.requests", _MOST, report)
    _validate_unique([request["name"] for request in requests], f"{here}.requests", report)
    constraints = devices.get("constraints") or []
    for index, constraint in enumerate(constraints):
        _validate_constraint(constraint, known, f"{here}.constraints[{index}]", report)
    _validate_size(constraints, f"{here}.constraints", _MOST, report)
    configurations = devices.get("config") or []
    for index, configuration in enumerate(configurations):
        place = f"{here}.config[{index}]"
        _validate_references(configuration.get("requests") or [], known, f"{place}.requests", report)
        _validate_opaque(configuration, place, report)
    _validate_size(configurations, f"{here}.config", _MOST, report)


def _request_names(requests: Sequence[Object]) -> set[str]:
    """Of requests, and of alternatives in them as request/alternative."""
    names = {request["name"] for request in requests}
    return names | {f"{r['name']}/{sub['name']}" for r in requests for sub in r.get("firstAvailable") or ()}


def _validate_size(items: Sequence[object], path: str, limit: int, report: Report) -> None:
    if len(items) > limit:
        report.too_many(path, len(items), limit)


def _validate_unique(names: Sequence[str], path: str, report: Report) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            report.duplicate(f"{path}[{index}]", name)


def _validate_request(request: Object, path: str, report: Report) -> None:
    validate_label(request["name"], f"{path}.name", report)
    exact, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    if exact is None and not alternatives:
        report.required(path, _ONE_KIND)
    elif exact is not None and alternatives:
        report.invalid(path, None, f"{_ONE_KIND}, but multiple fields are set")
    elif exact is not None:
        _validate_wanted(exact, f"{path}.exactly", report)
    else:
        for index, alternative in enumerate(alternatives):
            here = f"{path}.firstAvailable[{index}]"
            validate_label(alternative["name"], f"{here}.name", report)
            _validate_wanted(alternative, here, report)
        _validate_size(alternatives, f"{path}.firstAvailable", _MOST_ALTERNATIVES, report)
        _validate_unique([a["name"] for a in alternatives], f"{path}.firstAvailable", report)


def _validate_wanted(wanted: Object, path: str, report: Report) -> None:
    name = wanted.get("deviceClassName", "")
    if not name:
        report.required(f"{path}.deviceClassName")
    else:
        report.invalid_each(f"{path}.deviceClassName", name, formats.dns_subdomain(name))
    _validate_selectors(wanted.get("selectors") or [], f"{path}.selectors", report)
    mode, count = wanted.get("allocationMode", ""), wanted.get("count", 0)
    if mode not in _MODES:
        report.unsupported(f"{path}.allocationMode", mode, _MODES)
    elif mode == "All" and count:
        report.invalid(f"{path}.count", count, f"must not be specified when allocationMode is '{mode}'")
    elif mode == "ExactCount" and count <= 0:
        report.invalid(f"{path}.count", count, "must be greater than zero")
    tolerations = wanted.get("tolerations") or []
    for index, toleration in enumerate(tolerations):
        _validate_toleration(toleration, f"{path}.tolerations[{index}]", report)
    _validate_size(tolerations, f"{path}.tolerations", _MOST_TOLERATIONS, report)


def _validate_selectors(selectors: Sequence[Object], path: str, report: Report) -> None:
    for index, selector in enumerate(selectors):
        here, cel = f"{path}[{index}].cel", selector.get("cel")
        if cel is None:
            report.required(here)
        elif len(cel["expression"]) > _EXPRESSION_LIMIT:
            report.too_long(f"{here}.expression", _EXPRESSION_LIMIT)
        else:
            check_expression(cel["expression"], f"{here}.expression", ("device",), BOOL, report)
    _validate_size(selectors, path, _MOST, report)


def _validate_toleration(toleration: Object, path: str, report: Report) -> None:
    key, value = toleration.get("key", ""), toleration.get("value", "")
    operator, effect = toleration.get("operator", ""), toleration.get("effect", "")
    if key:
        report.invalid_each(f"{path}.key", key, formats.qualified_name(key))
    if operator == "Exists":
        if value:
            report.invalid(f"{path}.value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        report.invalid_each(f"{path}.value", value, formats.label_value(value))
    else:
        report.one_of(f"{path}.operator", operator, _OPERATORS)
    report.one_of(f"{path}.effect", effect, _EFFECTS, needed=False)


def _validate_constraint(constraint: Object, known: set[str], path: str, report: Report) -> None:
    _validate_references(constraint.get("requests") or [], known, f"{path}.requests", report)
    attributes = [f for f in ("matchAttribute", "distinctAttribute") if constraint.get(f) is not None]
    if attributes:
        validate_full_name(constraint[attributes[0]], f"{path}.{attributes[0]}", report)
    else:
        why = (
            'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        )
        report.required(path, why)


def _validate_references(names: Sequence[str], known: set[str], path: str, report: Report) -> None:
    for index, name in enumerate(names):
        here, parts = f"{path}[{index}]", name.split("/")
        if len(parts) > 2:
            report.invalid(here, name, _REFERENCE)
            continue
        for part in parts:
            validate_label(part, here, report)
        if name not in known:
            report.invalid(here, name, _REFERENCE)
    _validate_size(names, path, _MOST, report)
    _validate_unique(names, path, report)


def _validate_opaque(configuration: Object, path: str, report: Report) -> None:
    opaque = configuration.get("opaque")
    if opaque is None:
        report.required(f"{path}.opaque")
        return
    validate_driver_name(opaque.get("driver", ""), f"{path}.opaque.driver", report)
    parameters, here = opaque.get("parameters"), f"{path}.opaque.parameters"
    if parameters is None:
        report.required(here)
    elif len(orjson.dumps(parameters)) > _PARAMETERS_LIMIT:
        report.too_long(here, _PARAMETERS_LIMIT)
    elif not isinstance(parameters, dict):
        report.invalid(here, "<value omitted>", "parameters must be a valid JSON object")


def validate_claim_status(new: Object, old: Object, report: Report) -> None:
    status, former = new.get("status") or {}, old.get("status") or {}
    consumers = status.get("reservedFor") or []
    for index, consumer in enumerate(consumers):
        for field in ("resource", "name", "uid"):
            if not consumer.get(field):
                report.required(f"status.reservedFor[{index}].{field}")
    _validate_size(consumers, "status.reservedFor", _MOST_RESERVED, report)
    _validate_unique([consumer.get("uid", "") for consumer in consumers], "status.reservedFor", report)
    allocation, before = status.get("allocation"), former.get("allocation")
    if consumers and allocation is None:
        report.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif "deletionTimestamp" in new["metadata"] and any(
        c not in (former.get("reservedFor") or ()) for c in consumers
    ):
        why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        report.forbidden("status.reservedFor", why)
    if before is not None and allocation is not None:
        report.immutable("status.allocation", allocation, before)
    elif allocation is not None:
        known = _request_names(((new.get("spec") or {}).get("devices") or {}).get("requests") or [])
        _validate_allocation(allocation, known, report)


def _validate_allocation(allocation: Object, known: set[str], report: Report) -> None:
    path = "status.allocation"
    for index, result in enumerate((allocation.get("devices") or {}).get("results") or ()):
        here = f"{path}.devices.results[{index}]"
        if result.get("request") not in known:
            report.invalid(f"{here}.request", result.get("request", ""), _REFERENCE)
        validate_driver_name(result.get("driver", ""), f"{here}.driver", report)
        validate_pool_name(result.get("pool", ""), f"{here}.pool", report)
        validate_label(result.get("device", ""), f"{here}.device", report)
    if selector := allocation.get("nodeSelector"):
        validate_node_selector(selector, f"{path}.nodeSelector", report)


def validate_device_class(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    _validate_selectors(spec.get("selectors") or [], "spec.selectors", report)
    configurations = spec.get("config") or []
    for index, configuration in enumerate(configurations):
        _validate_opaque(configuration, f"spec.config[{index}]", report)
    _validate_size(configurations, "spec.config", _MOST, report)


def validate_taint_rule(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    selector, path = spec.get("deviceSelector") or {}, "spec.deviceSelector"
    if (driver := selector.get("driver")) is not None:
        validate_driver_name(driver, f"{path}.driver", report)
    if (pool := selector.get("pool")) is not None:
        validate_pool_name(pool, f"{path}.pool", report)
    if (device := selector.get("device")) is not None:
        validate_label(device, f"{path}.device", report)
    validate_taint(spec.get("taint") or {}, "spec.taint", report)

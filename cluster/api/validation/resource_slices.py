"""ResourceSlice: the devices a driver has to offer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.api.validation import formats
from cluster.api.validation.device_parts import (
    validate_label,
    validate_name,
    validate_pool_name,
    validate_taint,
)
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_node_selector
from cluster.api.validation.storage_drivers import validate_driver_name

_MOST_DEVICES, _MOST_COMPLEX_DEVICES = 128, 64
_MOST_COUNTER_SETS = 8
_MOST_COUNTERS = 32
_MOST_TAINTS = 16
_MOST_ATTRIBUTES = 32
_MOST_CONSUMPTIONS = 2
_VALUE_LIMIT = 64
_NUMBER, _PRERELEASE = r"(0|[1-9]\d*)", r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_PLACES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_DEVICE_PLACES = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is "
    "set to true in the ResourceSlice spec"
)
_NO_PLACES = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in "
    "the ResourceSlice spec"
)
_TRUE_OR_UNSET = "must be either unset or set to true"


def validate_slice(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    validate_driver_name(spec.get("driver", ""), "spec.driver", report)
    pool = spec.get("pool") or {}
    validate_pool_name(pool.get("name", ""), "spec.pool.name", report)
    if pool.get("resourceSliceCount", 0) <= 0:
        count = pool.get("resourceSliceCount", 0)
        report.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
    if pool.get("generation", 0) < 0:
        why = "must be greater than or equal to zero"
        report.invalid("spec.pool.generation", pool["generation"], why)
    _validate_places(spec, report)
    if "sharedCounters" in spec and "devices" in spec:
        report.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    devices = spec.get("devices") or []
    is_complex = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    for index, device in enumerate(devices):
        per_device = bool(spec.get("perDeviceNodeSelection"))
        _validate_device(device, f"spec.devices[{index}]", report, per_device=per_device)
    most = _MOST_COMPLEX_DEVICES if is_complex else _MOST_DEVICES
    _validate_collection(devices, "name", "spec.devices", most, report)
    counters = spec.get("sharedCounters") or []
    for index, counter_set in enumerate(counters):
        here = f"spec.sharedCounters[{index}]"
        _validate_counters(counter_set, "name", here, report)
    _validate_collection(counters, "name", "spec.sharedCounters", _MOST_COUNTER_SETS, report)


def _validate_collection(items: list[Object], key: str, path: str, most: int, report: Report) -> None:
    if len(items) > most:
        report.too_many(path, len(items), most)
    names = [item.get(key, "") for item in items]
    for index, name in enumerate(names):
        if name in names[:index]:
            report.duplicate(f"{path}[{index}]", name)


def _validate_places(spec: Object, report: Report) -> None:
    given = _given_places(spec, "spec", report, ("allNodes", "perDeviceNodeSelection"))
    terms = (spec.get("nodeSelector") or {}).get("nodeSelectorTerms") or []
    if "nodeSelector" in spec and len(terms) != 1:
        why = "must have exactly one node selector term"
        report.invalid("spec.nodeSelector.nodeSelectorTerms", terms, why)
    if not given:
        report.required("spec", _PLACES)
    elif len(given) > 1:
        report.invalid("spec", "{" + ", ".join(given) + "}", f"{_PLACES}, but multiple fields are set")


def _given_places(spec: Object, path: str, report: Report, flags: tuple[str, ...]) -> list[str]:
    given = []
    if name := spec.get("nodeName"):
        given.append("`nodeName`")
        report.invalid_each(f"{path}.nodeName", name, formats.dns_subdomain(name))
    if (selector := spec.get("nodeSelector")) is not None:
        given.append("`nodeSelector`")
        validate_node_selector(selector, f"{path}.nodeSelector", report)
    for flag in flags:
        if spec.get(flag):
            given.append(f"`{flag}`")
        elif flag in spec:
            report.invalid(f"{path}.{flag}", spec[flag], _TRUE_OR_UNSET)
    return given


def _validate_device(device: Object, path: str, report: Report, *, per_device: bool) -> None:
    validate_label(device["name"], f"{path}.name", report)
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if len(attributes) + len(capacity) > _MOST_ATTRIBUTES:
        why = f"the total number of attributes and capacities must not exceed {_MOST_ATTRIBUTES}"
        report.invalid(path, len(attributes) + len(capacity), why)
    _validate_map(attributes, f"{path}.attributes", validate_name, _validate_attribute, report)
    shared = bool(device.get("allowMultipleAllocations"))
    value = _validate_shared_capacity if shared else _validate_capacity
    _validate_map(capacity, f"{path}.capacity", validate_name, value, report)
    taints = device.get("taints") or []
    for index, taint in enumerate(taints):
        validate_taint(taint, f"{path}.taints[{index}]", report)
    if len(taints) > _MOST_TAINTS:
        report.too_many(f"{path}.taints", len(taints), _MOST_TAINTS)
    consumptions = device.get("consumesCounters") or []
    for index, consumption in enumerate(consumptions):
        _validate_counters(consumption, "counterSet", f"{path}.consumesCounters[{index}]", report)
    _validate_collection(consumptions, "counterSet", f"{path}.consumesCounters", _MOST_CONSUMPTIONS, report)
    if per_device:
        given = _given_places(device, path, report, ("allNodes",))
        if not given:
            report.required(path, _DEVICE_PLACES)
        elif len(given) > 1:
            report.invalid(path, "{" + ", ".join(given) + "}", _DEVICE_PLACES)
    elif any(field in device for field in ("nodeName", "nodeSelector", "allNodes")):
        report.invalid(path, None, _NO_PLACES)


def _validate_map(
    values: Mapping[str, Any],
    path: str,
    key: Callable[[str, str, Report], None],
    value: Callable[[Any, str, Report], None],
    report: Report,
) -> None:
    for name, item in values.items():
        key(name, f"{path}[{name}]", report)
        value(item, f"{path}[{name}]", report)


def _validate_attribute(attribute: Object, path: str, report: Report) -> None:
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text.encode()) > _VALUE_LIMIT:
        report.too_long(f"{path}.string", _VALUE_LIMIT)
    if version is not None:
        if not _VERSION.fullmatch(version):
            why = "must be a string compatible with semver.org spec 2.0.0"
            report.invalid(f"{path}.version", version, why)
        if len(version) > _VALUE_LIMIT:
            report.too_long(f"{path}.version", _VALUE_LIMIT)
    if len(attribute) != 1:
        report.invalid(path, attribute or "", "exactly one value must be specified")


def _validate_capacity(capacity: Object, path: str, report: Report) -> None:
    if "requestPolicy" in capacity:
        report.forbidden(f"{path}.requestPolicy", "allowMultipleAllocations must be true")


def _validate_shared_capacity(capacity: Object, path: str, report: Report) -> None:
    policy, here = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return
    values, limits = policy.get("validValues") or [], policy.get("validRange")
    if values and limits is not None:
        why = 'cannot specify "validValues" and "validRange" at the same time'
        report.forbidden(here, f"exactly one policy can be specified, {why}")
        return
    for field in ("validValues", "validRange"):
        if policy.get(field) and "default" not in policy:
            report.required(f"{here}.default", f"required when {field} is defined")
            return
    if values:
        _validate_choices(values, policy["default"], capacity["value"], f"{here}.validValues", report)


def _validate_choices(values: list[str], default: str, most: str, path: str, report: Report) -> None:
    amounts: list[Quantity] = [parse(value) for value in values]
    for index in range(1, len(amounts)):
        if amounts[index - 1] > amounts[index]:
            report.invalid(f"{path}[{index}]", values[index], "values must be sorted in ascending order")
    for index, amount in enumerate(amounts):
        if amount > parse(most):
            report.invalid(f"{path}[{index}]", values[index], f"option is larger than capacity value: {most}")
    if parse(default) not in amounts:
        report.invalid(path, default, "default value is not valid according to the requestPolicy")


def _validate_counters(holder: Object, key: str, path: str, report: Report) -> None:
    name, counters = holder.get(key, ""), holder.get("counters") or {}
    if not name:
        report.required(f"{path}.{key}")
    else:
        validate_label(name, f"{path}.{key}", report)
    if not counters:
        report.required(f"{path}.counters")
    if len(counters) > _MOST_COUNTERS:
        report.too_many(f"{path}.counters", len(counters), _MOST_COUNTERS)
    for counter in counters:
        validate_label(counter, f"{path}.counters[{counter}]", report)


def validate_slice_update(new: Object, old: Object, report: Report) -> None:
    validate_slice(new, report)
    spec, former = new["spec"], old["spec"]
    pool, former_pool = spec.get("pool") or {}, former.get("pool") or {}
    report.immutable("spec.pool.name", pool.get("name"), former_pool.get("name"))
    for field in ("driver", "nodeName"):
        report.immutable(f"spec.{field}", spec.get(field, ""), former.get(field, ""))

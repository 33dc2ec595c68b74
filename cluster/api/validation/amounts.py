"""Resource lists: names of resources and their quantities, requests against limits."""

from __future__ import annotations

from functools import lru_cache

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.api.validation import formats
from cluster.api.validation.report import NOT_NEGATIVE, Report

_STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})
_NAMESPACED = "kubernetes.io/"
_INTEGER = "must be an integer"


def is_huge_pages(name: str) -> bool:
    return name.startswith("hugepages-")


@lru_cache(1024)
def is_extended(name: str) -> bool:
    """Whether it is a resource of somebody else's: with a domain other than Kubernetes' own."""
    if "/" not in name or name.startswith("requests."):
        return False
    domain = name.partition("/")[0]
    return not (domain == "kubernetes.io" or domain.endswith(".kubernetes.io"))


def may_be_overcommitted(name: str) -> bool:
    return ("/" not in name or _NAMESPACED in name) and not is_huge_pages(name)


@lru_cache(1024)
def container_resource_name(name: str) -> tuple[str, ...]:
    """What is wrong with this as a resource of a container."""
    if wrong := formats.qualified_name(name):
        return wrong
    if "/" in name:
        if is_extended(name) or _NAMESPACED in name:
            return ()
        return ("doesn't follow extended resource name standard",)
    if name in _STANDARD or is_huge_pages(name):
        return ()
    return (
        "must be a standard resource type or fully qualified",
        "must be a standard resource for containers",
    )


def validate_amount(name: str, amount: str, path: str, report: Report) -> Quantity:
    quantity = parse(amount)
    if quantity.nanos < 0:
        report.invalid(path, amount, NOT_NEGATIVE)
    if quantity.nanos % 10**9 and (is_extended(name) or is_huge_pages(name)):
        report.invalid(path, amount, _INTEGER)
    return quantity


def validate_resources(resources: Object, path: str, report: Report) -> None:
    """requests and limits of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    limited: dict[str, Quantity] = {}
    for name, amount in limits.items():
        limited[name] = _validate_entry(name, amount, f"{path}.limits", report)
    for name, amount in requests.items():
        requested = _validate_entry(name, amount, f"{path}.requests", report)
        limit = limited.get(name)
        if limit is None:
            if not may_be_overcommitted(name):
                report.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif requested != limit and not may_be_overcommitted(name):
            report.invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limits[name]}")
        elif requested > limit:
            report.invalid(
                f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}"
            )
    for index, claim in enumerate(resources.get("claims") or ()):
        if not claim.get("name"):
            report.required(f"{path}.claims[{index}].name")


def _validate_entry(name: str, amount: str, path: str, report: Report) -> Quantity:
    if wrong := container_resource_name(name):
        report.invalid_each(path if "/" in name else f"{path}[{name}]", name, wrong)
    return validate_amount(name, amount, f"{path}[{name}]", report)

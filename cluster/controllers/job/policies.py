"""What a pod's failure means for its Job (podFailurePolicy) and when enough succeeded (successPolicy)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cluster.api.objects import Object
from cluster.controllers.job import indexes


@dataclass(frozen=True, slots=True)
class Verdict:
    action: str
    """Count | Ignore | FailJob | FailIndex"""
    message: str = ""


COUNT = Verdict("Count")


def judge(job: Object, pod: Object) -> Verdict:
    """The first rule that matches a failed pod; Count where none does."""
    policy = job["spec"].get("podFailurePolicy")
    if policy is None or pod.get("status", {}).get("phase") != "Failed":
        return COUNT
    for number, rule in enumerate(policy["rules"]):
        why = _why(rule, pod)
        if why:
            return Verdict(rule["action"], f"{why} matching {rule['action']} rule at index {number}")
    return COUNT


def _why(rule: Object, pod: Object) -> str:
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if rule.get("onExitCodes") is not None:
        for container, code in _exit_codes(pod):
            if _code_matches(rule["onExitCodes"], container, code):
                return f"Container {container} for pod {name} failed with exit code {code}"
        return ""
    for pattern in rule.get("onPodConditions") or ():
        for condition in pod["status"].get("conditions") or ():
            if condition["type"] == pattern["type"] and condition["status"] == pattern.get("status", "True"):
                return f"Pod {name} has condition {condition['type']}"
    return ""


def _exit_codes(pod: Object) -> Iterator[tuple[str, int]]:
    status = pod["status"]
    for part in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(part) or ():
            terminated = (container.get("state") or {}).get("terminated")
            if terminated is not None and terminated.get("exitCode", 0) != 0:
                yield container["name"], terminated["exitCode"]


def _code_matches(requirement: Object, container: str, code: int) -> bool:
    if requirement.get("containerName") not in (None, container):
        return False
    listed = code in requirement["values"]
    return listed if requirement["operator"] == "In" else not listed


def success(job: Object, succeeded: Collection[int]) -> str:
    """The message of the success policy's first rule that is met; empty if none is."""
    policy = job["spec"].get("successPolicy")
    if policy is None:
        return ""
    for number, rule in enumerate(policy["rules"]):
        wanted = indexes.parse(rule["succeededIndexes"]) if rule.get("succeededIndexes") else None
        done = sum(index in wanted for index in succeeded) if wanted is not None else len(succeeded)
        needed = rule.get("succeededCount") or (len(wanted) if wanted is not None else 0)
        if needed and done >= needed:
            return f"Matched rules at index {number}"
    return ""

"""Makes the default roles and bindings (`policy`) at the start, and completes the ones that are there.

As Kubernetes does: missing rules, subjects, labels and annotations are added, what an administrator added
stays, a binding that was led to another role is made anew, and annotating an object with
rbac.authorization.kubernetes.io/autoupdate: "false" leaves it alone. Aggregated roles get their
rules here at once, so that they work before the aggregation controller has looked at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.server.auth.policy import (
    AGGREGATE_TO,
    AGGREGATED,
    CHANGE,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    READ,
    ROLE_BINDINGS,
    ROLES,
)
from cluster.server.auth.rbac import GROUP
from cluster.server.auth.rules import compiled, missing
from cluster.store.store import Store

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_SHORT = {"ro": READ, "rw": CHANGE}


async def bootstrap_policy(client: ApiClient, store: Store) -> None:
    """Idempotent; writes nothing when all is there."""
    for resource, wanted in policy_objects():
        meta = wanted["metadata"]
        entry = store.get(resource.qualified, Key(meta.get("namespace", ""), meta["name"]))
        if entry is None:
            await client.create(resource, wanted, namespace=meta.get("namespace", ""))
            continue
        if _is_protected(entry.object):
            continue
        if entry.object.get("roleRef") != wanted.get("roleRef"):  # which can't be changed
            await client.delete(resource, meta["name"], namespace=meta.get("namespace", ""))
            await client.create(resource, wanted, namespace=meta.get("namespace", ""))
            continue
        completed = _completed(entry.object, wanted)
        if completed is not None:
            await client.update(resource, completed)


def policy_objects() -> list[tuple[Resource, Object]]:
    """Everything in `policy` as API objects, in the order in which they are created."""
    objects: list[tuple[Resource, Object]] = []
    rules_of = {name: [rule(line) for line in lines] for name, lines in CLUSTER_ROLES.items()}
    for name, rules in rules_of.items():
        objects.append((kinds.CLUSTER_ROLES, _role("ClusterRole", name, rules)))
    for name, label in AGGREGATED.items():
        objects.append((kinds.CLUSTER_ROLES, _aggregated(name, label, rules_of)))
    for name, (role, subjects) in CLUSTER_ROLE_BINDINGS.items():
        objects.append(
            (kinds.CLUSTER_ROLE_BINDINGS, _binding("ClusterRoleBinding", name, "ClusterRole", role, subjects))
        )
    for (namespace, name), lines in ROLES.items():
        objects.append((kinds.ROLES, _role("Role", name, [rule(line) for line in lines], namespace)))
    for (namespace, name), (role, subjects) in ROLE_BINDINGS.items():
        objects.append(
            (kinds.ROLE_BINDINGS, _binding("RoleBinding", name, "Role", role, subjects, namespace))
        )
    return objects


def rule(line: str) -> Object:
    """A PolicyRule from its line in `policy`."""
    if ";" not in line:
        verb, *paths = line.split()
        return {"nonResourceURLs": paths, "verbs": [verb]}
    verbs, resources, groups, *names = (part.split() for part in line.split(";"))
    made: Object = {
        "apiGroups": ["" if group == "core" else group for group in groups],
        "resources": resources,
        "verbs": [verb for word in verbs for verb in _SHORT.get(word, (word,))],
    }
    if names:
        made["resourceNames"] = names[0]
    return made


def _role(kind: str, name: str, rules: Sequence[Object], namespace: str = "") -> Object:
    labels = dict(_BOOTSTRAPPING)
    for target in AGGREGATE_TO.get(name, ()):
        labels[f"{_AGGREGATE}{target}"] = "true"
    return {**_head(kind, name, namespace, labels), "rules": list(rules)}


def _aggregated(name: str, label: str, rules_of: dict[str, list[Object]]) -> Object:
    selector = {"matchLabels": {f"{_AGGREGATE}{label}": "true"}}
    role = _role("ClusterRole", name, _aggregated_rules(label, rules_of))
    return {**role, "aggregationRule": {"clusterRoleSelectors": [selector]}}


def _aggregated_rules(label: str, rules_of: dict[str, list[Object]]) -> list[Object]:
    """The rules of the labelled roles, in order of name, each rule once."""
    rules: list[Object] = []
    for name in sorted(AGGREGATE_TO):
        if label in AGGREGATE_TO[name]:
            found = rules_of[name] if name in rules_of else _aggregated_rules(AGGREGATED[name], rules_of)
            rules += [one for one in found if one not in rules]
    return rules


def _binding(
    kind: str, name: str, role_kind: str, role: str, subjects: Sequence[str], namespace: str = ""
) -> Object:
    binding: Object = _head(kind, name, namespace, dict(_BOOTSTRAPPING))
    binding["roleRef"] = {"apiGroup": GROUP, "kind": role_kind, "name": role}
    if subjects:
        binding["subjects"] = [_subject(text) for text in subjects]
    return binding


def _subject(text: str) -> Object:
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "name": account, "namespace": namespace}
    return {"apiGroup": GROUP, "kind": kind, "name": name}


def _head(kind: str, name: str, namespace: str, labels: dict[str, str]) -> Object:
    metadata: dict[str, Any] = {"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata}


def _is_protected(found: Object) -> bool:
    return (found["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false"


def _completed(found: Object, wanted: Object) -> Object | None:
    """`found` with what it lacks; None if it lacks nothing."""
    additions: Object = {}
    if "rules" in wanted and "aggregationRule" not in wanted:
        lacking = missing(compiled(found.get("rules")), wanted["rules"])
        if lacking:
            additions["rules"] = [*(found.get("rules") or ()), *lacking]
    if "aggregationRule" in wanted and "aggregationRule" not in found:
        additions["aggregationRule"] = wanted["aggregationRule"]
    known = [_identity(subject) for subject in found.get("subjects") or ()]
    lacking_subjects = [s for s in wanted.get("subjects") or () if _identity(s) not in known]
    if lacking_subjects:
        additions["subjects"] = [*(found.get("subjects") or ()), *lacking_subjects]
    metadata = _with_marks(found["metadata"], wanted["metadata"])
    if metadata != found["metadata"]:
        additions["metadata"] = metadata
    return {**found, **additions} if additions else None


def _with_marks(found: Object, wanted: Object) -> Object:
    """The metadata with the labels and annotations that a default object has; those set otherwise stay."""
    marks = {name: {**wanted[name], **(found.get(name) or {})} for name in ("labels", "annotations")}
    return {**found, **marks}


def _identity(subject: Object) -> tuple[str, str, str]:
    return subject.get("kind", ""), subject.get("namespace", ""), subject.get("name", "")

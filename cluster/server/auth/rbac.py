"""The RBAC authorizer: an index from subjects to the rules that bindings give them.

Bindings and roles are turned into one index (subject → grants, cluster-wide and per namespace), built when
first needed after any of the four kinds changed. A request then costs a look-up per group of the user
and the rules behind those few subjects, however many roles there are. Members of system:masters are let
through before any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cluster.api.objects import Object
from cluster.server.auth.attributes import MASTERS, Attributes, Decision
from cluster.server.auth.rules import Rule, compiled
from cluster.server.call import User

GROUP = "rbac.authorization.k8s.io"
ROLES = f"roles.{GROUP}"
CLUSTER_ROLES = f"clusterroles.{GROUP}"
ROLE_BINDINGS = f"rolebindings.{GROUP}"
CLUSTER_ROLE_BINDINGS = f"clusterrolebindings.{GROUP}"
KINDS = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)

Source: TypeAlias = Callable[[str], Iterable[Object]]
"""All objects of a qualified resource (`roles.rbac.authorization.k8s.io`), of every namespace."""

Subject: TypeAlias = tuple[str, str]
"""("User" | "Group", name); a service account is the user of its full name."""

_ALLOWED = Decision(True)


@dataclass(frozen=True, slots=True)
class Grant:
    """The rules one binding gives one subject."""

    rules: tuple[Rule, ...]
    reason: str
    error: str = ""
    """Set, with no rules, when the binding's role does not exist."""


Grants: TypeAlias = dict[Subject, list[Grant]]


@dataclass(slots=True)
class _Index:
    cluster: Grants = field(default_factory=dict)
    namespaces: dict[str, Grants] = field(default_factory=dict)


class Rbac:
    """Implements `Authorizer`. Whoever owns the store calls `changed` after a write to one of `KINDS`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._index: _Index | None = None

    def changed(self) -> None:
        self._index = None

    def authorize(self, attributes: Attributes) -> Decision:
        user = attributes.user
        if MASTERS in user.groups:
            return _ALLOWED
        errors: list[str] = []
        for grant in self._grants(user, attributes.namespace):
            if grant.error:
                errors.append(grant.error)
            for rule in grant.rules:
                if rule.allows(attributes):
                    return Decision(True, grant.reason)
        return Decision(False, _joined(errors))

    def rules_of(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule that holds for `user` in `namespace` (empty: cluster-wide), and what failed."""
        rules, errors = self.granted(user, namespace)
        if MASTERS in user.groups:
            everything = [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]
            rules = [*compiled(everything), *rules]
        return rules, errors

    def granted(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """The same without what system:masters may whatever the bindings say."""
        rules: list[Rule] = []
        errors: list[str] = []
        for grant in self._grants(user, namespace):
            rules += grant.rules
            if grant.error:
                errors.append(grant.error)
        return rules, errors

    def _grants(self, user: User, namespace: str) -> Iterator[Grant]:
        index = self._index
        if index is None:
            index = self._index = _build(self._source)
        tables = [index.cluster]
        if namespace and namespace in index.namespaces:
            tables.append(index.namespaces[namespace])
        for table in tables:
            yield from table.get(("User", user.name), ())
            for group in user.groups:
                yield from table.get(("Group", group), ())


def subject_key(subject: Mapping[str, Any], namespace: str = "") -> Subject:
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return kind, name


def role_missing(kind: str, name: str) -> str:
    return f'{kind.lower()}.{GROUP} "{name}" not found'


def _build(source: Source) -> _Index:
    index = _Index()
    cluster_roles = {role["metadata"]["name"]: compiled(role.get("rules")) for role in source(CLUSTER_ROLES)}
    roles = {
        (role["metadata"]["namespace"], role["metadata"]["name"]): compiled(role.get("rules"))
        for role in source(ROLES)
    }
    for binding in source(CLUSTER_ROLE_BINDINGS):
        rules = cluster_roles.get(binding["roleRef"]["name"])
        _add(index.cluster, binding, "", rules)
    for binding in source(ROLE_BINDINGS):
        namespace, reference = binding["metadata"]["namespace"], binding["roleRef"]
        if reference["kind"] == "ClusterRole":
            rules = cluster_roles.get(reference["name"])
        else:
            rules = roles.get((namespace, reference["name"]))
        _add(index.namespaces.setdefault(namespace, {}), binding, namespace, rules)
    return index


def _add(table: Grants, binding: Object, namespace: str, rules: tuple[Rule, ...] | None) -> None:
    reference = binding["roleRef"]
    error = "" if rules is not None else role_missing(reference["kind"], reference["name"])
    for subject in binding.get("subjects") or ():
        reason = f"RBAC: allowed by {_described(binding, namespace, subject)}"
        table.setdefault(subject_key(subject, namespace), []).append(Grant(rules or (), reason, error))


def _described(binding: Object, namespace: str, subject: Mapping[str, Any]) -> str:
    reference, name = binding["roleRef"], binding["metadata"]["name"]
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    shown = f"{name}/{namespace}" if namespace else name
    who = subject["name"]
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return f'{kind} "{shown}" of {reference["kind"]} "{reference["name"]}" to {subject["kind"]} "{who}"'


def _joined(errors: list[str]) -> str:
    unique = list(dict.fromkeys(errors))
    if not unique:
        return ""
    return "RBAC: " + (unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]")

"""Nobody gives away what they don't have.

Who writes a role must hold every permission in it (or may `escalate` that role); who writes a binding must
hold every permission of its role (or may `bind` it). Runs as the last validating admission step of the four
RBAC kinds; requests of system:masters, the process' own ones among them, pass at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.api.errors import NotFound, forbidden
from cluster.api.objects import Key, Object
from cluster.server.admission.chain import Step
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.auth.attributes import MASTERS, Attributes, Authorizer
from cluster.server.auth.rbac import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    GROUP,
    ROLE_BINDINGS,
    ROLES,
    Rbac,
)
from cluster.server.auth.rules import compact, missing

PLUGIN = "RBACEscalation"
_FULL: tuple[Object, ...] = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)
_WRITES = (Operation.CREATE, Operation.UPDATE)


class Escalation:
    def __init__(self, authorizer: Authorizer, rbac: Rbac) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    def steps(self) -> tuple[Step, Step]:
        return (
            Step(plugin=PLUGIN, run=self.check_role, operations=_WRITES, resources=(ROLES, CLUSTER_ROLES)),
            Step(
                plugin=PLUGIN,
                run=self.check_binding,
                operations=_WRITES,
                resources=(ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS),
            ),
        )

    def check_role(self, setting: Setting, request: Request) -> None:
        user, role = request.call.user, request.object
        if MASTERS in user.groups or _same(request, "rules", "aggregationRule"):
            return
        plural = request.resource.plural
        asked = Attributes(user, "escalate", GROUP, "v1", plural, "", request.namespace, request.name)
        if not self._authorizer.authorize(asked).allowed:
            self._require(request, _FULL if role.get("aggregationRule") else role.get("rules") or ())

    def check_binding(self, setting: Setting, request: Request) -> None:
        user = request.call.user
        if MASTERS in user.groups or _same(request, "subjects", "roleRef"):
            return
        reference = request.object["roleRef"]
        kind, name = reference["kind"], reference["name"]
        plural, namespace = ("clusterroles", "") if kind == "ClusterRole" else ("roles", request.namespace)
        asked = Attributes(user, "bind", GROUP, "v1", plural, "", request.namespace, name)
        if self._authorizer.authorize(asked).allowed:
            return
        entry = setting.store.get(f"{plural}.{GROUP}", Key(namespace, name))
        if entry is None:
            details = {"name": name, "group": GROUP, "kind": plural}
            raise NotFound(f'{plural}.{GROUP} "{name}" not found', details=details)
        self._require(request, entry.object.get("rules") or ())

    def _require(self, request: Request, rules: Sequence[Mapping[str, Any]]) -> None:
        user = request.call.user
        held, errors = self._rbac.rules_of(user, request.namespace)
        lacking = missing(held, rules)
        if not lacking:
            return
        groups = " ".join(f'"{group}"' for group in user.groups)
        shown = "\n".join(compact(lacking))
        why = (
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
            f"not currently held:\n{shown}"
        )
        if errors:
            why += f"; resolution errors: [{', '.join(errors)}]"
        raise forbidden(request.resource, request.name, why)


def _same(request: Request, *fields: str) -> bool:
    old = request.old
    return old is not None and all(request.object.get(field) == old.get(field) for field in fields)

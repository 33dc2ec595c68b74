"""MutatingAdmissionPolicies: expressions that give an apply configuration or a patch for what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.api.apply_merge import merge
from cluster.api.cel import Budget, CompileError, EvalError
from cluster.api.errors import ApiError, forbidden
from cluster.api.kinds import MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS
from cluster.api.managed_forms import ItemError, form_of
from cluster.api.objects import Key, Object, copy_of
from cluster.api.patch import json_patch
from cluster.api.resource import Resource
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.policy.evaluation import (
    POLICY_BUDGET,
    Misconfigured,
    Policies,
    lazy_variables,
    program_of,
)
from cluster.server.webhooks.conditions import ConditionFailed, conditions_met
from cluster.server.webhooks.dispatch import taken_in
from cluster.server.webhooks.matching import EXEMPT

MUTATING_POLICIES = MUTATING_ADMISSION_POLICIES.qualified
MUTATING_BINDINGS = MUTATING_ADMISSION_POLICY_BINDINGS.qualified


@dataclass(frozen=True, slots=True)
class Ran:
    policy: Object
    binding: Object
    left: Object
    """The object as it was after this policy's turn."""


class MutatingPolicies:
    def __init__(self, setting: Setting, policies: Policies) -> None:
        self._setting = setting
        self._policies = policies

    async def mutate(self, request: Request) -> list[Ran]:
        """Changes `request.object`; raises for what fails and may not. Says which policies had a turn."""
        if request.qualified in EXEMPT or request.operation not in (Operation.CREATE, Operation.UPDATE):
            return []
        store = self._setting.store
        ran: list[Ran] = []
        for entry in store.list(MUTATING_BINDINGS):
            binding = entry.object
            found = store.get(MUTATING_POLICIES, Key("", binding["spec"].get("policyName", "")))
            if found is not None and await self._apply(request, found.object, binding):
                ran.append(Ran(found.object, binding, copy_of(request.object)))
        return ran

    async def mutate_again(self, request: Request, ran: Sequence[Ran]) -> None:
        """Those that wish it, if the object is another one than they left."""
        for each in ran:
            wishes = each.policy["spec"].get("reinvocationPolicy") == "IfNeeded"
            if wishes and each.left != request.object:
                await self._apply(request, each.policy, each.binding)

    async def _apply(self, request: Request, policy: Object, binding: Object) -> bool:
        """Whether it concerned the write."""
        spec = policy["spec"]
        version = self._policies.matched(request, spec.get("matchConstraints") or {})
        if version is None:
            return False
        narrower = binding["spec"].get("matchResources")
        if narrower and not self._policies.also_matched(request, narrower):
            return False
        try:
            for params in await self._policies.parameters(request, spec, binding):
                scope = {**await self._policies.scope(request, version), "params": params}
                if conditions_met(spec.get("matchConditions") or (), scope):
                    await self._mutate(request, spec, params, version)
        except (ApiError, CompileError, ConditionFailed, EvalError, ItemError, Misconfigured) as error:
            if spec.get("failurePolicy", "Fail") != "Ignore":
                names = f"'{policy['metadata']['name']}' with binding '{binding['metadata']['name']}'"
                why = f"policy {names} denied request: {error}"
                raise forbidden(request.call.resource, request.name, why) from None
        return True

    async def _mutate(
        self, request: Request, spec: Object, params: Mapping[str, Any] | None, version: Resource
    ) -> None:
        budget = Budget(POLICY_BUDGET)
        for mutation in spec.get("mutations") or ():
            scope = {**await self._policies.scope(request, version), "params": params}
            scope["variables"] = lazy_variables(spec.get("variables") or (), scope, budget)
            changed = self._changed(mutation, scope, budget, version)
            request.object = await taken_in(self._setting, request, version, changed)

    def _changed(
        self, mutation: Mapping[str, Any], scope: Mapping[str, Any], budget: Budget, version: Resource
    ) -> Object:
        current: Object = scope["object"]
        if mutation.get("patchType") == "JSONPatch":
            operations = program_of(mutation["jsonPatch"]["expression"])(scope, budget)
            patched: Object = json_patch(copy_of(current), operations)
            return patched
        config = program_of(mutation["applyConfiguration"]["expression"])(scope, budget)
        custom = self._setting.registry.custom_of(version)
        merged: Object = merge(current, config, form_of(version, None if custom is None else custom.type))
        return merged

"""ValidatingAdmissionPolicies and their bindings: what they say of one write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cluster.api.cel import Budget, CompileError, EvalError, Program, compile_untyped
from cluster.api.cel.values import type_of
from cluster.api.errors import ApiError, forbidden
from cluster.api.kinds import VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.api.selectors import of_object_form
from cluster.api.validation.policies import VARIABLES
from cluster.server.admission.request import Request, Setting
from cluster.server.custom.conversion import in_version
from cluster.server.policy.authorizer import MakeAuthorizer
from cluster.server.webhooks.conditions import ConditionFailed, conditions_met
from cluster.server.webhooks.matching import EXEMPT, matched_version, selected
from cluster.server.webhooks.review import attributes_of, error_of, objects_of

POLICIES = VALIDATING_ADMISSION_POLICIES.qualified
BINDINGS = VALIDATING_ADMISSION_POLICY_BINDINGS.qualified
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
POLICY_BUDGET = 10_000_000
"""Steps for all expressions of one policy."""
ANNOTATION_LIMIT = 10 * 1024
"""Characters of one value in the audit log."""


@dataclass(frozen=True, slots=True)
class _Finding:
    message: str
    reason: str = "Invalid"
    index: int | None = None
    """Of the validation that did not hold."""


class Policies:
    def __init__(self, setting: Setting, make_authorizer: MakeAuthorizer) -> None:
        self._setting = setting
        self._make_authorizer = make_authorizer

    async def validate(self, request: Request) -> None:
        """Raises for a denied write, after all policies have been asked; warnings go into the call."""
        if request.qualified in EXEMPT:
            return
        store = self._setting.store
        denials: list[ApiError] = []
        for entry in store.list(BINDINGS):
            binding = entry.object
            found = store.get(POLICIES, Key("", binding["spec"].get("policyName", "")))
            if found is not None:
                denials += await self._apply(request, found.object, binding)
        if denials:
            raise denials[0]

    async def _apply(self, request: Request, policy: Object, binding: Object) -> list[ApiError]:
        version = self.matched(request, policy["spec"].get("matchConstraints") or {})
        if version is None:
            return []
        narrower = binding["spec"].get("matchResources")
        if narrower and not self.also_matched(request, narrower):
            return []
        findings = await self._findings(request, policy, binding, version)
        denials = [self._act(request, policy, binding, finding) for finding in findings]
        return [denial for denial in denials if denial is not None]

    def matched(self, request: Request, wanted: Mapping[str, Any]) -> Resource | None:
        equivalent = wanted.get("matchPolicy", "Equivalent") == "Equivalent"
        excluded = wanted.get("excludeResourceRules") or ()
        if excluded and matched_version(self._setting, request, excluded, equivalent=equivalent):
            return None
        rules = wanted.get("resourceRules") or ()
        version = matched_version(self._setting, request, rules, equivalent=equivalent)
        return version if version is not None and selected(self._setting, request, wanted) else None

    def also_matched(self, request: Request, wanted: Mapping[str, Any]) -> bool:
        """A binding without rules of its own narrows by its selectors only."""
        if wanted.get("resourceRules") or wanted.get("excludeResourceRules"):
            rules = wanted.get("resourceRules") or _EVERYTHING
            return self.matched(request, {**wanted, "resourceRules": rules}) is not None
        return selected(self._setting, request, wanted)

    async def _findings(
        self, request: Request, policy: Object, binding: Object, version: Resource
    ) -> list[_Finding]:
        spec = policy["spec"]
        strict = spec.get("failurePolicy", "Fail") == "Fail"
        found: list[_Finding] = []
        try:
            scope = await self.scope(request, version)
            for params in await self.parameters(request, spec, binding):
                scope["params"] = params
                if conditions_met(spec.get("matchConditions") or (), scope):
                    findings, annotations = _evaluated(spec, dict(scope), strict=strict)
                    found += findings
                    _annotate(request, policy, annotations)
        except (ConditionFailed, Misconfigured) as failure:
            if strict:
                found.append(_Finding(str(failure)))
        return found

    async def scope(self, request: Request, version: Resource) -> dict[str, Any]:
        store = self._setting.store
        namespace = store.get("namespaces", Key("", request.namespace)) if request.namespace else None
        obj, old = await objects_of(self._setting, request, version)
        return {
            "object": obj,
            "oldObject": old,
            "request": attributes_of(request, version),
            "params": None,
            "namespaceObject": None if namespace is None else namespace.object,
            "authorizer": self._make_authorizer(request),
            "variables": {},
        }

    async def parameters(self, request: Request, spec: Object, binding: Object) -> Sequence[Object | None]:
        """One round of evaluation for each."""
        kind, reference = spec.get("paramKind"), binding["spec"].get("paramRef")
        if not kind or not reference:
            return (None,)
        resource = self._setting.registry.of_kind(kind["apiVersion"], kind["kind"])
        if resource is None:
            raise Misconfigured(
                "failed to configure policy: failed to find resource referenced by paramKind: "
                f"'{kind['apiVersion']}, Kind={kind['kind']}'"
            )
        namespace = ""
        if resource.namespaced:
            namespace = reference.get("namespace") or request.namespace
            if not namespace:
                raise Misconfigured(
                    "failed to configure binding: cannot use namespaced paramRef in policy binding that "
                    "matches cluster-scoped resources"
                )
        found = await self._parameter_objects(resource, namespace, reference)
        if not found and reference.get("parameterNotFoundAction", "Deny") == "Deny":
            raise Misconfigured(
                "failed to configure binding: no params found for policy binding with `Deny` "
                "parameterNotFoundAction"
            )
        return found

    async def _parameter_objects(
        self, resource: Resource, namespace: str, reference: Mapping[str, Any]
    ) -> list[Object]:
        """In the version that the policy names."""
        store, registry = self._setting.store, self._setting.registry
        qualified = registry.storage_of(resource).qualified
        if name := reference.get("name"):
            entry = store.get(qualified, Key(namespace, name))
            found = [] if entry is None else [entry.object]
        else:
            selector = of_object_form(reference.get("selector") or {})
            objects = [entry.object for entry in store.list(qualified, namespace)]
            found = [obj for obj in objects if selector.matches(obj["metadata"].get("labels"))]
        return [await in_version(registry, obj, resource) for obj in found]

    def _act(self, request: Request, policy: Object, binding: Object, finding: _Finding) -> ApiError | None:
        names = f"'{policy['metadata']['name']}' with binding '{binding['metadata']['name']}'"
        actions = binding["spec"].get("validationActions") or ("Deny",)
        if "Warn" in actions:
            request.call.warnings.append(
                f"Validation failed for ValidatingAdmissionPolicy {names}: {finding.message}"
            )
        if "Audit" in actions:
            _note(request, policy, binding, finding)
        if "Deny" in actions:
            said = f"ValidatingAdmissionPolicy {names} denied request: {finding.message}"
            return _denied(request, said, finding)
        return None


_FAILURES = "validation.policy.admission.k8s.io/validation_failure"


def _note(request: Request, policy: Object, binding: Object, finding: _Finding) -> None:
    """Adds to the audit log's list of what did not hold."""
    noted = orjson.loads(request.call.annotations.get(_FAILURES, "[]"))
    failure: Object = {"message": finding.message, "policy": policy["metadata"]["name"]}
    failure["binding"] = binding["metadata"]["name"]
    if finding.index is not None:
        failure["expressionIndex"] = finding.index
    failure["validationActions"] = binding["spec"]["validationActions"]
    request.call.annotations[_FAILURES] = orjson.dumps([*noted, failure]).decode()


class Misconfigured(Exception):
    """A policy or binding names what isn't there."""


_EVERYTHING = [
    {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"]}
]  # fmt: skip


def _evaluated(spec: Object, scope: dict[str, Any], *, strict: bool) -> tuple[list[_Finding], dict[str, str]]:
    """What the validations of a policy refuse, and what it has for the audit log."""
    budget = Budget(POLICY_BUDGET)
    scope["variables"] = lazy_variables(spec.get("variables") or (), scope, budget)
    found = list(_broken(spec, scope, budget, strict=strict))
    annotations: dict[str, str] = {}
    for annotation in spec.get("auditAnnotations") or ():
        try:
            if text := _annotation(annotation["valueExpression"], scope, budget):
                annotations[annotation["key"]] = text
        except _Unusable as problem:
            if strict:
                found.append(_Finding(str(problem)))
    return found, annotations


def _broken(spec: Object, scope: Mapping[str, Any], budget: Budget, *, strict: bool) -> Iterator[_Finding]:
    for index, validation in enumerate(spec.get("validations") or ()):
        expression = validation["expression"]
        try:
            if program_of(expression)(scope, budget) is True:
                continue
        except (CompileError, EvalError) as error:
            if strict:
                yield _Finding(f"expression '{expression.strip()}' resulted in error: {error}")
            continue
        message = _message(validation, scope, budget) or f"failed expression: {expression.strip()}"
        yield _Finding(message, validation.get("reason") or "Invalid", index)


class _Unusable(Exception):
    """An audit annotation without a value that could be logged."""


def _annotation(expression: str, scope: Mapping[str, Any], budget: Budget) -> str:
    try:
        value = program_of(expression)(scope, budget)
    except (CompileError, EvalError) as error:
        raise _Unusable(f"expression '{expression.strip()}' resulted in error: {error}") from None
    if value is None or isinstance(value, str):
        return (value or "").strip()[:ANNOTATION_LIMIT]
    raise _Unusable(
        f"valueExpression '{expression}' resulted in unsupported return type: {type_of(value)}. Return "
        "type must be either string or null."
    )


def _annotate(request: Request, policy: Object, annotations: Mapping[str, str]) -> None:
    """The values that one policy has found for a key, each once, are put together."""
    noted = request.call.annotations
    for key, text in annotations.items():
        name = f"{policy['metadata']['name']}/{key}"
        values = noted[name].split(", ") if name in noted else []
        if text not in values:
            noted[name] = ", ".join([*values, text])


def program_of(expression: str) -> Program:
    return compile_untyped(expression, VARIABLES)


def _message(validation: Mapping[str, Any], scope: Mapping[str, Any], budget: Budget) -> str:
    text = validation.get("messageExpression")
    if text:
        try:
            made = program_of(text)(scope, budget)
        except (CompileError, EvalError):
            made = ""
        if isinstance(made, str) and made.strip() and "\n" not in made:
            return made.strip()
    return str(validation.get("message") or "").strip()


def lazy_variables(
    declared: Sequence[Mapping[str, Any]], scope: Mapping[str, Any], budget: Budget
) -> dict[str, Callable[[], Any]]:
    """Each is evaluated when it is first used, and may use those before it."""
    known: dict[str, Callable[[], Any]] = {}
    for variable in declared:
        known[variable["name"]] = _Lazy(variable["expression"], {**scope, "variables": dict(known)}, budget)
    return known


class _Lazy:
    def __init__(self, expression: str, scope: Mapping[str, Any], budget: Budget) -> None:
        self._expression = expression
        self._scope = scope
        self._budget = budget
        self._found: list[Any] = []

    def __call__(self) -> Any:
        if not self._found:
            try:
                self._found.append(program_of(self._expression)(self._scope, self._budget))
            except CompileError as error:
                raise EvalError(str(error)) from None
        return self._found[0]


def _denied(request: Request, message: str, finding: _Finding) -> ApiError:
    base = forbidden(request.call.resource, request.name, message)
    details = {**base.details, "causes": [{"message": message}]}
    return error_of(base.message, _CODES.get(finding.reason, 422), finding.reason, details)

"""Asks the webhooks that a write concerns: the mutating ones in turn, then the validating ones all at once.

With no configuration stored the admission chain has no webhooks at all, and writes stay synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from broker.supervision import Tasks
from cluster.api import defaults, structure
from cluster.api.errors import ApiError, InternalError, forbidden
from cluster.api.kinds import MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS
from cluster.api.objects import Object, copy_of
from cluster.api.patch import json_patch
from cluster.api.resource import Resource
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.custom.conversion import in_version
from cluster.server.policy.authorizer import MakeAuthorizer
from cluster.server.verbs import scale
from cluster.server.webhooks.caller import Caller, CallFailed
from cluster.server.webhooks.conditions import ConditionFailed, conditions_met
from cluster.server.webhooks.matching import EXEMPT, matched_version, selected
from cluster.server.webhooks.review import (
    BadAnswer,
    attributes_of,
    objects_of,
    patch_of,
    refusal,
    response_of,
    review_of,
)

MUTATING = MUTATING_WEBHOOK_CONFIGURATIONS.qualified
VALIDATING = VALIDATING_WEBHOOK_CONFIGURATIONS.qualified
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class _Hook:
    spec: Mapping[str, Any]
    configuration: str
    index: int
    """Among all webhooks of its kind."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    hook: _Hook
    version: Resource


@dataclass(frozen=True, slots=True)
class Asked:
    wanted: _Wanted
    left: Object
    """The object as it was after this webhook's turn."""


class Webhooks:
    def __init__(
        self,
        setting: Setting,
        caller: Caller,
        make_authorizer: MakeAuthorizer,
        log: FilteringBoundLogger,
    ) -> None:
        self._make_authorizer = make_authorizer
        self._tasks = Tasks()
        self._setting = setting
        self._caller = caller
        self._log = log

    def _hooks(self, qualified: str) -> Sequence[_Hook]:
        found: list[_Hook] = []
        for entry in self._setting.store.list(qualified):
            for spec in entry.object.get("webhooks") or ():
                found.append(_Hook(spec, entry.key.name, len(found)))
        return found

    async def mutate(self, request: Request) -> list[Asked]:
        """The first round. Says who was asked, and what they left."""
        if request.qualified in EXEMPT:
            return []
        asked: list[Asked] = []
        for hook in self._hooks(MUTATING):
            wanted = await self._wanted(request, hook)
            if wanted is not None:
                await self._mutate_once(request, wanted, 0)
                asked.append(Asked(wanted, copy_of(request.object)))
        return asked

    async def mutate_again(self, request: Request, asked: Sequence[Asked]) -> None:
        """Those that wish it, if the object is another one than they left."""
        for each in asked:
            wishes = each.wanted.hook.spec.get("reinvocationPolicy") == "IfNeeded"
            if wishes and each.left != request.object:
                await self._mutate_once(request, each.wanted, 1)

    async def validate(self, request: Request) -> None:
        if request.qualified in EXEMPT:
            return
        all_wanted = [await self._wanted(request, hook) for hook in self._hooks(VALIDATING)]
        concerned = [wanted for wanted in all_wanted if wanted is not None]
        if len(concerned) == 1:
            await self._ask(request, concerned[0], "validating")
            return
        tasks = [self._tasks.start("webhook", self._verdict(request, wanted)) for wanted in concerned]
        verdicts = [await task for task in tasks]
        for verdict in verdicts:
            if verdict is not None:
                raise verdict

    async def _verdict(self, request: Request, wanted: _Wanted) -> ApiError | None:
        try:
            await self._ask(request, wanted, "validating")
        except ApiError as error:
            return error
        return None

    async def close(self) -> None:
        await self._tasks.close()

    async def _wanted(self, request: Request, found: _Hook) -> _Wanted | None:
        hook = found.spec
        equivalent = hook.get("matchPolicy", "Equivalent") == "Equivalent"
        version = matched_version(self._setting, request, hook.get("rules") or (), equivalent=equivalent)
        if version is None or not selected(self._setting, request, hook):
            return None
        conditions = hook.get("matchConditions")
        if conditions:
            obj, old = await objects_of(self._setting, request, version)
            variables = {
                "object": obj,
                "oldObject": old,
                "request": attributes_of(request, version),
                "authorizer": self._make_authorizer(request),
            }
            try:
                if not conditions_met(conditions, variables):
                    return None
            except ConditionFailed as failure:
                if hook.get("failurePolicy", "Fail") == "Ignore":
                    return None
                raise forbidden(request.call.resource, request.name, str(failure)) from None
        return _Wanted(found, version)

    async def _mutate_once(self, request: Request, wanted: _Wanted, turn: int) -> None:
        """Tells the audit log whether the object is another one now."""
        before = request.object
        response = await self._ask(request, wanted, "mutating", turn)
        if response is None:
            return
        if request.operation in (Operation.CREATE, Operation.UPDATE):
            try:
                patch = patch_of(response)
            except BadAnswer as error:
                self._failed(request, wanted, "mutating", turn, str(error))
                return
            if patch is not None:
                await self._patch(request, wanted, patch)
        hook = wanted.hook
        said = {"configuration": hook.configuration, "webhook": hook.spec["name"]}
        said |= {"mutated": request.object != before}
        name = f"mutation.webhook.admission.k8s.io/round_{turn}_index_{hook.index}"
        request.call.annotations[name] = orjson.dumps(said).decode()

    async def _patch(self, request: Request, wanted: _Wanted, patch: Any) -> None:
        before, registry = request.object, self._setting.registry
        is_scale = request.subresource == "scale"
        if is_scale:
            shown = scale.shown(registry, request.resource, before)
        else:
            shown = await in_version(registry, before, wanted.version)
        try:
            patched = json_patch(copy_of(shown), patch)
        except ApiError as error:
            raise _internal(error.message) from None
        if is_scale:
            request.object = scale.rescaled(registry, request.resource, before, patched)
        else:
            request.object = await taken_in(self._setting, request, wanted.version, patched)

    async def _ask(
        self, request: Request, wanted: _Wanted, kind: str, turn: int = 0
    ) -> Mapping[str, Any] | None:
        """The response of an allowing webhook; None for one that failed and may. Raises ApiError."""
        hook, name = wanted.hook.spec, wanted.hook.spec["name"]
        uid = self._setting.chance.uuid()
        review = await review_of(self._setting, request, wanted.version, uid)
        try:
            answer = await self._caller.post(
                hook["clientConfig"], review, hook.get("timeoutSeconds", _TIMEOUT_S)
            )
            response = response_of(name, answer, uid)
        except (CallFailed, BadAnswer) as error:
            why = f"failed to call webhook: {error}" if isinstance(error, CallFailed) else str(error)
            self._failed(request, wanted, kind, turn, why)
            return None
        request.call.warnings.extend(response.get("warnings") or ())
        for key, value in (response.get("auditAnnotations") or {}).items():
            request.call.annotations[f"{name}/{key}"] = str(value)
        if not response.get("allowed"):
            raise refusal(name, response)
        return response

    def _failed(self, request: Request, wanted: _Wanted, kind: str, turn: int, why: str) -> None:
        """Raises, unless the webhook's failures are to be ignored."""
        hook = wanted.hook.spec
        message = f'failed calling webhook "{hook["name"]}": {why}'
        if hook.get("failurePolicy", "Fail") == "Ignore":
            self._log.warning("webhook ignored", webhook=hook["name"], error=why)
            place = f"round_{turn}_index_{wanted.hook.index}"
            request.call.annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{place}"] = hook["name"]
            return
        raise _internal(message)


async def taken_in(setting: Setting, request: Request, version: Resource, patched: Object) -> Object:
    """What somebody else made of the object, in the form in which it is stored."""
    custom = setting.registry.custom_of(version)
    type_ = None if custom is None else custom.type
    obj = structure.decode(version, patched, "Ignore", type_=type_)[0]
    defaults.apply(version, obj, type_)
    return await in_version(setting.registry, obj, request.resource)


def _internal(message: str) -> ApiError:
    return InternalError(f"Internal error occurred: {message}", details={"causes": [{"message": message}]})

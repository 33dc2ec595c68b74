"""What clients may add to admission, put together: webhooks and policies.

The admission chain calls them only while any are stored, so that without them writes cost nothing more.
When they have changed an object, the built-in mutating steps look at it again, and then those policies and
webhooks that wish to, if others changed what they had left.

A policy's status is kept by a task here, as Kubernetes' controller for it would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from broker.supervision import Tasks
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError
from cluster.api.kinds import VALIDATING_ADMISSION_POLICIES
from cluster.api.objects import copy_of
from cluster.server.admission.chain import Chain
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.auth.attributes import Authorizer
from cluster.server.policy.authorizer import AuthorizerValue, MakeAuthorizer
from cluster.server.policy.checking import status_of
from cluster.server.policy.evaluation import BINDINGS, POLICIES, Policies
from cluster.server.policy.mutation import MUTATING_BINDINGS, MutatingPolicies
from cluster.server.webhooks.caller import Caller
from cluster.server.webhooks.dispatch import MUTATING, VALIDATING, Webhooks
from cluster.store.entry import Change

_FOLLOWED = frozenset((BINDINGS, MUTATING, MUTATING_BINDINGS, POLICIES, VALIDATING))


class Extension:
    def __init__(
        self,
        chain: Chain,
        setting: Setting,
        client: ApiClient,
        authorizer: Authorizer,
        caller: Caller,
        *,
        log: FilteringBoundLogger,
    ) -> None:
        self._chain = chain
        self._setting = setting
        self._client = client
        self._caller = caller
        self._log = log
        make_authorizer: MakeAuthorizer = lambda request: AuthorizerValue(authorizer, request.call.user)  # noqa: E731
        self._webhooks = Webhooks(setting, caller, make_authorizer, log)
        self._policies = Policies(setting, make_authorizer)
        self._mutating_policies = MutatingPolicies(setting, self._policies)
        self._due = asyncio.Event()
        self._tasks = Tasks()
        self._unsubscribe = setting.store.subscribe(self._changed)

    def start(self) -> None:
        self._hook_in()
        self._due.set()
        self._tasks.start("policies", self._run())

    async def stop(self) -> None:
        self._unsubscribe()
        await self._tasks.close()
        await self._webhooks.close()
        await self._caller.close()

    async def failed(self) -> None:
        await self._tasks.failed()

    def _changed(self, batch: Sequence[Change]) -> None:
        if any(change.entry.qualified in _FOLLOWED for change in batch):
            self._hook_in()
            self._due.set()

    def _hook_in(self) -> None:
        count = self._setting.store.count
        needed = count(MUTATING) or count(MUTATING_BINDINGS)
        self._chain.mutating_webhooks = self._mutate if needed else None
        needed = count(VALIDATING) or count(BINDINGS)
        self._chain.validating_webhooks = self._validate if needed else None

    async def _mutate(self, request: Request) -> None:
        if _is_effect(request):
            return
        before = copy_of(request.object)
        ran = await self._mutating_policies.mutate(request)
        asked = await self._webhooks.mutate(request)
        if request.object != before and request.operation in (Operation.CREATE, Operation.UPDATE):
            self._chain.mutate(request)
            await self._mutating_policies.mutate_again(request, ran)
            await self._webhooks.mutate_again(request, asked)

    async def _validate(self, request: Request) -> None:
        if _is_effect(request):
            return
        await self._policies.validate(request)
        await self._webhooks.validate(request)

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            for entry in list(self._setting.store.list(POLICIES)):
                policy = entry.object
                status = status_of(self._setting.registry, policy)
                if status == policy.get("status"):
                    continue
                body = {**policy, "metadata": dict(policy["metadata"]), "status": status}
                try:
                    await self._client.update(VALIDATING_ADMISSION_POLICIES, body, subresource="status")
                except ApiError as error:
                    self._log.info("policy status not written", policy=entry.key.name, error=error.message)


def _is_effect(request: Request) -> bool:
    """The pod's change that a Binding has: the Binding itself has been asked about."""
    return request.subresource == "binding" and request.operation is Operation.UPDATE

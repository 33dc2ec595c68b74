"""Follows the stored definitions: accepts names, establishes, serves, and clears up after a deletion.

Kubernetes has a controller for each of these; here one task looks at one definition at a time and makes
everything right that follows from it. It is told by the store which definitions changed. When it starts, it
takes in all definitions before the first request is answered, so that a restart loses no kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api.client import ApiClient
from cluster.api.custom.approval import Approval, approval, is_protected
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.kinds import CUSTOM_RESOURCE_DEFINITIONS
from cluster.api.objects import Key, Object, timestamp
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.server.custom.making import Made, make
from cluster.server.custom.names import accepted
from cluster.server.verbs.deletion import CLEANUP_FINALIZER
from cluster.server.webhooks.caller import Caller
from cluster.store.entry import Change
from cluster.store.store import Store

_QUALIFIED = CUSTOM_RESOURCE_DEFINITIONS.qualified
RETRY_S = 1.0


class Definitions:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        client: ApiClient,
        *,
        caller: Caller,
        clock: Clock,
        chance: Chance,
        log: FilteringBoundLogger,
        on_change: Callable[[Resource, bool], None],
    ) -> None:
        """`caller` reaches conversion webhooks. `on_change` gets a resource, and whether it is served now or
        no longer."""
        self._caller = caller
        self._chance = chance
        self._on_change = on_change
        self._store = store
        self._registry = registry
        self._client = client
        self._clock = clock
        self._log = log
        self._served: dict[str, tuple[Any, list[Made]]] = {}
        """Definition → what the versions were made from, and the versions."""
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self._unsubscribe = store.subscribe(self._changed)

    async def start(self) -> None:
        """Returns when everything that is established is served."""
        for entry in self._store.list(_QUALIFIED):
            self._due[entry.key.name] = None
        while self._due:
            await self._next()
        self._tasks.start("definitions", self._run())

    async def stop(self) -> None:
        self._unsubscribe()
        await self._tasks.close()

    async def failed(self) -> None:
        await self._tasks.failed()

    def _changed(self, batch: Sequence[Change]) -> None:
        for change in batch:
            if change.entry.qualified == _QUALIFIED:
                self._due[change.entry.key.name] = None
                self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                await self._next()

    async def _next(self) -> None:
        name = next(iter(self._due))
        del self._due[name]
        try:
            await self._settle(name)
        except (Conflict, NotFound):
            self._again(name)
        except ApiError as error:
            self._log.warning("definition not settled", definition=name, error=error.message)
            asyncio.get_running_loop().call_later(RETRY_S, self._again, name)

    def _again(self, name: str) -> None:
        self._due[name] = None
        self._wake.set()

    async def _settle(self, name: str) -> None:
        entry = self._store.get(_QUALIFIED, Key("", name))
        if entry is None:
            self._forget(name)
            return
        definition = entry.object
        status = self._status(definition)
        if status != definition.get("status"):
            definition = await self._write_status(definition, status)
        self._serve(definition)
        if "deletionTimestamp" in definition["metadata"]:
            await self._clear(definition)

    def _status(self, definition: Object) -> Object:
        """The status with names and conditions as they should be."""
        others = [entry.object for entry in self._store.list(_QUALIFIED)]
        names, reason, message = accepted(definition, others)
        status: Object = {**(definition.get("status") or {}), "acceptedNames": names}
        conditions: list[Object] = list(status.get("conditions") or ())
        if reason:
            self._set(conditions, "NamesAccepted", "False", reason, message)
        else:
            self._set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found")
        if not reason and not _is_true(conditions, "Established"):
            self._set(
                conditions, "Established", "True", "InitialNamesAccepted",
                "the initial names have been accepted",
            )  # fmt: skip
        elif reason and not _has(conditions, "Established"):
            self._set(conditions, "Established", "False", "NotAccepted", "not all names are accepted")
        if is_protected(definition["spec"]["group"]):
            state, said = approval(definition["metadata"].get("annotations"))
            holds = "True" if state is Approval.APPROVED else "False"
            self._set(conditions, "KubernetesAPIApprovalPolicyConformant", holds, state.value, said)
        status["conditions"] = conditions
        return status

    def _set(self, conditions: list[Object], kind: str, status: str, reason: str, message: str) -> None:
        found = next((c for c in conditions if c["type"] == kind), None)
        if found is not None and (found["status"], found["reason"], found["message"]) == (
            status, reason, message,
        ):  # fmt: skip
            return
        since = timestamp(self._clock.now())
        if found is not None and found["status"] == status:
            since = found["lastTransitionTime"]
        made = {
            "type": kind, "status": status, "lastTransitionTime": since, "reason": reason,
            "message": message,
        }  # fmt: skip
        if found is None:
            conditions.append(made)
        else:
            conditions[conditions.index(found)] = made

    async def _write_status(self, definition: Object, status: Object) -> Object:
        body = {**definition, "metadata": dict(definition["metadata"]), "status": status}
        return await self._client.update(CUSTOM_RESOURCE_DEFINITIONS, body, subresource="status")

    # --- serving

    def _serve(self, definition: Object) -> None:
        name = definition["metadata"]["name"]
        if not _is_true(definition["status"]["conditions"], "Established"):
            return
        terminating = "deletionTimestamp" in definition["metadata"]
        basis = (definition["spec"], definition["status"]["acceptedNames"], terminating)
        known = self._served.get(name)
        if known is not None and known[0] == basis:
            return
        stored = [entry.object for entry in self._store.list(name)]
        made = make(definition, stored, self._caller, self._chance)
        self._replace(name, made, definition)
        self._served[name] = (basis, made)

    def _replace(self, name: str, made: list[Made], definition: Mapping[str, Any]) -> None:
        storage = next(one.resource for one in made if one.storage)
        unserved = {v["name"] for v in definition["spec"]["versions"] if not v["served"]}
        kept = {one.resource.version for one in made if one.resource.version not in unserved}
        for old in self._served.get(name, (None, []))[1]:
            if old.resource.version not in kept:
                self._registry.remove(old.resource)
                self._on_change(old.resource, False)
        for one in made:
            if one.resource.version in kept:
                self._registry.add(one.resource, stored_as=storage, custom=one.custom)
                self._on_change(one.resource, True)

    def _forget(self, name: str) -> None:
        _, made = self._served.pop(name, (None, []))
        for one in made:
            self._registry.remove(one.resource)
            self._on_change(one.resource, False)

    # --- deletion

    async def _clear(self, definition: Object) -> None:
        """Deletes the kind's objects; when the last is gone, lets the definition go."""
        metadata = definition["metadata"]
        if CLEANUP_FINALIZER not in (metadata.get("finalizers") or ()):
            return
        name = metadata["name"]
        resource = self._storage(name)
        if resource is not None and self._store.count(name):
            definition = await self._terminating(
                definition, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"
            )
            for entry in list(self._store.list(name)):
                if "deletionTimestamp" not in entry.object["metadata"]:
                    await self._delete(resource, entry.key)
            if self._store.count(name):
                asyncio.get_running_loop().call_later(RETRY_S, self._again, name)
                return
        definition = await self._terminating(
            definition, "False", "InstanceDeletionCompleted", "removed all instances"
        )
        left = [each for each in definition["metadata"]["finalizers"] if each != CLEANUP_FINALIZER]
        body = {**definition, "metadata": {**definition["metadata"], "finalizers": left}}
        await self._client.update(CUSTOM_RESOURCE_DEFINITIONS, body)

    def _storage(self, name: str) -> Resource | None:
        """A view through which the objects can be deleted."""
        return next((one.resource for one in self._served.get(name, (None, []))[1]), None)

    async def _delete(self, resource: Resource, key: Key) -> None:
        try:
            await self._client.delete(resource, key.name, namespace=key.namespace, propagation="Background")
        except NotFound:
            return

    async def _terminating(self, definition: Object, status: str, reason: str, message: str) -> Object:
        conditions = list(definition["status"].get("conditions") or ())
        self._set(conditions, "Terminating", status, reason, message)
        wanted = {**definition["status"], "conditions": conditions}
        if wanted == definition["status"]:
            return definition
        return await self._write_status(definition, wanted)


def _has(conditions: Sequence[Mapping[str, Any]], kind: str) -> bool:
    return any(c["type"] == kind for c in conditions)


def _is_true(conditions: Sequence[Mapping[str, Any]], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)

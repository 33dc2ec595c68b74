"""Everything the verbs work with, in one place, so that each verb is a function of it and a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from broker.chance import Chance
from broker.clock import Clock
from cluster.api import kinds
from cluster.api.custom import Converting
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.server.admission.chain import Chain
from cluster.server.allocate import ServiceAllocator
from cluster.server.call import Call
from cluster.server.strategy import Strategy, strategy_of
from cluster.store.entry import Entry
from cluster.store.store import Store

_BUILT_IN = frozenset((resource.group, resource.plural) for resource in kinds.BUILT_IN)

SubresourceHook = Callable[[Call, Entry, Object], Awaitable[Object]]
"""Answers a POST to a subresource that another part implements (serviceaccounts/token): the call, the
parent, the decoded body."""
View = Callable[[Object], Object]
Reviewer = Callable[[Call, Object], Awaitable[Object]]
"""Answers a POST to a kind that is a question and is never stored (TokenReview, SubjectAccessReview)."""
Computed = Callable[[str], Sequence[Object]]
"""The objects of a kind that is made when it is read (metrics.k8s.io): in a namespace, all for ""."""


@dataclass(slots=True, kw_only=True)
class Environment:
    store: Store
    registry: Registry
    clock: Clock
    chance: Chance
    admission: Chain
    services: ServiceAllocator
    hooks: dict[tuple[str, str], SubresourceHook] = field(default_factory=dict)
    """By (qualified, subresource)."""
    reviewers: dict[str, Reviewer] = field(default_factory=dict)
    """By qualified."""
    computed: dict[str, Computed] = field(default_factory=dict)
    """By qualified."""
    _strategies: dict[tuple[str, str, str], Strategy] = field(default_factory=dict)
    _generation: int = -1

    def strategy(self, resource: Resource) -> Strategy:
        """The strategy of the stored view of `resource`; of `resource` itself, if it is a custom kind's."""
        if self._generation != self.registry.generation:
            self._strategies.clear()
            self._generation = self.registry.generation
        key = (resource.plural, resource.group, resource.version)
        found = self._strategies.get(key)
        if found is None:
            stored = self.registry.storage_of(resource)
            custom = (stored.group, stored.plural) not in _BUILT_IN
            kind = self.registry.custom_of(resource)
            seen = stored if kind is None else resource
            found = self._strategies[key] = strategy_of(seen, stored=stored, custom=custom, kind=kind)
        return found

    def view(self, resource: Resource) -> View | None:
        """Turns stored objects into the version that `resource` is; None where they are already."""
        strategy = self.strategy(resource)
        if strategy.kind is not None:
            return strategy.kind.read
        if strategy.resource is resource:
            return None
        return lambda obj: self.registry.convert(obj, resource)

    def conversion(self, resource: Resource) -> Converting | None:
        """Where a webhook converts: then `view` gives None, and what the store holds is not yet what is
        shown."""
        kind = self.strategy(resource).kind
        return None if kind is None else kind.conversion

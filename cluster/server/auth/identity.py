"""Authentication and authorisation put together over one store: what the HTTP shell asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broker.chance import Chance
from broker.clock import Clock
from cluster.api.objects import Key, Object
from cluster.server.admission.node_restriction import check_token
from cluster.server.auth.attributes import Attributes, Authorizer, Decision
from cluster.server.auth.authenticate import Authenticator
from cluster.server.auth.escalation import Escalation
from cluster.server.auth.node import NodeAuthorizer
from cluster.server.auth.rbac import KINDS, Rbac
from cluster.server.auth.reviews import Reviews
from cluster.server.auth.signers import Signers
from cluster.server.auth.token_request import TokenRequests
from cluster.server.auth.tokens import ServiceAccountTokens, SigningKey
from cluster.server.call import Call, User
from cluster.server.verbs import Verbs
from cluster.store.entry import Change, Entry
from cluster.store.store import Store

_KINDS = frozenset(KINDS)


class Union:
    """The first authorizer that allows decides; refusals' reasons are joined."""

    def __init__(self, *authorizers: Authorizer) -> None:
        self._authorizers = authorizers

    def authorize(self, attributes: Attributes) -> Decision:
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.authorize(attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, ", ".join(reasons))


class Identity:
    def __init__(
        self,
        verbs: Verbs,
        key: SigningKey,
        *,
        clock: Clock,
        chance: Chance,
        static: Mapping[str, User] | None = None,
        anonymous: bool = True,
    ) -> None:
        store = verbs.store
        self.tokens = ServiceAccountTokens(key, self._lookup, clock=clock, chance=chance)
        self.authenticator = Authenticator(self.tokens, static=static, anonymous=anonymous)
        self.rbac = Rbac(self._source)
        self.authorizer: Authorizer = Union(NodeAuthorizer(store), self.rbac)
        self._store: Store = store
        self._requests = TokenRequests(self.tokens, self._lookup)
        store.subscribe(self._on_changes)
        verbs.add_subresource("serviceaccounts", "token", self._token)
        escalation = Escalation(self.authorizer, self.rbac)
        signers = Signers(self.authorizer)
        verbs.environment.admission.add_validating(*escalation.steps(), *signers.steps())
        reviews = Reviews(self.authenticator, self.authorizer, self.rbac, clock)
        for qualified, reviewer in reviews.reviewers().items():
            verbs.add_reviewer(qualified, reviewer)

    def _lookup(self, qualified: str, key: Key) -> Object | None:
        entry = self._store.get(qualified, key)
        return None if entry is None else entry.object

    def _source(self, qualified: str) -> Iterable[Object]:
        return [entry.object for entry in self._store.list(qualified)]

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.entry.qualified in _KINDS:
                self.rbac.changed()
                return

    async def _token(self, call: Call, account: Entry, body: Object) -> Object:
        check_token(self._store, call, body)
        return self._requests.answer(call, account.object, body)

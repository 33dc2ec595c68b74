"""`authorizer` in expressions: asks the cluster's own authorisation, as the user of the request or another.

authorizer.group('apps').resource('deployments').namespace('x').check('create').allowed()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from cluster.api.cel.values import Receiver
from cluster.server.admission.request import Request
from cluster.server.auth.attributes import Attributes, Authorizer, Decision
from cluster.server.call import User


@dataclass(frozen=True, slots=True)
class AuthorizerValue(Receiver):
    asked: Authorizer
    user: User

    def group(self, group: str) -> _Check:
        return _Check(self, Attributes(self.user, "", group, "*"))

    def path(self, path: str) -> _Check:
        return _Check(self, Attributes(self.user, "", path=path))

    def serviceAccount(self, namespace: str, name: str) -> AuthorizerValue:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return replace(self, user=User(name=f"system:serviceaccount:{namespace}:{name}", groups=groups))


@dataclass(frozen=True, slots=True)
class _Check(Receiver):
    authorizer: AuthorizerValue
    attributes: Attributes

    def _with(self, **changes: Any) -> _Check:
        return replace(self, attributes=replace(self.attributes, **changes))

    def resource(self, resource: str) -> _Check:
        return self._with(resource=resource)

    def subresource(self, subresource: str) -> _Check:
        return self._with(subresource=subresource)

    def namespace(self, namespace: str) -> _Check:
        return self._with(namespace=namespace)

    def name(self, name: str) -> _Check:
        return self._with(name=name)

    def check(self, verb: str) -> _Decision:
        return _Decision(self.authorizer.asked.authorize(replace(self.attributes, verb=verb)))


@dataclass(frozen=True, slots=True)
class _Decision(Receiver):
    decision: Decision

    def allowed(self) -> bool:
        return self.decision.allowed

    def reason(self) -> str:
        return self.decision.reason

    def errored(self) -> bool:
        return False


MakeAuthorizer: TypeAlias = Callable[[Request], AuthorizerValue]
"""For the user of a request."""

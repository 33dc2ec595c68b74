"""The kinds that are questions: TokenReview, SubjectAccessReview and its relatives, SelfSubjectReview.

They are posted, answered in `status`, and never stored. The verbs decode and validate the body and then
call a reviewer from the table made here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from broker.clock import Clock
from cluster.api.errors import BadRequest
from cluster.api.objects import Object, timestamp
from cluster.server.auth.attributes import Attributes, Authorizer
from cluster.server.auth.authenticate import Authenticator
from cluster.server.auth.rbac import Rbac
from cluster.server.auth.rules import Rule
from cluster.server.auth.tokens import BadToken
from cluster.server.call import Call, User

Reviewer = Callable[[Call, Object], Awaitable[Object]]

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"


class Reviews:
    def __init__(
        self, authenticator: Authenticator, authorizer: Authorizer, rbac: Rbac, clock: Clock
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._rbac = rbac
        self._clock = clock

    def reviewers(self) -> dict[str, Reviewer]:
        """The reviewer of each kind, by qualified resource name."""
        return {
            f"tokenreviews.{_AUTHENTICATION}": self.token,
            f"selfsubjectreviews.{_AUTHENTICATION}": self.self_subject,
            f"subjectaccessreviews.{_AUTHORIZATION}": self.subject_access,
            f"localsubjectaccessreviews.{_AUTHORIZATION}": self.local_subject_access,
            f"selfsubjectaccessreviews.{_AUTHORIZATION}": self.self_subject_access,
            f"selfsubjectrulesreviews.{_AUTHORIZATION}": self.self_subject_rules,
        }

    async def token(self, call: Call, body: Object) -> Object:
        spec = body.get("spec") or {}
        token = spec.get("token", "")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            user, audiences = self._authenticator.review(token, spec.get("audiences") or ())
        except BadToken as bad:
            return {**body, "status": {"user": {}, "error": str(bad)}}
        status: Object = {"authenticated": True, "user": user_info(user)}
        if spec.get("audiences"):
            status["audiences"] = audiences
        return {**body, "status": status}

    async def self_subject(self, call: Call, body: Object) -> Object:
        meta = {"creationTimestamp": timestamp(self._clock.now())}
        return {**body, "metadata": meta, "status": {"userInfo": user_info(call.user)}}

    async def subject_access(self, call: Call, body: Object) -> Object:
        spec = body.get("spec") or {}
        return self._answered(body, _subject(call, spec), spec)

    async def local_subject_access(self, call: Call, body: Object) -> Object:
        spec = body.get("spec") or {}
        return self._answered(body, _subject(call, spec), spec)

    async def self_subject_access(self, call: Call, body: Object) -> Object:
        return self._answered(body, call.user, body.get("spec") or {})

    async def self_subject_rules(self, call: Call, body: Object) -> Object:
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise BadRequest("no namespace on request")
        rules, errors = self._rbac.granted(call.user, namespace)
        status: Object = {
            "resourceRules": [_resource_rule(rule) for rule in rules if not rule.paths],
            "nonResourceRules": [_path_rule(rule) for rule in rules if rule.paths],
            "incomplete": bool(errors),
        }
        if errors:
            status["evaluationError"] = ", ".join(errors)
        return {**body, "status": status}

    def _answered(self, body: Object, user: User, spec: Object) -> Object:
        decision = self._authorizer.authorize(_attributes(user, spec))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return {**body, "status": status}


def user_info(user: User) -> Object:
    """authentication.k8s.io/v1 UserInfo."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _subject(call: Call, spec: Object) -> User:
    extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(
        name=spec.get("user", ""),
        uid=spec.get("uid", ""),
        groups=tuple(spec.get("groups") or ()),
        extra=extra,
    )


def _attributes(user: User, spec: Object) -> Attributes:
    resource: dict[str, Any] | None = spec.get("resourceAttributes")
    if resource is None:
        other = spec["nonResourceAttributes"]
        return Attributes(user, other.get("verb", ""), path=other.get("path", ""))
    return Attributes(
        user,
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("version", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


def _resource_rule(rule: Rule) -> Object:
    source = rule.source
    names = source.get("resourceNames")
    shown: Object = {key: list(source.get(key) or ()) for key in ("verbs", "apiGroups", "resources")}
    return {**shown, "resourceNames": list(names)} if names else shown


def _path_rule(rule: Rule) -> Object:
    return {"verbs": list(rule.source.get("verbs") or ()), "nonResourceURLs": list(rule.paths)}

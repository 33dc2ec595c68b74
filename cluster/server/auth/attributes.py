"""What is asked of an authorizer, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from cluster.api.errors import Forbidden
from cluster.server.call import User

MASTERS = "system:masters"
"""Members may do everything, whatever the roles say."""
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class Attributes:
    """One request as authorization sees it. `path` is set instead of a resource for non-resource URLs."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    """Of a list or watch, as sent."""

    @property
    def combined(self) -> str:
        """`pods/log` as rules write it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""
    """Why it was allowed; or, refused, what stood in the way of a verdict."""


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> Decision: ...


_SANITIZED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def refusal(attributes: Attributes, reason: str = "") -> Forbidden:
    """The 403 that says who may not do what."""
    message = _message(attributes).translate(_SANITIZED)
    if reason:
        message = f"{message}: {reason}"
    details: dict[str, Any] = {}
    if attributes.name:
        details["name"] = attributes.name
    if attributes.group:
        details["group"] = attributes.group
    if not attributes.resource:
        return Forbidden(f"forbidden: {message}", details=details)
    details["kind"] = attributes.resource
    group = f".{attributes.group}" if attributes.group else ""
    name = f' "{attributes.name}"' if attributes.name else ""
    return Forbidden(f"{attributes.resource}{group}{name} is forbidden: {message}", details=details)


def _message(attributes: Attributes) -> str:
    user = attributes.user.name
    if not attributes.resource:
        return f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return (
        f'User "{user}" cannot {attributes.verb} resource "{attributes.combined}" '
        f'in API group "{attributes.group}" {where}'
    )

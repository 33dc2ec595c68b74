"""Acting as somebody else: the Impersonate-* headers.

Each thing that is put on (user or service account, groups, uid, extra fields) is a permission of its own
that the real user must hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol
from urllib.parse import unquote

from cluster.api.errors import InternalError
from cluster.server.auth.attributes import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Attributes,
    Authorizer,
    refusal,
)
from cluster.server.auth.tokens import service_account_groups
from cluster.server.call import User

USER, GROUP, UID, EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-"
_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNT = "system:serviceaccount:"


class Headers(Protocol):
    """The part of a multi-valued, case-insensitive header mapping that is needed."""

    def get(self, key: str, default: str) -> str: ...

    def getall(self, key: str, default: list[str]) -> list[str]: ...

    def items(self) -> Iterable[tuple[str, str]]: ...


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether any of the headers is there; the question every request pays for."""
    return any(name[:12].lower() == "impersonate-" for name in headers)


def impersonated(user: User, headers: Headers, authorizer: Authorizer) -> User:
    """The user that the headers ask for. Raises Forbidden where `user` may not act as that."""
    name = headers.get(USER, "")
    groups = headers.getall(GROUP, [])
    uid = headers.get(UID, "")
    extra = _extra(headers)
    if not name:
        raise InternalError(
            "Internal error occurred: requested impersonation of groups, uid or extra fields "
            "without impersonating a user name"
        )
    for attributes in _needed(user, name, groups, uid, extra):
        decision = authorizer.authorize(attributes)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
    return User(name=name, uid=uid, groups=tuple(_groups(name, groups)), extra=extra)


def _extra(headers: Headers) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header[: len(EXTRA)].lower() == EXTRA.lower():
            key = unquote(header[len(EXTRA) :].lower())
            extra[key] = (*extra.get(key, ()), value)
    return extra


def _needed(
    user: User, name: str, groups: list[str], uid: str, extra: Mapping[str, tuple[str, ...]]
) -> Iterator[Attributes]:
    account = _account(name)
    if account:
        yield Attributes(user, "impersonate", "", "v1", "serviceaccounts", "", *account)
    else:
        yield Attributes(user, "impersonate", "", "v1", "users", name=name)
    for group in groups:
        yield Attributes(user, "impersonate", "", "v1", "groups", name=group)
    for key, values in extra.items():
        for value in values:
            yield Attributes(user, "impersonate", _AUTHENTICATION, "v1", "userextras", key, name=value)
    if uid:
        yield Attributes(user, "impersonate", _AUTHENTICATION, "v1", "uids", name=uid)


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name, for the user name of a service account."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, separator, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if separator and namespace and account else None


def _groups(name: str, groups: list[str]) -> list[str]:
    account = _account(name)
    if account and not groups:
        groups = list(service_account_groups(account[0]))
    if name == ANONYMOUS:
        return groups if UNAUTHENTICATED in groups else [*groups, UNAUTHENTICATED]
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return [*groups, AUTHENTICATED]

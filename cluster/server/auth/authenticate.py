"""Who sent a request: client certificate, then bearer token, then nobody in particular.

The first authenticator that knows its credential decides. A bearer token that is not valid refuses the
request (401) even where anonymous requests are allowed; a request without any credential is anonymous.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.api.errors import Unauthorized
from cluster.server.auth.attributes import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED
from cluster.server.auth.tokens import BadToken, ServiceAccountTokens
from cluster.server.call import User

ANONYMOUS_USER = User(name=ANONYMOUS, groups=(UNAUTHENTICATED,))


def unauthorized() -> Unauthorized:
    return Unauthorized("Unauthorized")


class Authenticator:
    """Bearer tokens and anonymous requests; certificates come checked from TLS."""

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        *,
        static: Mapping[str, User] | None = None,
        anonymous: bool = True,
    ) -> None:
        """`static`: users by their token, as `--token-auth-file` gives them."""
        self._tokens = tokens
        self._static = dict(static or {})
        self._anonymous = ANONYMOUS_USER if anonymous else None

    def user(self, authorization: str | None) -> User:
        """The user of an Authorization header. Raises Unauthorized."""
        if authorization:
            scheme, _, token = authorization.strip().partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return self.token_user(token.strip())
        if self._anonymous is None:
            raise unauthorized()
        return self._anonymous

    def token_user(self, token: str) -> User:
        try:
            return self.review(token, ())[0]
        except BadToken:
            raise unauthorized() from None

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]]:
        """The user of a token and for which of `audiences` it is meant. Raises BadToken."""
        for known, user in self._static.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return user, list(audiences)
        return self._tokens.user(token, audiences)


def certificate_user(peer: Mapping[str, Any], encoded: bytes) -> User:
    """The user of a client certificate that TLS has verified: CN is the name, every O a group.

    `peer` is `SSLSocket.getpeercert()`, `encoded` the same certificate in DER form.
    """
    name, groups = "", []
    for attributes in peer.get("subject", ()):
        for key, value in attributes:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        raise unauthorized()
    fingerprint = hashlib.sha256(encoded).hexdigest()
    extra = {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    return User(name=name, groups=(*groups, AUTHENTICATED), extra=extra)


def read_token_file(path: Path) -> dict[str, User]:
    """Static tokens: lines of `token,user,uid,"group1,group2"`. Raises ValueError."""
    users: dict[str, User] = {}
    with path.open(newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not row or row[0].startswith("#"):
                continue
            if len(row) < 3 or not row[0].strip() or not row[1].strip():
                raise ValueError(f"{path}:{number}: expected token,user,uid[,groups]")
            token, name, uid, *groups = (column.strip() for column in row)
            named = groups[0].split(",") if groups and groups[0] else ()
            users[token] = User(name=name, uid=uid, groups=(*named, AUTHENTICATED))
    return users

"""Service account tokens: signed JSON Web Tokens (ES256), as TokenRequest gives out and requests carry.

A token is bound to its service account, and may be bound to a pod, a secret or a node besides: it is
valid only while that very object (same uid) exists. The signature of a token is checked once and the
result kept in a bounded cache; the objects are looked up every time, which costs only a few dictionary
look-ups and lets a token die with its pod.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.chance import Chance
from broker.clock import Clock
from cluster.api.objects import Key, Object
from cluster.server.auth.attributes import AUTHENTICATED
from cluster.server.call import User

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_LIFE_S = 3600
MINIMUM_LIFE_S = 600
MAXIMUM_LIFE_S = 1 << 32
CACHE_LIMIT = 4096
_LEEWAY_S = 10
_COORDINATE_BYTES = 32

Lookup = Callable[[str, Key], Object | None]
"""An object by qualified resource name and key."""


class BadToken(Exception):
    """The token is not valid; the text says why, for logs and TokenReview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The object besides the service account that a token lives and dies with."""

    kind: str
    """Pod, Secret or Node."""
    name: str
    uid: str


class SigningKey:
    """A P-256 key pair that signs tokens and publishes its public half."""

    def __init__(self, load: Callable[[], EllipticCurvePrivateKey]) -> None:
        self._load = load
        self._key: EllipticCurvePrivateKey | None = None
        self._id = ""

    @staticmethod
    def from_pem(pem: bytes) -> SigningKey:
        def load() -> EllipticCurvePrivateKey:
            from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            key = load_pem_private_key(pem, password=None)
            if not isinstance(key, EllipticCurvePrivateKey):
                raise ValueError("the service account key is not an elliptic curve key")
            return key

        return SigningKey(load)

    @staticmethod
    def derived(chance: Chance) -> SigningKey:
        """A key that depends on the seed alone: for simulations."""

        def load() -> EllipticCurvePrivateKey:
            from cryptography.hazmat.primitives.asymmetric import ec

            return ec.derive_private_key(1 + chance.below(1 << 255), ec.SECP256R1())

        return SigningKey(load)

    @property
    def key(self) -> EllipticCurvePrivateKey:
        if self._key is None:
            self._key = self._load()
        return self._key

    @property
    def id(self) -> str:
        """The key id, a digest of the public key."""
        if not self._id:
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

            encoded = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self._id = _encode(hashlib.sha256(encoded).digest())
        return self._id

    def sign(self, claims: Mapping[str, Any]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        header = _encode(_json({"alg": "ES256", "kid": self.id}))
        signed = f"{header}.{_encode(_json(claims))}"
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self.key.sign(signed.encode(), algorithm))
        signature = r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
        return f"{signed}.{_encode(signature)}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that this key signed. Raises BadToken."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        header, payload, signature = _split(token)
        if header.get("alg") != "ES256" or len(signature) != 2 * _COORDINATE_BYTES:
            raise BadToken("the token is not signed with this cluster's algorithm")
        r = int.from_bytes(signature[:_COORDINATE_BYTES])
        s = int.from_bytes(signature[_COORDINATE_BYTES:])
        signed = token.rpartition(".")[0].encode()
        try:
            public = self.key.public_key()
            public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise BadToken("the token's signature is not valid") from None
        return payload

    def jwks(self) -> Object:
        """The public key as a JSON Web Key Set."""
        numbers = self.key.public_key().public_numbers()
        key = {
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": _encode(numbers.x.to_bytes(_COORDINATE_BYTES)),
            "y": _encode(numbers.y.to_bytes(_COORDINATE_BYTES)),
        }
        return {"keys": [key]}


class ServiceAccountTokens:
    """Issues and checks tokens."""

    def __init__(self, key: SigningKey, lookup: Lookup, *, clock: Clock, chance: Chance) -> None:
        self.key = key
        self.audiences: tuple[str, ...] = (ISSUER,)
        """What the API server answers to; also the default audience of new tokens."""
        self._lookup = lookup
        self._clock = clock
        self._chance = chance
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def issue(
        self,
        account: Object,
        *,
        audiences: Sequence[str],
        life_s: int,
        bound: Bound | None,
        node: Bound | None,
    ) -> tuple[str, float]:
        """A token and when it expires, in seconds since 1970."""
        now = int(self._clock.now().timestamp())
        meta = account["metadata"]
        private: Object = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        for reference in (bound, node):
            if reference is not None:
                private[reference.kind.lower()] = {"name": reference.name, "uid": reference.uid}
        claims = {
            "aud": list(audiences) or list(self.audiences),
            "exp": now + life_s,
            "iat": now,
            "iss": ISSUER,
            "jti": self._chance.uuid(),
            "kubernetes.io": dict(sorted(private.items())),
            "nbf": now,
            "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
        }
        return self.key.sign(claims), now + life_s

    def user(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """Who the token speaks for, and which of the wanted audiences it is meant for. Raises BadToken."""
        claims = self._claims(token)
        now = self._clock.now().timestamp()
        if now > claims.get("exp", 0) + _LEEWAY_S:
            raise BadToken("service account token has expired")
        if now < claims.get("nbf", 0) - _LEEWAY_S:
            raise BadToken("service account token is not valid yet")
        meant = [a for a in (audiences or self.audiences) if a in claims.get("aud", ())]
        if not meant:
            raise BadToken(f"token audiences {claims.get('aud')} is invalid for the target audiences")
        return self._user_of(claims), meant

    def _claims(self, token: str) -> dict[str, Any]:
        claims = self._verified.get(token)
        if claims is None:
            claims = self.key.verify(token)
            if claims.get("iss") != ISSUER or "kubernetes.io" not in claims:
                raise BadToken("the token was not issued by this cluster")
            self._verified[token] = claims
            if len(self._verified) > CACHE_LIMIT:
                self._verified.popitem(last=False)
        return claims

    def _user_of(self, claims: Mapping[str, Any]) -> User:
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        self._require("serviceaccounts", Key(namespace, account["name"]), account["uid"])
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
        if pod := private.get("pod"):
            self._require("pods", Key(namespace, pod["name"]), pod["uid"])
            extra["authentication.kubernetes.io/pod-name"] = (pod["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (pod["uid"],)
        if secret := private.get("secret"):
            self._require("secrets", Key(namespace, secret["name"]), secret["uid"])
        if node := private.get("node"):
            if "pod" not in private:
                self._require("nodes", Key("", node["name"]), node["uid"])
            extra["authentication.kubernetes.io/node-name"] = (node["name"],)
            if node["uid"]:
                extra["authentication.kubernetes.io/node-uid"] = (node["uid"],)
        return User(
            name=claims["sub"],
            uid=account["uid"],
            groups=(*service_account_groups(namespace), AUTHENTICATED),
            extra=extra,
        )

    def _require(self, qualified: str, key: Key, uid: str) -> None:
        found = self._lookup(qualified, key)
        if found is None or found["metadata"]["uid"] != uid:
            raise BadToken(f"the token is bound to {qualified} {key}, which is gone")


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}"


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("not a JSON Web Token")
    try:
        header, payload = (json.loads(_decode(part)) for part in parts[:2])
        signature = _decode(parts[2])
    except ValueError:
        raise BadToken("not a JSON Web Token") from None
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise BadToken("not a JSON Web Token")
    return header, payload, signature


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

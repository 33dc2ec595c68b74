"""Whether a token's signature is that of a published key. Apart, since few programs load a library for it."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature


def is_signed_by(key: dict[str, Any], token: str) -> bool:
    """By ES256; `key` is a JSON web key. Raises KeyError, ValueError."""
    signed, _, signature = token.rpartition(".")
    x, y = (int.from_bytes(_bytes(key[part])) for part in ("x", "y"))
    raw = _bytes(signature)
    r, s = int.from_bytes(raw[: len(raw) // 2]), int.from_bytes(raw[len(raw) // 2 :])
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    try:
        public.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

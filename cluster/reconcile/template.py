"""Pods out of templates, and the hash by which a template is told from its successor."""

from __future__ import annotations

import hashlib
import json

from broker.chance import NAME_ALPHABET
from cluster.api.objects import Object, owner_reference

HASH_LABEL = "pod-template-hash"


def safe_encoded(number: int) -> str:
    """A number's decimal digits in the alphabet of generated names."""
    return "".join(NAME_ALPHABET[ord(digit) % len(NAME_ALPHABET)] for digit in str(number))


def hash_of(value: object, collision_count: int | None = None) -> str:
    """32 bits of a JSON value's hash, as a label value. `collision_count` gives another one each time."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if collision_count is not None:
        text += f"#{collision_count}"
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return safe_encoded(int.from_bytes(digest))


def without_hash(template: Object) -> Object:
    """The template as its author wrote it: no hash label, no empty metadata."""
    meta = {name: value for name, value in (template.get("metadata") or {}).items() if value}
    labels = {name: value for name, value in meta.get("labels", {}).items() if name != HASH_LABEL}
    meta.pop("labels", None)
    if labels:
        meta["labels"] = labels
    return {"metadata": meta, "spec": template.get("spec")}


def same_template(left: Object, right: Object) -> bool:
    """Equal but for the hash label."""
    return without_hash(left) == without_hash(right)


def pod_from(template: Object, owner: Object, *, name: str = "") -> Object:
    """A pod for `owner`. Without a name the server generates one from the owner's. Shares its parts with the
    template: send it, don't change it."""
    parts = template.get("metadata") or {}
    meta: Object = {"namespace": owner["metadata"]["namespace"]}
    for part in ("labels", "annotations", "finalizers"):
        if parts.get(part):
            meta[part] = parts[part]
    if name:
        meta["name"] = name
    else:
        meta["generateName"] = owner["metadata"]["name"] + "-"
    meta["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}

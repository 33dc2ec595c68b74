"""Image references: their full form, a made-up but stable digest, what a bad one looks like."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_REFERENCE = re.compile(
    r"^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)


@lru_cache(4096)
def valid(image: str) -> bool:
    return _REFERENCE.match(image) is not None


@lru_cache(4096)
def full_reference(image: str) -> str:
    """As the container runtime names it: nginx → docker.io/library/nginx:latest."""
    name, _, digest = image.partition("@")
    last = name.rsplit("/", 1)[-1]
    if ":" not in last and not digest:
        name += ":latest"
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return f"{name}@{digest}" if digest else name


@lru_cache(4096)
def repository(image: str) -> str:
    """Without tag and digest: docker.io/library/nginx."""
    name = full_reference(image).partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


@lru_cache(4096)
def tag(image: str) -> str:
    last = full_reference(image).partition("@")[0].rsplit("/", 1)[-1]
    return last.partition(":")[2] or "latest"


@lru_cache(4096)
def image_id(image: str) -> str:
    """A digest reference, the same on every node: made from the name, for nothing is really pulled."""
    digest = image.partition("@")[2]
    if not digest:
        digest = "sha256:" + hashlib.sha256(full_reference(image).encode()).hexdigest()
    return f"{repository(image)}@{digest}"

"""Image references, as far as defaulting has to understand them."""

from __future__ import annotations


def pull_policy(image: str) -> str:
    """Always for the tag "latest", said or implied; IfNotPresent for any other and for digests."""
    return "Always" if tag_of(image) == "latest" else "IfNotPresent"


def tag_of(image: str) -> str:
    """Empty where a digest says it all, or there is no image."""
    name, _, digest = image.partition("@")
    if not name:
        return ""
    last = name.rpartition("/")[2]
    _, colon, tag = last.partition(":")
    if colon:
        return tag
    return "" if digest else "latest"

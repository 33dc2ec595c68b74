"""Groups of the Kubernetes community need its approval: an annotation of the definition says where it is.

A link means approved, a text that begins with "unapproved" that there is none on purpose; anything else is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

ANNOTATION = "api-approved.kubernetes.io"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"


class Approval(Enum):
    """The value is the reason of the condition KubernetesAPIApprovalPolicyConformant."""

    MISSING = "MissingAnnotation"
    BYPASSED = "UnapprovedAnnotation"
    APPROVED = "ApprovedAnnotation"
    INVALID = "InvalidAnnotation"


def is_protected(group: str) -> bool:
    return any(group == owner or group.endswith(f".{owner}") for owner in ("k8s.io", "kubernetes.io"))


def approval(annotations: Mapping[str, Any] | None) -> tuple[Approval, str]:
    """The state, and what is said of it."""
    text: str = (annotations or {}).get(ANNOTATION, "")
    if not text:
        return Approval.MISSING, f'protected groups must have approval annotation "{ANNOTATION}", {_SEE}'
    if text.startswith("unapproved"):
        return Approval.BYPASSED, f'not approved: "{text}"'
    link = urlsplit(text)
    if link.scheme and link.netloc:
        return Approval.APPROVED, f"approved in {text}"
    return Approval.INVALID, (
        f'protected groups must have approval annotation "{ANNOTATION}" with either a URL or a reason '
        f'starting with "unapproved", {_SEE}'
    )

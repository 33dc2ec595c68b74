"""One request to the API, free of HTTP: who asks what of which object, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.api.client import Propagation
from cluster.api.resource import Resource
from cluster.api.structure.parsing import NONE, Duplicates


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Call:
    """What every verb gets. `warnings` is filled on the way and becomes Warning headers."""

    user: User
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    field_manager: str = ""
    dry_run: bool = False
    field_validation: Literal["Strict", "Warn", "Ignore"] = "Warn"
    warnings: list[str] = field(default_factory=list)
    trusted: bool = False
    """The body comes from inside the process: its structure is not checked again."""
    duplicates: Duplicates = NONE
    """Keys that occur twice in the text of the body, for decoding to report."""
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission has to say to the audit log."""
    created: bool = False
    """Set by the verb when it made a new object: the answer is 201 instead of 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    revision: str = ""
    revision_match: Literal["", "Exact", "NotOlderThan"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    label_selector: str = ""
    field_selector: str = ""
    revision: str = ""
    bookmarks: bool = False
    send_initial_events: bool | None = None
    """None: as the revision says, which is Kubernetes' older rule."""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    uid: str = ""
    revision: str = ""
    grace_period_s: int | None = None
    propagation: Propagation | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    """The DeleteOptions object as sent, for admission."""

"""What a CustomResourceDefinition makes of one version of its kind, ready for the parts that serve it.

The registry keeps a `Custom` beside each custom `Resource`; verbs, tables, OpenAPI and selectors ask it for
what built-in kinds have in tables. Everything here is pure: a schema goes in, types and functions come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from cluster.api.errors import Cause
from cluster.api.facts import Type
from cluster.api.objects import Object

Validate: TypeAlias = Callable[[Object, Mapping[str, Any] | None], list[Cause]]
"""What is wrong with a new version of an object, given the old one (None on creation)."""
Read: TypeAlias = Callable[[Object], Object]


class Converting(Protocol):
    """Between one version and the stored one, where a webhook knows how. All raise ApiError."""

    async def served(self, objects: Sequence[Object]) -> list[Object]:
        """Objects of any version in this one."""

    async def stored(self, obj: Object) -> Object:
        """The form in which the store holds it."""

    async def entries(self, entries: Sequence[Any]) -> list[Any]:
        """Entries of the store with their objects in this version; answers may be remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where a custom kind keeps what the scale subresource shows, as field names."""

    replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Custom:
    type: Type
    schema: Mapping[str, Any]
    """The version's openAPIV3Schema."""
    validate: Validate
    columns: Sequence[Mapping[str, Any]] = ()
    """additionalPrinterColumns."""
    scale: ScalePaths | None = None
    selectable: tuple[str, ...] = ()
    """Paths of selectableFields, without the leading dot."""
    deprecation: str = ""
    """The warning for each request, if the version is deprecated."""
    read: Read | None = None
    """Turns stored objects into this version, where some of them are not already: written in another
    version, or before the schema got a default."""
    conversion: Converting | None = None
    """Set where the definition has a conversion webhook, which then does what `read` would."""

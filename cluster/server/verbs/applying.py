"""Server-side apply: a PATCH that says what its manager wants, and creates what is not there."""

from __future__ import annotations

from typing import Any

from cluster.api import errors
from cluster.server.call import Call
from cluster.server.verbs.environment import Environment
from cluster.store.entry import Entry


async def apply_patch(env: Environment, call: Call, patch: Any, *, force: bool) -> Entry:
    raise errors.UnsupportedMediaType("server-side apply is not there yet")

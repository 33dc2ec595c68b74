"""metadata.managedFields: who set what, kept on every write."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cluster.api.objects import Object, timestamp
from cluster.server.call import Call
from cluster.server.verbs.environment import Environment


def track(env: Environment, call: Call, new: Object, old: Mapping[str, Any] | None) -> None:
    """Records in `new` what the caller changed relative to `old`."""
    if find_spec("cluster.api.managed") is None:
        return
    import_module("cluster.api.managed").track(
        call.resource,
        new,
        old,
        manager=call.field_manager,
        now=timestamp(env.clock.now()),
        subresource=call.subresource,
    )

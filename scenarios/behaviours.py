"""Changes to a pod's behaviour annotation: how a scenario makes probes fail and containers crash.

The annotation is an ordinary field of the pod, so a fault travels like any other declared state, and
works the same on processes, containers and in a simulation. Its fields are those of `agents.behaviour`.
"""

from __future__ import annotations

import json
from typing import Any

from agents.behaviour import ANNOTATION
from cluster.api.objects import Object

Change = dict[str, dict[str, Any]]
"""Container name or "*" → fields of its profile to set; None removes one."""


def probe_answer(container: str, probe: str, *, fails: bool) -> Change:
    planned = [{"after_s": 0, "answer": "fail"}] if fails else None
    return {container: {probe: planned}}


def crash(container: str, crash_id: str, exit_code: int) -> Change:
    return {container: {"crash": {"id": crash_id, "exit_code": exit_code}}}


def merged(pod: Object, change: Change) -> str:
    """The annotation's new value: what the pod has, with `change` on top."""
    present = pod["metadata"].get("annotations", {}).get(ANNOTATION)
    document: Change = json.loads(present) if present else {}
    for container, fields in change.items():
        profile = {**document.get(container, {}), **fields}
        document[container] = {name: value for name, value in profile.items() if value is not None}
    return json.dumps({name: profile for name, profile in document.items() if profile}, sort_keys=True)

"""A kopf operator, run as a process of its own by `test_operator.py`."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.persistence.finalizer = "crontabs.example.com/kopf"


@kopf.on.create("stable.example.com", "v1", "crontabs")
def create(spec: Any, body: Any, **_: Any) -> dict[str, Any]:
    kopf.event(body, type="Normal", reason="Scheduled", message="runs now")
    return {"image": spec["image"]}


@kopf.on.update("stable.example.com", "v1", "crontabs", field="spec.replicas")
def scale(new: Any, patch: Any, **_: Any) -> None:
    patch.status["scaled"] = new


@kopf.on.delete("stable.example.com", "v1", "crontabs")
def delete(patch: Any, **_: Any) -> None:
    patch.status["deleted"] = True

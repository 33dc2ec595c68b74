"""PersistentVolumeClaimResize: only claims of a class that allows it may grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api import errors
from cluster.api.kinds import PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES
from cluster.api.objects import Key
from cluster.api.quantity import parse
from cluster.server.admission.request import Request, Setting


def check_resize(setting: Setting, request: Request) -> None:
    assert request.old is not None
    if parse(_storage(request.object)) <= parse(_storage(request.old)):
        return
    if (request.old.get("status") or {}).get("phase") != "Bound":
        raise _refused(request, "Only bound persistent volume claims can be expanded")
    name = request.object["spec"].get("storageClassName") or ""
    entry = setting.store.get(STORAGE_CLASSES.qualified, Key("", name)) if name else None
    if entry is None or not entry.object.get("allowVolumeExpansion"):
        raise _refused(
            request,
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
            "must support resize",
        )


def _storage(claim: Mapping[str, Any]) -> str:
    requests: dict[str, str] = (claim["spec"].get("resources") or {}).get("requests") or {}
    return requests.get("storage", "0")


def _refused(request: Request, message: str) -> errors.ApiError:
    return errors.forbidden(PERSISTENT_VOLUME_CLAIMS, request.name, message)

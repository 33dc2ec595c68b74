"""What binding knows about PersistentVolumes and claims: which volume satisfies a claim, and which is best.

Shared by the binding controller, which binds claims as soon as it can, and by the scheduler, which chooses
volumes for claims that wait for their first consumer. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.selectors import of_object_form

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
LEGACY_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
_LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def class_of(obj: Object) -> str:
    """The storage class of a claim or of a volume; empty for none."""
    legacy = annotations_of(obj).get(_LEGACY_CLASS)
    return legacy if legacy is not None else obj["spec"].get("storageClassName") or ""


def storage_of(claim: Object) -> str:
    """What a claim asks for."""
    requests: dict[str, str] = (claim["spec"].get("resources") or {}).get("requests") or {}
    return requests.get("storage", "0")


def waits_for_consumer(storage_class: Object | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def claim_reference(claim: Object) -> Object:
    meta = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
    }


def is_meant_for(volume: Object, claim: Object) -> bool:
    """The volume's claimRef names this claim, and no earlier one of the same name."""
    reference, meta = volume["spec"].get("claimRef"), claim["metadata"]
    return (
        reference is not None
        and (reference.get("namespace"), reference.get("name")) == (meta["namespace"], meta["name"])
        and reference.get("uid", "") in ("", meta["uid"])
    )


def suits(volume: Object, claim: Object) -> bool:
    """Large enough, of the claim's class and mode, with all its access modes, and matched by its selector."""
    have, want = volume["spec"], claim["spec"]
    selector = want.get("selector")
    return (
        have.get("volumeMode", "Filesystem") == want.get("volumeMode", "Filesystem")
        and class_of(volume) == class_of(claim)
        and all(mode in have.get("accessModes", ()) for mode in want.get("accessModes", ()))
        and parse(have["capacity"]["storage"]) >= parse(storage_of(claim))
        and (selector is None or of_object_form(selector).matches_object(volume))
    )


def best_volume(
    claim: Object,
    volumes: Iterable[Object],
    *,
    only_meant: bool = False,
    reaches: Callable[[Object], bool] = lambda volume: True,
) -> Object | None:
    """The volume to bind: one that was made for the claim, or else the smallest that suits, and among equal
    ones the first by name. `only_meant`: nothing but the former."""
    best: tuple[tuple[int, str], Object] | None = None
    for volume in volumes:
        if is_meant_for(volume, claim):
            return volume
        if (
            only_meant
            or "claimRef" in volume["spec"]
            or "deletionTimestamp" in volume["metadata"]
            or volume.get("status", {}).get("phase") != "Available"
            or not suits(volume, claim)
            or not reaches(volume)
        ):
            continue
        rank = (parse(volume["spec"]["capacity"]["storage"]).value(), volume["metadata"]["name"])
        if best is None or rank < best[0]:
            best = (rank, volume)
    return best[1] if best is not None else None

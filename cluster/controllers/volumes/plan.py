"""What a claim or a volume comes to next. Pure: objects in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cluster.api.objects import Object
from cluster.reconcile.volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    PROVISIONED_BY,
    SELECTED_NODE,
    annotations_of,
    best_volume,
    claim_reference,
    class_of,
    is_meant_for,
    suits,
    waits_for_consumer,
)


@dataclass(frozen=True, slots=True)
class Said:
    """An event about the object."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimStep:
    phase: str
    volume: Object | None = None
    """Bind to this one."""
    provisioner: str = ""
    """Ask this one for a volume."""
    said: Said | None = None


_NO_CLASS = Said(
    "Normal",
    "FailedBinding",
    "no persistent volumes available for this claim and no storage class is set",
)
_LOST = Said("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
_MISBOUND = Said(
    "Warning", "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"
)
_WAITS = Said("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")


def next_of_claim(
    claim: Object,
    *,
    named: Object | None,
    candidates: Iterable[Object],
    storage_class: Object | None,
    consumer: str = "",
) -> ClaimStep:
    """`named`: the volume of spec.volumeName, if it exists. `consumer`: a pod that uses the claim and waits
    for a node."""
    if BIND_COMPLETED in annotations_of(claim):
        return _bound(claim, named)
    if claim["spec"].get("volumeName"):
        return _named(claim, named)
    delayed = waits_for_consumer(storage_class) and SELECTED_NODE not in annotations_of(claim)
    found = best_volume(claim, candidates, only_meant=delayed)
    if found is not None:
        return ClaimStep(phase="Bound", volume=found)
    if delayed:
        waiting = Said("Normal", "WaitForPodScheduled", f"waiting for pod {consumer} to be scheduled")
        return ClaimStep(phase="Pending", said=waiting if consumer else _WAITS)
    if not class_of(claim):
        return ClaimStep(phase="Pending", said=_NO_CLASS)
    return _provision(claim, storage_class)


def _bound(claim: Object, volume: Object | None) -> ClaimStep:
    if volume is None:
        return ClaimStep(phase="Lost", said=_LOST)
    if "claimRef" not in volume["spec"] or is_meant_for(volume, claim):
        return ClaimStep(phase="Bound", volume=volume)
    return ClaimStep(phase="Lost", said=_MISBOUND)


def _named(claim: Object, volume: Object | None) -> ClaimStep:
    """A claim that asks for one volume by name gets that one or waits."""
    if volume is None:
        return ClaimStep(phase="Pending")
    name = volume["metadata"]["name"]
    if "claimRef" in volume["spec"]:
        if is_meant_for(volume, claim):
            return ClaimStep(phase="Bound", volume=volume)
        text = f'volume "{name}" already bound to a different claim.'
        return ClaimStep(phase="Pending", said=Said("Warning", "FailedBinding", text))
    if not suits(volume, claim):
        text = f'Cannot bind to requested volume "{name}": {_misfit(volume, claim)}'
        return ClaimStep(phase="Pending", said=Said("Warning", "VolumeMismatch", text))
    return ClaimStep(phase="Bound", volume=volume)


def _misfit(volume: Object, claim: Object) -> str:
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    have, want = volume["spec"], claim["spec"]
    if have.get("volumeMode", "Filesystem") != want.get("volumeMode", "Filesystem"):
        return "incompatible volumeMode"
    if not all(mode in have.get("accessModes", ()) for mode in want.get("accessModes", ())):
        return "incompatible accessMode"
    return "requested PV is too small"


def _provision(claim: Object, storage_class: Object | None) -> ClaimStep:
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        return ClaimStep(phase="Pending", said=Said("Warning", "ProvisioningFailed", text))
    provisioner = storage_class["provisioner"]
    if provisioner == NO_PROVISIONER:
        return ClaimStep(phase="Pending", said=_NO_CLASS)
    text = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually "
        "by the system administrator. If volume creation is delayed, please verify that the provisioner is "
        "running and correctly registered."
    )
    said = Said("Normal", "ExternalProvisioning", text)
    return ClaimStep(phase="Pending", provisioner=provisioner, said=said)


class Reclaim(Enum):
    NOTHING = "nothing"
    DELETE = "delete"
    """Its provisioner deletes it."""
    FAIL = "fail"
    """To be deleted, but nobody can."""
    RECYCLE = "recycle"
    UNBIND = "unbind"
    """The claim took another volume: free again."""


def next_of_volume(volume: Object, claim: Object | None) -> tuple[str, Reclaim]:
    """(phase, what to do about it). `claim`: the one that claimRef names, if it exists with that uid."""
    reference = volume["spec"].get("claimRef")
    if reference is None:
        return "Available", Reclaim.NOTHING
    if not reference.get("uid"):
        return "Available", Reclaim.NOTHING
    if claim is None:
        return _released(volume)
    taken = claim["spec"].get("volumeName", "")
    if taken in ("", volume["metadata"]["name"]):
        return "Bound", Reclaim.NOTHING
    if PROVISIONED_BY in annotations_of(volume) and _policy(volume) == "Delete":
        return _released(volume)
    return "Available", Reclaim.UNBIND


def _policy(volume: Object) -> str:
    policy: str = volume["spec"].get("persistentVolumeReclaimPolicy", "Retain")
    return policy


def _released(volume: Object) -> tuple[str, Reclaim]:
    policy = _policy(volume)
    if policy == "Recycle":
        return "Released", Reclaim.RECYCLE
    if policy == "Delete":
        if PROVISIONED_BY in annotations_of(volume):
            return "Released", Reclaim.DELETE
        return "Failed", Reclaim.FAIL
    return "Released", Reclaim.NOTHING


def bound_volume(volume: Object, claim: Object) -> Object:
    """The volume with its claimRef complete; itself if it is."""
    reference = volume["spec"].get("claimRef")
    if reference is not None and reference.get("uid") == claim["metadata"]["uid"]:
        return volume
    meta = volume["metadata"]
    if reference is None:
        meta = meta | {"annotations": annotations_of(volume) | {BOUND_BY_CONTROLLER: "yes"}}
    return volume | {"metadata": meta, "spec": volume["spec"] | {"claimRef": claim_reference(claim)}}


def unbound_volume(volume: Object) -> Object:
    """Free again; a claimRef that the user wrote loses only its uid."""
    annotations, spec = dict(annotations_of(volume)), dict(volume["spec"])
    if annotations.pop(BOUND_BY_CONTROLLER, None) is not None:
        del spec["claimRef"]
    else:
        spec["claimRef"] = {k: v for k, v in spec["claimRef"].items() if k not in ("uid", "resourceVersion")}
    return volume | {"metadata": volume["metadata"] | {"annotations": annotations}, "spec": spec}


def bound_claim(claim: Object, volume: Object) -> Object:
    """The claim with its volume's name and the marks of a complete binding; itself if it has them."""
    annotations = dict(annotations_of(claim))
    spec = claim["spec"]
    if not spec.get("volumeName"):
        annotations[BOUND_BY_CONTROLLER] = "yes"
        spec = spec | {"volumeName": volume["metadata"]["name"]}
    annotations[BIND_COMPLETED] = "yes"
    if spec is claim["spec"] and annotations == annotations_of(claim):
        return claim
    return claim | {"metadata": claim["metadata"] | {"annotations": annotations}, "spec": spec}


def claim_status(claim: Object, phase: str, volume: Object | None) -> Object:
    status = {**(claim.get("status") or {}), "phase": phase}
    if phase == "Bound" and volume is not None:
        status["accessModes"] = list(volume["spec"]["accessModes"])
        # A bound claim's capacity follows the volume only through a resize.
        status.setdefault("capacity", dict(volume["spec"]["capacity"]))
    elif phase == "Pending":
        status.pop("accessModes", None)
        status.pop("capacity", None)
    return status

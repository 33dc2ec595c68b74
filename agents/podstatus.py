"""From the pod machine's state to the pod's status, as a kubelet writes it.

Phases, conditions and container statuses follow the kubelet's own rules, including their order and
wording. Conditions of other writers (readiness gates, DisruptionTarget) are read, not repeated: the node
gateway keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agents.container import ContainerState, Role, Termination
from agents.images import full_reference
from agents.pod import PodMachine, Sandbox
from cluster.api.objects import Object, condition_of, timestamp

_LOST = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
}


def pod_status(machine: PodMachine, host_ip: str, now: datetime) -> Object:
    """The whole status. Keeps the conditions' transition times in the machine."""
    inits = [_container_status(machine, s) for s in machine.inits]
    mains = [_container_status(machine, s) for s in machine.mains]
    phase = _phase(machine)
    pod = machine.pod
    status: Object = {}
    generation = pod["metadata"].get("generation")
    if generation is not None:
        status["observedGeneration"] = generation
    status["phase"] = phase
    status["conditions"] = _conditions(machine, phase, inits, mains, generation, timestamp(now))
    if machine.failure is not None:
        status["reason"], status["message"] = machine.failure
    if host_ip:
        status["hostIP"] = host_ip
        status["hostIPs"] = [{"ip": host_ip}]
    if machine.ip:
        status["podIP"] = machine.ip
        status["podIPs"] = [{"ip": machine.ip}]
    status["startTime"] = timestamp(machine.start_time)
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = mains
    if machine.ephemerals:
        status["ephemeralContainerStatuses"] = [_container_status(machine, s) for s in machine.ephemerals]
    status["qosClass"] = pod.get("status", {}).get("qosClass") or qos_class(pod)
    return status


# --- containers


def _container_status(machine: PodMachine, state: ContainerState) -> Object:
    spec = state.spec
    shown, last = _shown_state(machine, state)
    running = "running" in shown
    status: Object = {
        "name": state.name,
        "state": shown,
        "lastState": {"terminated": _terminated(last)} if last is not None else {},
        "ready": _ready(state),
        "restartCount": state.restart_count,
        "image": full_reference(spec.get("image", "")) if state.image_id else spec.get("image", ""),
        "imageID": state.image_id,
        "started": state.started,
    }
    container_id = state.container_id
    if container_id:
        status["containerID"] = container_id
    resources = spec.get("resources")
    if resources or state.actual:
        if resources and "requests" in resources:
            status["allocatedResources"] = resources["requests"]
        actual = state.actual if state.up else resources or {}
        status["resources"] = {k: actual[k] for k in ("limits", "requests") if k in actual}
    mounts = spec.get("volumeMounts")
    if mounts:
        status["volumeMounts"] = [_mount_status(m) for m in mounts]
    signal = (spec.get("lifecycle") or {}).get("stopSignal")
    if signal:
        status["stopSignal"] = signal
    if running:
        status["user"] = {"linux": _user(machine.pod, spec)}
    return status


def _ready(state: ContainerState) -> bool:
    if state.role is Role.INIT:
        return state.termination is not None and state.termination.exit.code == 0
    return state.ready and state.role is not Role.EPHEMERAL


def _shown_state(machine: PodMachine, state: ContainerState) -> tuple[Object, Termination | None]:
    """What state and lastState show."""
    if state.up:
        assert state.started_at is not None
        return {"running": {"startedAt": timestamp(state.started_at)}}, state.last
    if state.termination is not None:
        if state.waiting_reason and machine.wants_restart(state):
            return {"waiting": _waiting(state)}, state.termination
        return {"terminated": _terminated(state.termination)}, state.last
    if machine.sandbox is Sandbox.DOWN and state.role is Role.MAIN and _initialised_once(machine):
        return {"terminated": {**_LOST, "startedAt": None, "finishedAt": None}}, state.last
    if state.waiting_reason:
        return {"waiting": _waiting(state)}, state.last
    return {"waiting": {"reason": "PodInitializing" if machine.inits else "ContainerCreating"}}, state.last


def _initialised_once(machine: PodMachine) -> bool:
    return all(_ready(s) or s.role is Role.SIDECAR for s in machine.inits)


def _waiting(state: ContainerState) -> Object:
    waiting: Object = {"reason": state.waiting_reason}
    if state.waiting_message:
        waiting["message"] = state.waiting_message
    return waiting


def _terminated(termination: Termination) -> Object:
    exit = termination.exit
    shown: Object = {"exitCode": exit.code, "reason": exit.reason}
    if exit.signal:
        shown["signal"] = exit.signal
    if exit.message:
        shown["message"] = exit.message
    finished_at = timestamp(termination.finished_at)
    started = termination.started_at
    shown["startedAt"] = timestamp(started) if started is not None else finished_at
    shown["finishedAt"] = finished_at
    if termination.container_id:
        shown["containerID"] = termination.container_id
    return shown


def _mount_status(mount: Object) -> Object:
    shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown["readOnly"] = True
        shown["recursiveReadOnly"] = mount.get("recursiveReadOnly", "Disabled")
    return shown


def _user(pod: Object, container: Object) -> Object:
    outer = pod["spec"].get("securityContext") or {}
    inner = container.get("securityContext") or {}
    uid = inner.get("runAsUser", outer.get("runAsUser", 0))
    gid = inner.get("runAsGroup", outer.get("runAsGroup", 0))
    groups = [gid, *outer.get("supplementalGroups", ())]
    if "fsGroup" in outer:
        groups.append(outer["fsGroup"])
    return {"uid": uid, "gid": gid, "supplementalGroups": groups}


# --- phase


def _phase(machine: PodMachine) -> str:
    if machine.failure is not None:
        return "Failed"
    begun = any(s.attempt for s in machine.mains)
    if any(_failed_init(s) and not machine.would_restart(s) for s in machine.inits):
        return "Failed" if not any(s.up for s in machine.states()) else "Pending"
    pending = any(
        not _ready(s) if s.role is Role.INIT else not s.started
        for s in machine.inits
    ) and not begun  # fmt: skip
    terminal = machine.sandbox is Sandbox.DOWN
    if not terminal and (pending or any(_never_ran(s) for s in machine.mains)):
        return "Pending"
    if any(s.up for s in machine.states() if s.role is not Role.EPHEMERAL):
        return "Running"
    again = any(s.termination is None or machine.wants_restart(s) for s in machine.mains)
    if not terminal and (machine.terminating or again):
        return "Running"
    return "Succeeded" if all(_succeeded(s) for s in machine.mains) else "Failed"


def _failed_init(state: ContainerState) -> bool:
    return state.role is Role.INIT and state.termination is not None and state.termination.exit.code != 0


def _never_ran(state: ContainerState) -> bool:
    return not state.up and state.termination is None and state.last is None


def _succeeded(state: ContainerState) -> bool:
    return state.termination is not None and state.termination.exit.code == 0


# --- conditions


def _conditions(
    machine: PodMachine,
    phase: str,
    inits: Sequence[Object],
    mains: Sequence[Object],
    generation: int | None,
    now: str,
) -> list[Object]:
    ready_to_start = "True" if machine.sandbox is Sandbox.UP else "False"
    containers_ready = _containers_ready(machine, phase)
    told: list[tuple[str, str, str, str]] = [
        ("PodReadyToStartContainers", ready_to_start, "", ""),
        ("Initialized", *_initialised(machine, phase)),
        ("Ready", *_ready_condition(machine, containers_ready)),
        ("ContainersReady", *containers_ready),
        ("PodScheduled", "True", "", ""),
    ]
    resizes = [
        _condition(machine, of, now, type, "True", reason, message)
        for type, reason, message, of in machine.resizing.conditions()
    ]
    for type in ("PodResizePending", "PodResizeInProgress"):
        if not any(condition["type"] == type for condition in resizes):
            machine.transitions.pop(type, None)
    if machine.disrupted:
        told.append(("DisruptionTarget", "True", "TerminationByKubelet", machine.disrupted))
    return resizes + [_condition(machine, generation, now, *entry) for entry in told]


def _condition(
    machine: PodMachine, generation: int | None, now: str, type: str, status: str, reason: str, message: str
) -> Object:
    before = machine.transitions.get(type)
    if before is None or before[0] != status:
        known = condition_of(machine.pod, type) if before is None else None
        since = known["lastTransitionTime"] if known is not None and known["status"] == status else now
        before = machine.transitions[type] = (status, since)
    condition: dict[str, Any] = {
        "type": type,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": before[1],
    }
    if generation is not None:
        condition["observedGeneration"] = generation
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


Verdict = tuple[str, str, str]
"""Status, reason, message of a condition."""


def _containers_ready(machine: PodMachine, phase: str) -> Verdict:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    unready = [
        s.name for s in (*machine.inits, *machine.mains) if s.role is not Role.INIT and not (s.ready and s.up)
    ]  # fmt: skip
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "True", "", ""


def _ready_condition(machine: PodMachine, containers_ready: Verdict) -> Verdict:
    if containers_ready[0] != "True":
        return containers_ready
    messages = []
    for gate in machine.pod["spec"].get("readinessGates", ()):
        condition = condition_of(machine.pod, gate["conditionType"])
        name = f'pod readiness gate "{gate["conditionType"]}"'
        if condition is None:
            messages.append(f"corresponding condition of {name} does not exist.")
        elif condition["status"] != "True":
            messages.append(f'the status of {name} is not "True", but {condition["status"]}')
    if messages:
        return "False", "ReadinessGatesNotReady", ", ".join(messages)
    return "True", "", ""


def _initialised(machine: PodMachine, phase: str) -> Verdict:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any(s.up or s.termination is not None or s.last is not None for s in machine.mains):
        return "True", "", ""
    incomplete = [
        s.name for s in machine.inits if (not s.started if s.role is Role.SIDECAR else not _ready(s))
    ]
    if incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return "False", "ContainersNotInitialized", message
    return "True", "", ""


# --- quality of service


def qos_class(pod: Object) -> str:
    """Guaranteed | Burstable | BestEffort, from the containers' cpu and memory."""
    spec = pod["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", ())]
    pairs = [
        (_compute(c, "requests") | {k: v for k, v in _compute(c, "limits").items()
                                    if k not in _compute(c, "requests")}, _compute(c, "limits"))
        for c in containers
    ]  # fmt: skip
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    if all(len(limits) == 2 and requests == limits for requests, limits in pairs):
        return "Guaranteed"
    return "Burstable"


def _compute(container: Object, kind: str) -> dict[str, str]:
    amounts = (container.get("resources") or {}).get(kind) or {}
    return {name: amounts[name] for name in ("cpu", "memory") if name in amounts}

"""What a machine that restarted makes of a pod that it ran before.

The agent's death is the machine's: no container survives it. As after a reboot, what ran is found
terminated with exit code 255 and reason Unknown, the pod gets a new sandbox, init containers run
again, and containers are restarted as their policy says, counting on from what the API has on record.
"""

from __future__ import annotations

from datetime import datetime

from agents.container import ContainerState, Phase, Role, Termination
from agents.pod import PodMachine
from agents.runtime import Exit
from agents.steps import Emit
from cluster.api.objects import Object, parse_timestamp
from cluster.api.timings import Timings

SANDBOX_CHANGED = Emit(
    type="Normal",
    reason="SandboxChanged",
    message="Pod sandbox changed, it will be killed and re-created.",
)


def ended(pod: Object) -> bool:
    """The pod reached its end earlier; nothing is to be run."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def restore(pod: Object, timings: Timings, now: datetime) -> tuple[PodMachine, bool]:
    """The machine of a pod that arrives, and whether containers of it ran here before."""
    machine = PodMachine(pod, timings, now)
    status = pod.get("status", {})
    if "startTime" in status:
        machine.start_time = parse_timestamp(status["startTime"])
    found = False
    for entry in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = machine.containers.get(entry["name"])
        if state is not None and _restore_container(state, entry, now):
            found = True
    return machine, found


def _restore_container(state: ContainerState, entry: Object, now: datetime) -> bool:
    termination = _termination(entry, now)
    if termination is None:
        return False
    state.restart_count = entry.get("restartCount", 0)
    state.container_id, state.image_id = termination.container_id, termination.image_id
    if state.role is Role.MAIN:
        state.termination, state.phase = termination, Phase.EXITED
    else:
        # runs again in the new sandbox whatever became of it in the old one
        state.last = termination
        state.restart_count += 1
    return True


def _termination(entry: Object, now: datetime) -> Termination | None:
    shown = entry.get("state", {})
    if "running" in shown:
        return Termination(
            exit=Exit(code=255, reason="Unknown"),
            container_id=entry.get("containerID", ""),
            image_id=entry.get("imageID", ""),
            started_at=parse_timestamp(shown["running"]["startedAt"]),
            finished_at=now,
        )
    record = shown.get("terminated") or entry.get("lastState", {}).get("terminated")
    if record is None:
        return None
    started = record.get("startedAt")
    finished = record.get("finishedAt")
    return Termination(
        exit=Exit(
            code=record.get("exitCode", 0),
            reason=record.get("reason", ""),
            message=record.get("message", ""),
            signal=record.get("signal", 0),
        ),
        container_id=record.get("containerID", ""),
        image_id=entry.get("imageID", ""),
        started_at=parse_timestamp(started) if started else None,
        finished_at=parse_timestamp(finished) if finished else now,
    )

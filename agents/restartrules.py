"""Whether a container that ended runs again: its restart rules first, then its policy, then the pod's."""

from __future__ import annotations

from agents.container import ContainerState, Role
from cluster.api.objects import Object

RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


def action_of(spec: Object, code: int) -> str:
    """What the first rule of the container that fits says of an exit code; empty where none fits."""
    for rule in spec.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        found = code in (codes.get("values") or ())
        if found == (codes.get("operator", "In") == "In"):
            return str(rule["action"])
    return ""


def policy_of(state: ContainerState, pods_policy: str) -> str:
    if state.role is Role.SIDECAR:
        return "Always"
    own: str = state.spec.get("restartPolicy") or pods_policy
    return own


def wants_restart(state: ContainerState, pods_policy: str) -> bool:
    """Of a container that has ended."""
    assert state.termination is not None
    if state.role is Role.EPHEMERAL:
        return False
    code = state.termination.exit.code
    if state.restart_wanted or action_of(state.spec, code):
        return True
    policy = policy_of(state, pods_policy)
    if policy == "Always" and state.role is not Role.INIT:
        return True
    return policy != "Never" and code != 0

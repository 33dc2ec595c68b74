"""What runs in an emulated container, by its spec and its image's profile."""

from __future__ import annotations

from agents.behaviour import Profile
from agents.runtime import Launch
from cluster.api.objects import Object


def command_of(launch: Launch, profile: Profile) -> list[str]:
    """What the small shell is to run as the container's own process; empty: the image's server."""
    spec = launch.container
    command, args = list(spec.get("command") or ()), list(spec.get("args") or ())
    if command:
        return command + args
    if profile.shell:
        return args or list(profile.command)
    if profile.entrypoint:
        return [*profile.entrypoint, *(args or profile.command)]
    return []


def mounts_documents(launch: Launch, profile: Profile) -> bool:
    """Whether a volume lies at or under what the image serves."""
    root = profile.document_root
    paths = (mount["mountPath"].rstrip("/") for mount in launch.container.get("volumeMounts") or ())
    return bool(root) and any(
        f"{path}/".startswith(f"{root}/") or f"{root}/".startswith(f"{path}/") for path in paths
    )


def programs_named(spec: Object) -> list[str]:
    """What the container's own process, its probes and its hooks run."""
    hooks = spec.get("lifecycle") or {}
    actions = [spec.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")]
    actions += [hooks.get("postStart"), hooks.get("preStop")]
    commands = [((action or {}).get("exec") or {}).get("command") for action in actions]
    return [command[0] for command in (spec.get("command"), *commands) if command]

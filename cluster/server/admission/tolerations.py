"""DefaultTolerationSeconds: pods stay a while on a node that is not ready or unreachable."""

from __future__ import annotations

from cluster.server.admission.request import Request, Setting

_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def set_default_tolerations(setting: Setting, request: Request) -> None:
    spec = request.object["spec"]
    present = spec.get("tolerations") or []
    missing = [
        {
            "key": taint,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": setting.timings.default_toleration_s,
        }
        for taint in _TAINTS
        if not any(
            toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")
            for toleration in present
        )
    ]
    if missing:
        spec["tolerations"] = [*present, *missing]

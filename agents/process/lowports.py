"""What a real process has to be told where low ports are served elsewhere (see `agents.loopback`).

Emulated containers connect through the agent, which knows the rule; a real process connects by itself. Client
libraries find the API through two variables, so those tell where it really is.
"""

from __future__ import annotations

from collections.abc import Mapping

from agents.loopback import reachable_port

_PORTS = ("KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS")


def with_reachable_api(environment: Mapping[str, str]) -> dict[str, str]:
    found = {name: environment[name] for name in _PORTS if environment.get(name, "").isdecimal()}
    return {**environment, **{name: str(reachable_port(int(port))) for name, port in found.items()}}

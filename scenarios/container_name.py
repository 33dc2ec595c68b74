"""`python -m scenarios.container_name` prints the node name of a scaled compose service's container.

Compose numbers the containers of a service but does not tell them. Its network's DNS does: the address of
the container resolves back to `<project>-agent-3.<network>`. Elsewhere the host's own name is taken.
"""

from __future__ import annotations

import re
import socket

import dns.exception
import dns.resolver

_NUMBERED = re.compile(r"(?:^|[-_])(agent)[-_](\d+)(?:\.|$)")


def node_name(reverse_name: str, host_name: str) -> str:
    found = _NUMBERED.search(reverse_name)
    return f"{found[1]}-{found[2]}" if found else host_name.lower()


def main() -> None:
    host_name = socket.gethostname()
    print(node_name(_reverse_name(host_name), host_name))


def _reverse_name(host_name: str) -> str:
    """Asked of the DNS itself: the hosts file would only give the host's name back. Empty where unknown."""
    try:
        answer = dns.resolver.resolve_address(socket.gethostbyname(host_name), lifetime=5.0)
    except (OSError, dns.exception.DNSException):
        return ""
    return str(answer[0]) if len(answer) else ""


if __name__ == "__main__":
    main()

"""`python -m scenarios.container_name` prints the node name of a scaled compose service's container.

Compose numbers the containers of a service but does not tell them. Its network's DNS does: the address of
the container resolves back to `<project>-agent-3.<network>`. Elsewhere the host's own name is taken.
"""

from __future__ import annotations

import re
import socket

_NUMBERED = re.compile(r"(?:^|[-_])(agent)[-_](\d+)(?:\.|$)")


def node_name(reverse_name: str, host_name: str) -> str:
    found = _NUMBERED.search(reverse_name)
    return f"{found[1]}-{found[2]}" if found else host_name.lower()


def main() -> None:
    host_name = socket.gethostname()
    try:
        reverse_name = socket.gethostbyaddr(socket.gethostbyname(host_name))[0]
    except OSError:
        reverse_name = ""
    print(node_name(reverse_name, host_name))


if __name__ == "__main__":
    main()

"""The topics of one cluster.

`kubemu/<cluster>/nodes/<node>/down` carries messages to a node, `…/up` those from it, and `…/presence`
(retained, with a last will) whether it is connected. `kubemu/<cluster>/control/presence` says the same of
the controller manager. Node names are DNS subdomains: lower case, digits, `-` and `.`, so they need no
escaping in MQTT (NATS maps the dots itself).
"""

from __future__ import annotations

ROOT = "kubemu"


def node_down(cluster: str, node: str) -> str:
    return f"{ROOT}/{cluster}/nodes/{node}/down"


def node_up(cluster: str, node: str) -> str:
    return f"{ROOT}/{cluster}/nodes/{node}/up"


def node_presence(cluster: str, node: str) -> str:
    return f"{ROOT}/{cluster}/nodes/{node}/presence"


def all_nodes_up(cluster: str) -> str:
    return node_up(cluster, "+")


def all_nodes_presence(cluster: str) -> str:
    return node_presence(cluster, "+")


def control_presence(cluster: str) -> str:
    return f"{ROOT}/{cluster}/control/presence"


def node_of(topic: str) -> str:
    """The node a node topic belongs to; ValueError for any other topic."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[0] != ROOT or parts[2] != "nodes":
        raise ValueError(f"not a node's topic: {topic!r}")
    return parts[3]

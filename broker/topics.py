"""The topics of one cluster.

`kubemu/<cluster>/nodes/<node>/down` carries messages to a node, `…/up` those from it, and `…/presence`
(retained, with a last will) whether it is connected. `kubemu/<cluster>/control/presence` says the same of the
controller manager, and `kubemu/<cluster>/shared/down` carries what it tells all nodes alike. Node names are
DNS subdomains: lower case, digits, `-` and `.`, so they need no escaping in MQTT (NATS maps the dots itself).
"""

from __future__ import annotations

ROOT = "kubemu"

CONTROL_USER = "control@kubemu"
"""The controller manager's name at the broker. No node can have it: `@` is not allowed in DNS names."""


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


def shared_down(cluster: str) -> str:
    return f"{ROOT}/{cluster}/shared/down"


def node_of(topic: str) -> str:
    """The node a node topic belongs to; ValueError for any other topic."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[0] != ROOT or parts[2] != "nodes":
        raise ValueError(f"not a node's topic: {topic!r}")
    return parts[3]


def ends_of(topic: str) -> tuple[str, str]:
    """Who sends on a topic and who receives: node names and `CONTROL_USER`, or empty where many may."""
    parts = topic.split("/")
    if len(parts) == 5 and parts[0] == ROOT and parts[2] == "nodes":
        return (CONTROL_USER, parts[3]) if parts[4] == "down" else (parts[3], CONTROL_USER)
    if len(parts) == 4 and parts[0] == ROOT and parts[2] in ("control", "shared"):
        return CONTROL_USER, ""
    return "", ""


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic pattern (`+` one level, `#` the rest) covers this topic."""
    wanted, given = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index == len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)

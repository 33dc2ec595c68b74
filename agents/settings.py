"""What an agent is told at its start: by flags, or by environment variables of the same names.

`KUBEMU_NODE=n1` stands for `--node n1`; flags win. Unknown flags and wrong values end the program with a
sentence that says what is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.log import LEVELS
from cluster.api.quantity import QuantityError, parse
from cluster.api.timings import PROFILES, Timings

OWN_ADDRESS = "auto"
NETWORKS = ("loopback", "routed")
PASSWORD_VARIABLE = "KUBEMU_BROKER_PASSWORD"


class SettingsError(Exception):
    """Why an agent can't be started like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The size and looks of an emulated machine."""

    cpu: str = "4"
    memory: str = "8Gi"
    storage: str = "100Gi"
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    """The node's IP address; empty: the first one of its pod CIDR; `OWN_ADDRESS`: the machine's, which is
    looked up at each registration, since a container that was cut off may come back with another one."""
    shutdown_grace_s: float = 0.0
    """What pods get to end when the node is told to stop; 0, as in Kubernetes: nothing, as a power cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Of one process, for one or many nodes."""

    cluster: str
    broker: str
    nodes: tuple[str, ...]
    passwords: Mapping[str, str]
    """Node → its password at the broker."""
    timings: Timings
    machine: Machine
    links: Path | None
    behaviours: Path | None
    log_level: str = "info"
    network: str = "loopback"
    """loopback | routed"""
    volumes: Path | None = None
    """Where persistent volumes are kept."""


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> AgentSettings:
    """Raises SettingsError; exits for --help and for flags that don't exist."""
    flags = _parser(environment).parse_args(arguments)
    if not flags.broker:
        raise SettingsError("--broker mqtt://HOST:PORT is missing (or KUBEMU_BROKER)")
    if flags.log_level not in LEVELS:
        raise SettingsError(f"--log-level {flags.log_level}: expected one of {', '.join(LEVELS)}")
    if flags.network not in NETWORKS:
        raise SettingsError(f"--network {flags.network}: expected {' or '.join(NETWORKS)}")
    nodes = _nodes(flags.node, flags.nodes, flags.node_prefix)
    for name in ("cpu", "memory"):
        try:
            parse(getattr(flags, name))
        except QuantityError as error:
            raise SettingsError(f"--{name} {getattr(flags, name)}: {error}") from error
    if flags.profile not in PROFILES:
        raise SettingsError(f"--profile {flags.profile}: expected {' or '.join(PROFILES)}")
    return AgentSettings(
        cluster=flags.cluster,
        broker=flags.broker,
        nodes=nodes,
        passwords=_passwords(nodes, flags.credentials, environment),
        timings=PROFILES[flags.profile],
        machine=Machine(
            cpu=flags.cpu,
            memory=flags.memory,
            max_pods=_number("--max-pods", flags.max_pods),
            labels=_labels(flags.label),
            address=flags.address,
            shutdown_grace_s=_seconds("--shutdown-grace", flags.shutdown_grace),
        ),
        links=Path(flags.links) if flags.links else None,
        behaviours=Path(flags.behaviours) if flags.behaviours else None,
        log_level=flags.log_level,
        network=flags.network,
        volumes=Path(flags.volumes) if flags.volumes else None,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents", description="Runs emulated nodes of a cluster.")

    def flag(name: str, default: str, text: str) -> None:
        variable = "KUBEMU_" + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}", default=environment.get(variable, default), help=f"{text} ({variable})"
        )

    flag("cluster", "kubemu", "name of the cluster")
    flag("broker", "", "mqtt://HOST:PORT")
    flag("node", "", "name of the node that this process is; several with commas between")
    flag("nodes", "", "how many nodes this process is")
    flag("node-prefix", "node-", "their names are this and a number from 1")
    flag("profile", "standard", "timings: standard or fast")
    flag("links", "", "JSON file of link rules; read again on SIGHUP")
    flag("credentials", "", "JSON file: node → password")
    flag("cpu", "4", "cores of a node")
    flag("memory", "8Gi", "memory of a node")
    flag("max-pods", "110", "pods that a node takes")
    flag("shutdown-grace", "0", "seconds that pods get to end when the node is told to stop")
    flag("network", "loopback", f"how pods are reached: {' or '.join(NETWORKS)} (needs CAP_NET_ADMIN)")
    flag("address", "", "the node's IP address; default: the first one of its pod CIDR; auto: the machine's")
    flag("log-level", "info", "least severe level that is logged: debug, info, warning, error")
    flag("volumes", "", "directory of the persistent volumes, for the agents of one machine to share")
    flag("behaviours", "", "JSON file of further behaviour profiles by image")
    labels = environment.get("KUBEMU_LABEL", "")
    parser.add_argument(
        "--label", action="append", default=labels.split(",") if labels else [], metavar="K=V",
        help="a label of the node; may be repeated (KUBEMU_LABEL, separated by commas)",
    )  # fmt: skip
    return parser


def own_address() -> str:
    """The address under which this machine's name is known, as containers have one. Raises OSError."""
    return socket.gethostbyname(socket.gethostname())


def _nodes(node: str, count: str, prefix: str) -> tuple[str, ...]:
    if bool(node) == bool(count):
        raise SettingsError("give either --node NAME or --nodes N")
    if node:
        return tuple(node.split(","))
    return tuple(f"{prefix}{number}" for number in range(1, _number("--nodes", count) + 1))


def _seconds(flag: str, text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        raise SettingsError(f"{flag} {text}: expected seconds") from None


def _number(flag: str, text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise SettingsError(f"{flag} {text}: expected a number greater than zero")
    return int(text)


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise SettingsError(f"--label {pair}: expected KEY=VALUE")
        labels[name] = value
    return labels


def _passwords(nodes: Sequence[str], path: str, environment: Mapping[str, str]) -> dict[str, str]:
    if not path:
        return {node: environment.get(PASSWORD_VARIABLE, "") for node in nodes}
    try:
        known = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise SettingsError(f"--credentials {path}: {error}") from error
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise SettingsError(f'--credentials {path}: expected {{"<node>": "<password>", …}}')
    missing = [node for node in nodes if node not in known]
    if missing:
        raise SettingsError(f"--credentials {path}: no password for {', '.join(missing)}")
    return {node: known[node] for node in nodes}

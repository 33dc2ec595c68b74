"""The controller manager's settings: a flag each, with an environment variable of the same name.

`--service-cidr` is `KUBEMU_SERVICE_CIDR`, and so on; a flag wins over its variable. The password for the
broker has no flag, since command lines can be read by others: it comes from `KUBEMU_BROKER_PASSWORD` or
from the `--credentials` file ({"control@kubemu": password}).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from cluster.api.timings import PROFILES, Timings
from cluster.scheduler.configuration import DEFAULT, Configuration, ConfigurationError, read

CONTROL_USER = "control@kubemu"
JOURNALS = ("sqlite", "memory")
LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_PORT = 6443
EVERY_ADDRESS = ("0.0.0.0", "::", "")
LONGEST_PREFIX = 28
_PREFIX = "KUBEMU_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    cluster: str = "kubemu"
    broker: str = "mqtt://127.0.0.1:1883"
    broker_password: str = ""
    data: Path = Path(".kubemu")
    """Folder of the journal and the certificates."""
    journal: str = "sqlite"
    bind: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: one that is free."""
    advertise_address: str = ""
    """Where pods reach the API, the endpoint of the `kubernetes` Service; empty: what it binds to."""
    profile: str = "standard"
    cluster_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    load_balancer_cidr: str = "10.97.0.0/24"
    kubeconfig: Path | None = None
    """Where the administrator's kubeconfig is written once the API serves."""
    kubeconfig_server: str = ""
    """The address in it, where clients reach the API by another than it binds to."""
    server_names: tuple[str, ...] = ()
    """Further names and addresses for the server's certificate."""
    token_auth_file: Path | None = None
    audit_log_path: Path | None = None
    """Where the audit log goes; None: there is none."""
    audit_policy_file: Path | None = None
    """Which requests are in it; None: all, without their bodies."""
    anonymous: bool = True
    scheduler: Configuration = DEFAULT
    """Profiles of the scheduler."""
    log_level: str = "info"
    log_json: bool | None = None
    """None: JSON unless standard output is a terminal."""

    @property
    def timings(self) -> Timings:
        return PROFILES[self.profile]

    @property
    def advertised(self) -> str:
        bound = "127.0.0.1" if self.bind in EVERY_ADDRESS else self.bind
        return self.advertise_address or bound

    @property
    def kubernetes_service_ip(self) -> str:
        """The first address of the service range, which belongs to the API."""
        return str(IPv4Network(self.service_cidr)[1])


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Ends the program with status 2 and a message where something is wrong."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    for name in ("cluster_cidr", "service_cidr", "load_balancer_cidr"):
        try:
            network = IPv4Network(getattr(given, name))
        except ValueError as error:
            parser.error(f"--{name.replace('_', '-')}: {error}")
        if network.prefixlen > LONGEST_PREFIX:
            parser.error(
                f"--{name.replace('_', '-')}: {network} has too few addresses: /{LONGEST_PREFIX} is the least"
            )
    if given.profile not in PROFILES:
        parser.error(f"--profile: {given.profile!r} is none of {', '.join(PROFILES)}")
    if given.journal not in JOURNALS:
        parser.error(f"--journal: {given.journal!r} is none of {', '.join(JOURNALS)}")
    try:
        password = _password(given.credentials, environment)
    except (OSError, ValueError) as error:
        parser.error(f"--credentials: {error}")
    if given.scheduler_config is not None:
        try:
            given.scheduler = _scheduler(given.scheduler_config)
        except (OSError, ValueError) as error:
            parser.error(f"--scheduler-config: {error}")
    apart = ("credentials", "scheduler_config")
    values = {name: value for name, value in vars(given).items() if name not in apart}
    values["server_names"] = tuple(values.pop("server_name"))
    return Settings(broker_password=password, **values)


def _scheduler(path: Path) -> Configuration:
    import yaml  # only where there is such a file: starting up stays quick

    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    try:
        return read(document)
    except ConfigurationError as error:
        raise ValueError(f"{path}: {error}") from None


def _password(credentials: Path | None, environment: Mapping[str, str]) -> str:
    if credentials is None:
        return environment.get(f"{_PREFIX}BROKER_PASSWORD", "")
    passwords = json.loads(credentials.read_bytes())
    if not isinstance(passwords, dict) or not isinstance(passwords.get(CONTROL_USER), str):
        raise ValueError(f"{credentials} has no password for {CONTROL_USER}")
    password: str = passwords[CONTROL_USER]
    return password


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        description="The controller manager: API server, store, controllers, scheduler, node gateway.",
        epilog="Every flag can also be set by an environment variable, e.g. KUBEMU_SERVICE_CIDR.",
    )
    default = Settings()

    def add(flag: str, fallback: object, text: str, **more: object) -> None:
        variable = _PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        value = environment.get(variable, fallback)
        parser.add_argument(flag, default=value, help=text, **more)  # type: ignore[arg-type]

    add("--cluster", default.cluster, "name of the cluster, part of the broker's topics", metavar="NAME")
    add("--broker", default.broker, "address of the MQTT broker", metavar="URL")
    add("--credentials", None, "JSON file with the broker password", type=Path, metavar="FILE")
    add("--data", default.data, "folder of the journal and the certificates", type=Path, metavar="DIR")
    add("--journal", default.journal, "where writes are made durable", choices=JOURNALS)
    add("--bind", default.bind, "address that the API listens on", metavar="HOST")
    add("--port", default.port, "port of the API; 0 chooses a free one", type=int, metavar="N")
    add("--advertise-address", "", "address at which pods reach the API", metavar="IP")
    add("--profile", default.profile, "timings", choices=tuple(PROFILES))
    add("--cluster-cidr", default.cluster_cidr, "addresses of pods", metavar="CIDR")
    add("--service-cidr", default.service_cidr, "addresses of Services", metavar="CIDR")
    add("--load-balancer-cidr", default.load_balancer_cidr, "addresses of load balancers", metavar="CIDR")
    add("--kubeconfig", None, "file for the administrator's kubeconfig", type=Path, metavar="PATH")
    add("--kubeconfig-server", "", "address of the API in that kubeconfig", metavar="URL")
    add("--token-auth-file", None, "static bearer tokens: token,user,uid,groups", type=Path, metavar="FILE")
    add("--audit-log-path", None, "file for the audit log", type=Path, metavar="FILE")
    add("--audit-policy-file", None, "what is in it: an audit.k8s.io/v1 Policy", type=Path, metavar="FILE")
    add(
        "--scheduler-config",
        None,
        "profiles of the scheduler: a KubeSchedulerConfiguration in YAML",
        type=Path,
        metavar="FILE",
    )
    add("--log-level", default.log_level, "least severe level that is logged", choices=LOG_LEVELS)
    names = [name for name in environment.get(f"{_PREFIX}SERVER_NAME", "").split(",") if name]
    parser.add_argument(
        "--server-name", action="append", default=names, metavar="NAME",
        help="further name or address for the API's certificate; may be repeated",
    )  # fmt: skip
    parser.add_argument("--anonymous", action=argparse.BooleanOptionalAction, default=True,
                        help="whether requests without credentials are system:anonymous")  # fmt: skip
    parser.add_argument("--log-json", action=argparse.BooleanOptionalAction, default=None,
                        help="log as JSON lines (default: unless on a terminal)")  # fmt: skip
    return parser

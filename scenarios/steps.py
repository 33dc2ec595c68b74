"""The steps of a scenario, as data.

Each class is one key that a step in a scenario file may have; its fields are what can be said there (see
`scenarios.document` for how they are read). `scenarios.drill` carries them out.

A `node` is a number (the second of the sorted node names is 2) or a name. An `of` is `kind/name` as for
kubectl. A `pods` is a label selector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from scenarios.document import Comparison, DocumentError, Reader, Seconds, read_text

WITHIN = Seconds(60.0)
"""How long an expectation waits unless it says otherwise."""
PATIENCE = Seconds(2.0)
"""How long a request of a load waits unless it says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Applies manifests: files (relative to the scenario's), or objects written in place."""

    files: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    of: str
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Ends a node's process at once (SIGKILL): a machine that lost its power."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Ends a node's process in an orderly way (SIGTERM)."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Starts a node that was killed or stopped."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Suspends a node's process (SIGSTOP): nothing runs, connections stay open."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thaw:
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Cuts a node off from the broker; its pods go on running."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heal:
    """Ends a node's partition."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """Kills one of the central processes and starts it again."""

    process: Literal["controller-manager", "broker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailProbe:
    """Makes a probe of some pods fail from now on."""

    pods: str
    probe: Literal["readiness", "liveness", "startup"]
    container: str = "*"
    count: int = 1
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class MendProbe:
    """Lets a failing probe pass again."""

    pods: str
    probe: Literal["readiness", "liveness", "startup"]
    container: str = "*"
    count: int = 1_000_000
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Makes a container of some pods exit once."""

    pods: str
    container: str = "*"
    exit_code: int = 1
    count: int = 1
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    of: str
    replicas: int
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetImage:
    of: str
    image: str
    container: str = ""
    """Empty: the first container."""
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Rolls a Deployment back to an earlier revision (0: the one before)."""

    of: str
    to_revision: int = 0
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """`kubectl rollout restart`."""

    of: str
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Lets time pass."""

    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Waits until the rollout of a workload is complete."""

    of: str
    within: Seconds = WITHIN
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """Waits until everything said here is true at the same time; the scenario fails when it does not come.

    Exactly one subject: `of` (an object), `node`, or `pods` (all pods with these labels).
    """

    of: str = ""
    node: str = ""
    pods: str = ""
    gone: bool = False
    """The object does not exist."""
    where: dict[str, Comparison] = field(default_factory=dict)
    """Field path → wanted value: {status.availableReplicas: ">= 4"}; a missing field counts as 0 for
    numbers. Every pod has to match for `pods`."""
    condition: dict[str, str] = field(default_factory=dict)
    """Condition type → status."""
    taint: str = ""
    """key:effect that the node has."""
    no_taint: str = ""
    event: str = ""
    """Reason of an event about the subject."""
    count: Comparison | None = None
    """How many of the pods count (after the filters below)."""
    ready: bool | None = None
    on: str = ""
    """Only pods on this node."""
    not_on: str = ""
    terminating: bool | None = None
    image: str = ""
    restarts: Comparison | None = None
    """Only pods whose restart counts sum up so."""
    within: Seconds = WITHIN
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """From here to the end of the scenario (or `release`), this must hold whenever it is looked at."""

    name: str
    holds: Expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Ends a guard."""

    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """`kubectl drain --ignore-daemonsets`: no new pods, then every pod is evicted and gone."""

    node: str
    within: Seconds = WITHIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon:
    """Lets the scheduler use a drained node again."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """From here on, HTTP requests through a Service at a constant rate, whether answers come or not.

    Starts with the first answer (10 s at most); goes on until `report`.
    """

    service: str
    rate: float = 50.0
    """Requests per second, each on a connection of its own."""
    name: str = ""
    """What `report` calls it; empty: the Service's name."""
    namespace: str = "default"
    port: str = ""
    """Name or number of the Service's port; empty: the first."""
    path: str = "/"
    host: str = ""
    """The Host header; empty: the Service's name."""
    via: Literal["cluster-ip", "load-balancer", "node-port", "ingress"] = "cluster-ip"
    timeout: Seconds = PATIENCE
    """A request without an answer by then has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Ends a load and says what its users saw."""

    load: str
    failures: Comparison | None = None
    """Refused, broken, too late, or a status of 400 and above."""
    requests: Comparison | None = None
    answers: dict[str, Comparison] = field(default_factory=dict)
    """Text → how many answers contain it."""
    p99: Seconds | None = None
    """99 of 100 answers come within this time."""


Action: TypeAlias = (
    Apply | Delete | Kill | Stop | Start | Freeze | Thaw | Partition | Heal | Bounce | FailProbe | MendProbe
    | Crash | Scale | SetImage | Undo | Restart | Wait | Rollout | Expect | Guard | Release
    | Drain | Uncordon | Load | Report
)  # fmt: skip

ACTIONS: dict[str, type[Action]] = {
    "apply": Apply, "delete": Delete, "kill": Kill, "stop": Stop, "start": Start, "freeze": Freeze,
    "thaw": Thaw, "partition": Partition, "heal": Heal, "bounce": Bounce, "fail-probe": FailProbe,
    "mend-probe": MendProbe, "crash": Crash, "scale": Scale, "set-image": SetImage, "undo": Undo,
    "restart": Restart, "wait": Wait, "rollout": Rollout, "expect": Expect, "guard": Guard,
    "release": Release, "drain": Drain, "uncordon": Uncordon, "load": Load, "report": Report,
}  # fmt: skip

SHORT_FIELDS: dict[type, str] = {
    Apply: "files", Delete: "of", Kill: "node", Stop: "node", Start: "node", Freeze: "node", Thaw: "node",
    Partition: "node", Heal: "node", Bounce: "process", Wait: "seconds", Rollout: "of", Undo: "of",
    Restart: "of", Release: "guard", Drain: "node", Uncordon: "node", Load: "service", Report: "load",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The cluster that a scenario starts when it is not given one."""

    nodes: int = 3
    profile: Literal["fast", "standard"] = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    number: int
    line: int
    say: str
    """What the author says about it; may be empty."""
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    file: Path
    cluster: Wanted
    steps: list[Step]


def load(path: Path) -> Scenario:
    """Reads a scenario file. Raises DocumentError with everything that is wrong in it."""
    reader = Reader(str(path), SHORT_FIELDS)
    root = reader.compose(read_text(path))
    scenario = None if root is None else _scenario(reader, root, path)
    if reader.problems or scenario is None:
        raise DocumentError(sorted(reader.problems, key=lambda p: (p.line, p.column)))
    return scenario


def _scenario(reader: Reader, root: yaml.Node, path: Path) -> Scenario | None:
    name, cluster, steps = "", Wanted(), []
    entries = reader.mapping(root, "a scenario")
    for key, (key_node, node) in entries.items():
        match key:
            case "name":
                name = reader.value(node, str, "name")
            case "cluster":
                cluster = reader.record(node, Wanted, "cluster")
            case "steps":
                steps = _steps(reader, node, path)
            case _:
                reader.complain(key_node, f"a scenario has no {key!r}; expected one of name, cluster, steps")
    if entries and not steps and not reader.problems:
        reader.complain(root, "a scenario needs steps: a list with at least one step")
    return Scenario(name=name or path.stem, file=path, cluster=cluster, steps=steps)


def _steps(reader: Reader, node: yaml.Node, path: Path) -> list[Step]:
    if not isinstance(node, yaml.SequenceNode):
        reader.complain(node, "expected steps: a list")
        return []
    found = (_step(reader, each, number, path) for number, each in enumerate(node.value, start=1))
    return [step for step in found if step is not None]


def _step(reader: Reader, node: yaml.Node, number: int, path: Path) -> Step | None:
    say, actions = "", []
    for key, (key_node, value) in reader.mapping(node, "a step").items():
        if key == "say":
            say = reader.value(value, str, "say")
        elif key in ACTIONS:
            before = len(reader.problems)
            action = reader.record(value, ACTIONS[key], key)
            if len(reader.problems) == before:
                _check(reader, value, action, path)
            actions.append(action)
        else:
            reader.complain(key_node, f"there is no step {key!r}; expected one of {', '.join(ACTIONS)}")
            return None
    if len(actions) != 1:
        if isinstance(node, yaml.MappingNode):
            reader.complain(node, f"a step does exactly one thing, this one {len(actions)}")
        return None
    return Step(number=number, line=node.start_mark.line + 1, say=say, action=actions[0])


def _check(reader: Reader, node: yaml.Node, action: Action, path: Path) -> None:
    """What the types can't say."""
    match action:
        case Expect() | Guard(holds=Expect()):
            expect = action if isinstance(action, Expect) else action.holds
            subjects = [s for s in ("of", "node", "pods") if getattr(expect, s)]
            if len(subjects) != 1:
                reader.complain(node, f"expected exactly one of of, node, pods; got {len(subjects)}")
            if expect.pods and expect.count is None:
                reader.complain(node, "an expectation about pods needs a count")
            if expect.of and "/" not in expect.of:
                reader.complain(node, f"expected of: kind/name, not {expect.of!r}")
        case Apply():
            if not action.files and not action.objects:
                reader.complain(node, "apply needs files or objects")
            for file in action.files:
                if not (path.parent / file).is_file():
                    reader.complain(node, f"there is no file {file!r} beside the scenario")
        case Delete(of=of) | Scale(of=of) | SetImage(of=of) | Undo(of=of) | Restart(of=of) | Rollout(of=of):
            if "/" not in of:
                reader.complain(node, f"expected kind/name such as deployment/web, not {of!r}")
        case _:
            pass

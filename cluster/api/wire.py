"""The messages between the node gateway and the agents.

Resynchronisation is the protocol; deltas are an optimisation of it:

- An agent start is an *epoch*. After every connection, and whenever the controller manager's presence
  shows a new instance, the agent sends `Register` and then `PodStatuses(full=True)`.
- The gateway answers `Registered` (the node's pod CIDR, timings), then `Desired(full=True)` with sequence 1.
- A session is begun once: a `Registered` of a session that the agent has begun before came twice and is
  ignored, since numbers that start over would make old acknowledgements mean new reports.
- `Desired` deltas carry consecutive sequence numbers within a *session* (the id the gateway chose at
  registration). An agent that sees a gap or a foreign session sends `Register` again.
- `PodStatuses` carry consecutive numbers within (epoch, session) too; the gateway acknowledges them with
  `StatusesStored` once the writes are durable. Unacknowledged ones are sent again after a reconnection,
  folded into the full report.
- `Heartbeat` names session and last applied sequence: the gateway sends everything anew when they
  disagree with its own books, and answers a heartbeat of an unknown session with `RegisterAgain`.

Desired objects are whole API objects: the pods bound to the node, and the ConfigMaps and Secrets that they
refer to.

What every node is told alike (Services, EndpointSlices, …) is published once, on a topic of its own:

- `Shared` deltas carry consecutive numbers within an *instance* (a start of the gateway). `SharedMark` says
  now and then which number was the last, so that a lost one is found.
- A reader (one per agent process) that starts, sees a gap or another instance sends `SharedWanted` by one of
  its nodes, and gets `SharedSnapshot` on that node's topic. Deltas that come before it are kept and applied
  after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from broker.message import message
from cluster.api.objects import Object

# --- up: agent to gateway


@message("register")
@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    node: str
    epoch: str
    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    taints: list[Object] = field(default_factory=list)
    """registerWithTaints: used only when the Node object is created."""
    capacity: dict[str, str]
    """Quantities: cpu, memory, pods, ephemeral-storage, extended resources."""
    allocatable: dict[str, str]
    addresses: list[Object]
    """As in Node.status.addresses."""
    node_info: dict[str, Any]
    """As in Node.status.nodeInfo."""
    kubelet_port: int = 0
    begun: str = ""
    """The last session that this agent start has begun. While it is not the gateway's present one, the answer
    was lost or is still on its way, and the gateway repeats it instead of opening another session."""


@message("heartbeat")
@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    epoch: str
    session: str
    applied: int
    """Last `Desired` sequence applied."""
    conditions: list[Object]
    """Node conditions without times: type, status, reason, message."""
    images: list[Object] | None = None
    """Node.status.images when it changed, else None."""
    addresses: list[Object] | None = None
    """Node.status.addresses when they changed since the registration, else None."""
    usage: dict[str, Any] | None = None
    """metrics: {"node": {"cpu": cores, "memory": bytes}, "pods": {uid: {container: {"cpu", "memory"}}}}."""


@message("pod-statuses")
@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatuses:
    epoch: str
    session: str
    sequence: int
    full: bool
    """True: these are all pods the agent has; what is missing here it does not run."""
    statuses: list[PodReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReport:
    uid: str
    namespace: str
    name: str
    status: Object | None
    """The pod's whole status as the agent sees it; None once the pod is gone from the node for good
    (all containers stopped, everything cleaned up): the gateway may then remove a deleted pod."""


@message("probe-failed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed:
    """A liveness or startup probe crossed its failure threshold. Sent again until ordered or recovered."""

    epoch: str
    uid: str
    container: str
    probe: str
    """liveness | startup"""
    restart_count: int
    """The count of the failing instance."""
    message: str


@message("agent-event")
@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """Something that becomes an Event object (Pulled, Started, Unhealthy, BackOff, Killing, …)."""

    epoch: str
    uid: str
    """Of the pod; empty for the node itself."""
    type: str
    """Normal | Warning"""
    reason: str
    message: str
    field_path: str = ""
    """E.g. spec.containers{web}."""


@message("token-wanted")
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWanted:
    """For a projected volume of a pod: a token of its service account, bound to the pod. Asked again by
    whoever got no answer."""

    epoch: str
    id: str
    uid: str
    audience: str = ""
    """Empty: the API server's own."""
    expires_s: int


# --- down: gateway to agent


@message("token-issued")
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued:
    """The answer to the `TokenWanted` with this id."""

    id: str
    token: str = ""
    expires: str = ""
    """A timestamp."""
    error: str = ""


@message("registered")
@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    epoch: str
    """Echo: an agent drops answers meant for an earlier start."""
    session: str
    node: Object
    """The Node object, with spec.podCIDR and labels as the API has them."""
    service_cidr: str
    cluster_dns: str = ""
    cluster_domain: str = "cluster.local"


@message("register-again")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterAgain:
    reason: str


@message("desired")
@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    session: str
    sequence: int
    full: bool
    """True: forget everything that is not in here. May be split: `more` says that the rest follows, in
    messages with full=True too and consecutive sequence numbers; apply the union once the last one
    (more=False) is there. Sequence numbers start at 1 in each session; a full state may jump ahead."""
    more: bool = False
    part: int = 0
    """Of a full state: 0 is its first message."""
    set: list[Object]
    """Objects with apiVersion and kind. A pod with deletionTimestamp is to be terminated."""
    texts: list[str] = field(default_factory=list)
    """More objects to set, as JSON (`object_of`): those that go to several nodes are encoded once."""
    removed: list[Removed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    kind: str
    namespace: str
    name: str
    uid: str


@message("statuses-stored")
@dataclass(frozen=True, slots=True, kw_only=True)
class StatusesStored:
    epoch: str
    session: str
    sequence: int
    """Everything up to here is durable."""
    accepted: int = 0
    """Everything up to here has come: what is not durable yet is only late."""


@message("restart-container")
@dataclass(frozen=True, slots=True, kw_only=True)
class RestartContainer:
    """Ordered by the controller manager after `ProbeFailed`. Ignored unless the instance's restart count
    is the expected one: a repeated order is harmless."""

    uid: str
    container: str
    expected_restart_count: int
    reason: str


# --- what every node is told alike


@message("shared")
@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Down, on the shared topic."""

    instance: str
    sequence: int
    """Consecutive from 1 within the instance."""
    texts: list[str]
    """Objects to set, as JSON (`object_of`)."""
    removed: list[Removed]


@message("shared-mark")
@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMark:
    """Down, on the shared topic: after each connection and every `mark_period_s`."""

    instance: str
    sequence: int
    """Of the last `Shared` sent; 0 before the first."""


@message("shared-wanted")
@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWanted:
    """Up: asks for everything, by the node whose link the reader uses."""

    request: str


@message("shared-snapshot")
@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSnapshot:
    """Down, to the node that asked. Everything as of `sequence` (or newer), in parts."""

    request: str
    instance: str
    sequence: int
    part: int
    more: bool
    texts: list[str]


def object_of(text: str) -> Object:
    """An object that travelled as JSON. ValueError where it is none."""
    return cast(Object, orjson.loads(text))


def mark_period_s(heartbeat_s: float) -> float:
    """How often `SharedMark` comes."""
    return max(heartbeat_s, 2.0)


# --- streams, both ways (logs, exec, attach, port-forward)


@message("stream-open")
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpen:
    """Down. Opens stream `id` to a pod. `kind` is log | exec | attach | portforward | proxy; `options`
    are the query parameters of the API request in typed form:
    log: follow, previous, tail_lines, since_seconds, since_time, timestamps, limit_bytes;
    exec: command (list), stdin, stdout, stderr, tty; attach: stdin, stdout, stderr, tty;
    portforward, proxy: port."""

    id: str
    kind: str
    uid: str
    container: str
    options: dict[str, Any]
    window: int = 65536
    """Bytes the receiver of the agent's data can take before it grants more."""


@message("stream-opened")
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """Up. The stream stands; before this the API server can still answer with an HTTP error
    (`StreamClose` with a code instead)."""

    id: str
    window: int = 65536


@message("stream-data")
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamData:
    """Both ways. `channel` as in Kubernetes' remote command protocol: 0 stdin, 1 stdout, 2 stderr,
    3 error (a Status as JSON), 4 resize (JSON). Log, port-forward and proxy use 1 up, 0 down.
    `sequence` starts at 0 in each direction; a gap breaks the stream."""

    id: str
    sequence: int
    channel: int
    data: bytes
    eof: bool = False
    """No more on this channel in this direction."""


@message("stream-grant")
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGrant:
    """Both ways: the receiver can take this many bytes more."""

    id: str
    bytes: int


@message("stream-close")
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClose:
    """Both ways; final. `error` empty for a regular end, else text for the client; `code` an HTTP status."""

    id: str
    error: str = ""
    code: int = 0


# --- presence (retained, see broker.topics): plain text, so that a last will can be written at connection

OFFLINE = b"offline"
"""Published by the party itself when it closes, and by the broker as its last will."""


def online(instance: str) -> bytes:
    """What a party publishes once connected. `instance` is its start: an agent's epoch, or the id that the
    controller manager chose when it started. A new instance makes agents register again."""
    return f"online {instance}".encode()


def instance_of(payload: bytes) -> str:
    """The instance that a presence payload announces; empty where the party is away (or talks nonsense)."""
    word, _, instance = payload.decode(errors="replace").partition(" ")
    return instance if word == "online" else ""

"""What the node gives its pods, and the view that it keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from agents.allocation import Refusal
from agents.environment import Place
from agents.network import Network
from agents.runtime import Container, Runtime
from cluster.api.objects import Object
from cluster.api.timings import Timings


@dataclass(slots=True)
class PodView:
    """One pod's instances, for logs, exec and usage. The pod actor writes it, the node actor reads it."""

    uid: str
    namespace: str
    name: str
    ip: str = ""
    current: dict[str, Container] = field(default_factory=dict)
    """By container name: the instance that runs, or the last one that did."""
    previous: dict[str, Container] = field(default_factory=dict)
    restarts: dict[str, bool] = field(default_factory=dict)
    """By container name: whether an instance that ends is followed by another one, by the pod's policy."""
    waiting: dict[str, str] = field(default_factory=dict)
    """By container name: the reason why it does not run yet."""
    ended: bool = False


class Host(Protocol):
    """The node, as its pods see it."""

    @property
    def timings(self) -> Timings: ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def network(self) -> Network: ...

    @property
    def ip(self) -> str: ...

    def place(self, pod_ip: str) -> Place: ...

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None: ...

    def handler(self, pod: Object) -> str:
        """Of its RuntimeClass; empty without one. Raises LookupError where there is no such class."""

    def services(self) -> Sequence[Object]: ...

    def resolve(self, name: str, type: str) -> Sequence[str]:
        """The data of the cluster's DNS records of a full name, as its DNS server would answer."""

    def admit(self, uid: str, pod: Object) -> Refusal | None:
        """Books what the pod needs, or refuses to run it."""

    def resize(self, uid: str, pod: Object) -> Refusal | None:
        """Books what a pod that runs needs now; Infeasible or Deferred where there is no room."""

    def take_address(self, uid: str) -> str | None:
        """None while there is none."""

    def give_back(self, uid: str) -> None:
        """The pod's share of the node is free."""

    def release(self, uid: str) -> None:
        """Nothing of the pod runs any more: its address and its share are free."""

    def report(self, view: PodView, status: Object) -> None:
        """The pod's status changed."""

    def gone(self, view: PodView) -> None:
        """The pod is off the node for good."""

    def emit(self, uid: str, type: str, reason: str, message: str, field_path: str = "") -> None:
        """An Event about the pod."""

    def probe_failed(self, uid: str, container: str, probe: str, restart_count: int, message: str) -> None:
        """Asks for a restart order."""

    async def token(self, pod: Object, audience: str, expires_s: int) -> tuple[str, datetime]:
        """A token of the pod's service account, and when it expires. Raises TimeoutError with the reason."""

    def cut_off_s(self) -> float:
        """How long the control plane has not been heard; 0 while it is."""

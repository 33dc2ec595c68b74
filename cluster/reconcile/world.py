"""What every controller is given, and the actor that keeps the shared parts of it running.

The composition root makes one `World`, spawns `Background(world)` and then the controllers. Nobody in
between starts tasks: informers and recorders, also those asked for later, run beside that actor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from broker.actor import Actor
from broker.chance import Chance
from broker.clock import Clock
from cluster.api.client import ApiClient
from cluster.api.registry import Registry
from cluster.api.timings import Timings
from cluster.reconcile.informers import Informers, Launch, WriteThrough
from cluster.reconcile.metrics import Metrics, NoMetrics
from cluster.reconcile.recorder import Recorder


class Sign(Protocol):
    """The cluster's certificate authority, as the signing controller sees it."""

    def __call__(self, request_pem: bytes, usages: Sequence[str], life: timedelta, now: datetime) -> bytes:
        """The certificate as PEM. Raises ValueError for a request that can't be signed."""


class World:
    """The cluster as its controllers see it."""

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Clock,
        chance: Chance,
        timings: Timings,
        log: FilteringBoundLogger,
        registry: Registry,
        metrics: Metrics | None = None,
        cluster_ca: str = "",
        sign: Sign | None = None,
        cluster_cidr: str = "10.244.0.0/16",
        load_balancer_cidr: str = "10.97.0.0/24",
    ) -> None:
        """`client` acts as an administrator. `cluster_ca`: PEM of the certificate authority that pods
        trust (kube-root-ca.crt). `cluster_cidr`: addresses of pods,
        shared out among the nodes. `load_balancer_cidr`: addresses of load balancers. `metrics`: usage of
        pods, for the autoscaler. `sign`: None for a cluster without keys (a simulation), where approved
        signing requests stay without a certificate."""
        self.informers = Informers(client)
        self.client: ApiClient = WriteThrough(client, self.informers)
        self.clock = clock
        self.chance = chance
        self.timings = timings
        self.log = log
        self.registry = registry
        self.metrics: Metrics = metrics if metrics is not None else NoMetrics()
        self.cluster_ca = cluster_ca
        self.sign = sign
        self.cluster_cidr = cluster_cidr
        self.load_balancer_cidr = load_balancer_cidr
        self._recorders: dict[str, Recorder] = {}
        self._launch: Launch | None = None

    def client_as(self, controller: str) -> ApiClient:
        """The write-through client under a controller's own identity, e.g. "deployment-controller"."""
        return self.client.as_user(f"system:serviceaccount:kube-system:{controller}")

    def recorder(self, component: str) -> Recorder:
        """The one recorder of this component."""
        recorder = self._recorders.get(component)
        if recorder is None:
            recorder = Recorder(self.client_as(component), component, self.clock, self.log)
            self._recorders[component] = recorder
            if self._launch is not None:
                self._launch(f"recorder-{component}", recorder.run())
        return recorder

    def start(self, launch: Launch, cancel: Callable[[str], None]) -> None:
        """Runs informers and recorders, present and future, through `launch(name, coroutine)`."""
        self._launch = launch
        self.informers.start(launch, cancel)
        for component, recorder in self._recorders.items():
            launch(f"recorder-{component}", recorder.run())

    def stop(self) -> None:
        self._launch = None
        self.informers.stop()


class Background(Actor[None]):
    """Runs a world's informers and recorders."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def started(self) -> None:
        self._world.start(self._run, self.context.cancel_run)

    async def receive(self, message: None) -> None:
        raise AssertionError("the background actor takes no messages")

    async def stopped(self) -> None:
        self._world.stop()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.context.run(name, work)

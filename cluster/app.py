"""The composition root of the controller manager.

`ControlPlane` is everything but the way in over HTTPS: store, verbs, identity, node gateway, controllers,
scheduler. A simulation builds it with a virtual clock, a seed and the memory transport; a real process
with the machine's clock, entropy and MQTT, and opens an `ApiServer` (`cluster.server.http.serve`) over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import Tasks
from broker.system import ActorSystem
from broker.transport.link import Transport
from cluster.api.kinds import NODE_METRICS, POD_METRICS
from cluster.api.objects import Key, Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.controllers.registry import Factory, all_controllers
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import Background, Sign, World
from cluster.scheduler.scheduler import Scheduler
from cluster.server.aggregation.backends import Backends
from cluster.server.aggregation.custom_metrics import CustomMetrics, asking
from cluster.server.aggregation.front_proxy import FrontProxy, publish
from cluster.server.aggregation.services import ApiServices
from cluster.server.auth.authenticate import read_token_file
from cluster.server.auth.bootstrap import bootstrap_policy
from cluster.server.auth.identity import Identity
from cluster.server.auth.tokens import SigningKey
from cluster.server.bootstrap import bootstrap_objects, dns_address
from cluster.server.custom.definitions import Definitions
from cluster.server.extension import Extension
from cluster.server.flowcontrol import bootstrap_flow_control
from cluster.server.gateway import Gateway
from cluster.server.http.metrics import Gauge, Metrics
from cluster.server.local import LocalClient
from cluster.server.usage import Usage
from cluster.server.verbs import Verbs
from cluster.server.webhooks.caller import HttpsCaller
from cluster.server.webhooks.reach import Reach
from cluster.settings import DEFAULT_PORT, Settings
from cluster.store.journal import Journal
from cluster.store.store import Store

PAGES = "/kubemu/v1/"
ADMINISTRATOR = "system:apiserver"
"""Who the control plane's own parts are before they take their own names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What needs keys: a real process reads them from disk, a simulation derives them from its seed."""

    service_account_key: SigningKey
    cluster_ca: str = ""
    """PEM, for the kube-root-ca.crt ConfigMaps."""
    sign: Sign | None = None
    """Signs the certificates that clients ask for."""
    front_proxy: FrontProxy | None = None
    """For the servers of aggregated APIs."""


class ControlPlane:
    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        chance: Chance,
        transport: Transport,
        journal: Journal,
        log: FilteringBoundLogger,
        trust: Trust | None = None,
        verify: bool = False,
    ) -> None:
        """`transport` is not open yet. `verify`: the store looks for objects that somebody mutated."""
        if trust is None:
            trust = Trust(service_account_key=SigningKey.derived(chance.fork("service-accounts")))
        self._settings = settings
        self.store = Store(journal, clock=clock, verify=verify)
        self.registry = Registry()
        self.verbs = Verbs(
            self.store,
            self.registry,
            clock=clock,
            chance=chance.fork("verbs"),
            timings=settings.timings,
            service_cidr=settings.service_cidr,
        )
        self.identity = Identity(
            self.verbs,
            trust.service_account_key,
            clock=clock,
            chance=chance.fork("tokens"),
            static=read_token_file(settings.token_auth_file) if settings.token_auth_file else None,
            anonymous=settings.anonymous,
        )
        self.gateway = Gateway(
            cluster=settings.cluster,
            store=self.store,
            client=LocalClient(self.verbs, ADMINISTRATOR),
            transport=transport,
            timings=settings.timings,
            service_cidr=settings.service_cidr,
            cluster_dns=dns_address(settings.service_cidr),
            clock=clock,
            chance=chance.fork("gateway"),
            log=log.bind(component="gateway"),
        )
        usage = Usage(self.store, self.gateway.usage)
        self.verbs.add_computed(NODE_METRICS.qualified, usage.node_objects)
        self.verbs.add_computed(POD_METRICS.qualified, usage.pod_objects)
        self._front_proxy = trust.front_proxy
        reach = Reach(self.store, self.gateway)
        self.backends = Backends(self.store, trust.front_proxy, reach)
        self.world = World(
            self.client(ADMINISTRATOR),
            clock=clock,
            chance=chance.fork("controllers"),
            timings=settings.timings,
            log=log,
            registry=self.registry,
            metrics=CustomMetrics(usage, self.registry, asking(self.backends)),
            cluster_ca=trust.cluster_ca,
            sign=trust.sign,
            cluster_cidr=settings.cluster_cidr,
            load_balancer_cidr=settings.load_balancer_cidr,
        )
        self.api_services = ApiServices(
            self.store,
            self.registry,
            self.client(ADMINISTRATOR),
            self.backends,
            clock=clock,
            log=log.bind(component="aggregator"),
        )
        caller = HttpsCaller(reach)
        self.definitions = Definitions(
            self.store,
            self.registry,
            self.client(ADMINISTRATOR),
            caller=caller,
            clock=clock,
            chance=chance.fork("definitions"),
            log=log.bind(component="definitions"),
            on_change=self._kind_changed,
        )
        admission = self.verbs.environment.admission
        self.extension = Extension(
            admission,
            admission.setting,
            self.client(ADMINISTRATOR),
            self.identity.authorizer,
            caller,
            log=log.bind(component="admission"),
        )
        self.system = ActorSystem(clock=clock, chance=chance.fork("actors"), log=log)
        self._running_scheduler: Scheduler | None = None
        self._queues: dict[str, WorkQueue[Any]] = {}
        self._tasks = Tasks()

    def client(self, user: str) -> LocalClient:
        """The API from within this process, under a name of its own."""
        return LocalClient(self.verbs, user, streams=self.gateway)

    def _scheduler(self) -> Scheduler:
        self._running_scheduler = Scheduler(self.world, self._settings.scheduler)
        return self._running_scheduler

    def _noted(self, name: str, factory: Factory) -> Factory:
        """The factory that leaves the controller's queue behind, for `add_metrics`."""

        def make() -> Controller[Any]:
            made = factory()
            self._queues[name] = made.queue
            return made

        return make

    def add_metrics(self, metrics: Metrics) -> None:
        """The work queues of the controllers, under client-go's names."""

        def of(read: Callable[[WorkQueue[Any]], float]) -> Gauge:
            return lambda: [((("name", name),), read(queue)) for name, queue in self._queues.items()]

        metrics.gauge("workqueue_depth", "Keys in line.", of(len))
        metrics.gauge("workqueue_adds_total", "Keys added.", of(lambda queue: queue.added), kind="counter")
        metrics.gauge(
            "workqueue_retries_total",
            "Keys added after a failure.",
            of(lambda queue: queue.retried),
            kind="counter",
        )

    def page(self, path: str) -> Object | None:
        """kubemu's own documents, below `PAGES`: `namespaces/<namespace>/pods/<name>/scheduling`."""
        match path.split("/"):
            case ["namespaces", namespace, "pods", name, "scheduling"]:
                if self._running_scheduler is not None:
                    return self._running_scheduler.explain(Key(namespace, name))
        return None

    def _kind_changed(self, resource: Resource, served: bool) -> None:
        """A custom kind came, changed or went."""
        if not served:
            self.verbs.hub.end(resource.qualified)
        self.api_services.kinds_changed()

    async def start(self) -> None:
        """Returns once the objects that every cluster has exist and the controllers run."""
        administrator = self.client(ADMINISTRATOR)
        await bootstrap_objects(
            administrator,
            service_cidr=self._settings.service_cidr,
            address=self._settings.advertised,
            port=self._settings.port or DEFAULT_PORT,
        )
        if self._front_proxy is not None:
            await publish(administrator, self._front_proxy)
        await bootstrap_policy(administrator, self.store)
        await bootstrap_flow_control(administrator)
        await self.definitions.start()
        self.extension.start()
        self.api_services.start()
        await self.gateway.start()
        self.system.spawn("informers", lambda: Background(self.world))
        for name, factory in all_controllers(self.world):
            self.system.spawn(name, self._noted(name, factory))
        self.system.spawn("scheduler", self._scheduler)
        self._tasks.start("journal-failure", self.store.failed())
        self._tasks.start("gateway-failure", self.gateway.failed())
        self._tasks.start("actors-failure", self.system.failed())
        self._tasks.start("definitions-failure", self.definitions.failed())
        self._tasks.start("extension-failure", self.extension.failed())
        self._tasks.start("api-services-failure", self.api_services.failed())

    async def stop(self) -> None:
        """Everything written is durable afterwards."""
        await self._tasks.close()
        await self.system.stop()
        await self.api_services.stop()
        await self.extension.stop()
        await self.definitions.stop()
        await self.gateway.stop()
        self.verbs.close()
        self.store.close()

    async def failed(self) -> None:
        """Raises what the control plane can't go on after: a bug, a refused password, a broken journal."""
        await self._tasks.failed()

"""The API over HTTPS: everything of this package put together over one set of verbs."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from broker.chance import Chance
from broker.clock import Clock
from cluster.server.aggregation.backends import Backends
from cluster.server.auth.identity import Identity
from cluster.server.certificates import Pki
from cluster.server.http.audit import AuditLog
from cluster.server.http.connection import Listener
from cluster.server.http.delegation import Delegation
from cluster.server.http.documents import GIT_VERSION, Documents, Page
from cluster.server.http.forms import Forms
from cluster.server.http.health import Health
from cluster.server.http.limits import InFlight
from cluster.server.http.metrics import Metrics, Sample
from cluster.server.http.process import add_process_metrics
from cluster.server.http.published import Published
from cluster.server.http.resources import Resources
from cluster.server.http.shell import Shell
from cluster.server.http.streaming import Streaming
from cluster.server.http.watching import Watching
from cluster.server.streams import NodeStreams
from cluster.server.verbs import Verbs
from cluster.server.webhooks.reach import Reach


class ApiServer:
    """`metrics` and `health` take more of both from the composition root."""

    def __init__(
        self,
        verbs: Verbs,
        identity: Identity,
        pki: Pki,
        *,
        streams: NodeStreams | None,
        audit: AuditLog | None = None,
        backends: Backends | None = None,
        clock: Clock,
        chance: Chance,
        log: FilteringBoundLogger,
    ) -> None:
        self.pages: dict[str, Page] = {}
        """Further documents, by what their paths begin with: kubemu's own, not Kubernetes'."""
        self.metrics = Metrics()
        self.health = Health()
        self.in_flight = InFlight()
        self.address = ""
        self._verbs = verbs
        backends = backends or Backends(verbs.store, None, Reach(verbs.store, streams))
        forms = Forms(verbs.store, verbs.registry, clock)
        documents = Documents(
            Published(verbs.registry, backends),
            health=self.health,
            metrics=self.metrics,
            tokens=identity.tokens,
            clock=clock,
            server_address=lambda: self.address,
        )
        documents.pages = self.pages
        shell = Shell(
            authenticator=identity.authenticator,
            authorizer=identity.authorizer,
            resources=Resources(
                verbs,
                verbs.registry,
                forms,
                Watching(verbs, forms, chance.fork("watches")),
                Streaming(verbs, streams),
            ),
            documents=documents,
            delegation=Delegation(backends),
            metrics=self.metrics,
            in_flight=self.in_flight,
            audit=audit,
            clock=clock,
            chance=chance.fork("audit"),
            log=log,
        )
        self._listener = Listener(shell.handle, pki)
        self._closing = False
        self._add_checks()
        self._add_metrics()
        add_process_metrics(self.metrics, clock)

    async def open(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        bound = await self._listener.open(host, port)
        self.address = f"{host}:{bound}"
        return bound

    async def close(self) -> None:
        self._closing = True
        await self._listener.close()

    def _add_checks(self) -> None:
        """Under Kubernetes' names: what is stored here is what etcd is there."""
        store = self._verbs.store

        def journal() -> str:
            return str(store.failure or "")

        self.health.checks["etcd"] = journal
        self.health.ready_only["etcd-readiness"] = journal
        self.health.ready_only["shutdown"] = lambda: "process is shutting down" if self._closing else ""

    def _add_metrics(self) -> None:
        store, hub = self._verbs.store, self._verbs.hub
        gauge = self.metrics.gauge

        def objects() -> list[Sample]:
            return [((("resource", name),), store.count(name)) for name in store.resources()]

        def watchers() -> list[Sample]:
            return [((("resource", name),), count) for name, count in hub.count().items()]

        gauge("apiserver_storage_objects", "Stored objects by resource.", objects)
        gauge("apiserver_registered_watchers", "Open watches by resource.", watchers)
        gauge("apiserver_current_inflight_requests", "Requests being answered, by kind.", self._in_flight)
        gauge("kubernetes_build_info", "The version that is served; always 1.", lambda: [(_BUILD, 1)])
        gauge("kubemu_store_revision", "Revision of the last write.", lambda: [((), store.revision)])
        gauge(
            "kubemu_store_pending_writes",
            "Writes that are not durable yet.",
            lambda: [((), store.revision - store.durable_revision)],
        )

    def _in_flight(self) -> list[Sample]:
        places = self.in_flight
        return [
            ((("request_kind", "mutating"),), places.writing),
            ((("request_kind", "readOnly"),), places.reading),
        ]


_MAJOR, _MINOR, *_ = GIT_VERSION.removeprefix("v").split(".")
_BUILD = (("git_version", GIT_VERSION), ("major", _MAJOR), ("minor", _MINOR))

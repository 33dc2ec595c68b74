"""Services of type LoadBalancer get an address out of a pool, and Ingresses the address of the ingress proxy:
what a cloud provider's controllers do. The agents answer there (`agents.services`).

The first address of the pool is the ingress proxy's. The books are the Services' own statuses: what is
taken is what they hold, and a single worker gives the next one away. `spec.loadBalancerIP` is honoured
where it lies in the pool and is free; a `loadBalancerClass` says that somebody else is to take care.

As with a cloud's, a finalizer holds a Service until its address was taken back.

Divergence: an address comes with a host name in the same entry, which the cluster's DNS knows.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, key_of
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "service-lb-controller"
COMPONENT = "service-controller"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
DOMAIN = "lb.kubemu.test"
"""Where load balancers have their names: a top level that is nobody's (RFC 2606)."""
INGRESS_NAME = "ingress-controller"
CLASS = "kubemu"
CONTROLLER = "kubemu.dev/ingress"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
RETRY_S = 5.0
"""How soon a Service is looked at again that found the pool empty."""


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    services = world.informers.of(kinds.SERVICES)
    return Controller(LoadBalancers(world), queue, watches=[(services, enqueue(queue))], workers=1)


class LoadBalancers:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(COMPONENT)
        self._services = world.informers.of(kinds.SERVICES)
        self._pool = IPv4Network(world.load_balancer_cidr)

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(key)
        if service is None:
            return None
        try:
            if is_ours(service):
                return await self._ensure(key, service)
            if FINALIZER in (service["metadata"].get("finalizers") or ()):
                await self._clean_up(key, service)
        except NotFound:
            return None
        return None

    async def _ensure(self, key: Key, service: Object) -> float | None:
        finalizers = service["metadata"].get("finalizers") or []
        if _holds(service, self._pool):
            if FINALIZER not in finalizers:
                await self._set_finalizers(key, service, [*finalizers, FINALIZER])
            return None
        taken = {_holds(other, self._pool) for other in self._services.list() if key_of(other) != key}
        address = choose(self._pool, taken, service["spec"].get("loadBalancerIP", ""))
        if address is None:
            text = "Error syncing load balancer: failed to ensure load balancer: the pool has no free address"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", text)
            return RETRY_S
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if FINALIZER not in finalizers:
            await self._set_finalizers(key, service, [*finalizers, FINALIZER])
        entry = {"ip": address, "ipMode": "VIP", "hostname": f"{key.name}.{key.namespace}.{DOMAIN}"}
        await self._set_entries(key, [entry])
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return None

    async def _clean_up(self, key: Key, service: Object) -> None:
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        if _holds(service, self._pool):
            await self._set_entries(key, None)
        left = [name for name in service["metadata"]["finalizers"] if name != FINALIZER]
        await self._set_finalizers(key, service, left)
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _set_entries(self, key: Key, entries: list[Object] | None) -> None:
        status = {"status": {"loadBalancer": {"ingress": entries}}}
        await self._client.patch(
            kinds.SERVICES, key.name, status, namespace=key.namespace, subresource="status"
        )

    async def _set_finalizers(self, key: Key, service: Object, finalizers: list[str]) -> None:
        """Only while nobody else changed them: a conflict comes back to the queue."""
        version = self._services.get(key) or service
        meta = {"finalizers": finalizers, "resourceVersion": version["metadata"]["resourceVersion"]}
        await self._client.patch(kinds.SERVICES, key.name, {"metadata": meta}, namespace=key.namespace)


def is_ours(service: Object) -> bool:
    spec = service["spec"]
    return (
        spec.get("type") == "LoadBalancer"
        and not spec.get("loadBalancerClass")
        and "deletionTimestamp" not in service["metadata"]
    )


def _holds(service: Object, pool: IPv4Network) -> str:
    """The Service's address of the pool; empty where it has none."""
    for entry in (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ():
        ip: str = entry.get("ip", "")
        if ip and IPv4Address(ip) in pool:
            return ip
    return ""


def choose(pool: IPv4Network, taken: set[str], wanted: str) -> str | None:
    """The lowest free address, or the wanted one if it can be had."""
    reserved = {str(pool[0]), str(pool[1]), str(pool[-1])}
    if wanted and wanted not in taken | reserved and IPv4Address(wanted) in pool:
        return wanted
    return next((str(ip) for ip in pool if str(ip) not in taken and str(ip) not in reserved), None)


# --- ingresses

INGRESS_CONTROLLER = "ingress-status-controller"


def ingress_controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    ingresses, classes = world.informers.of(kinds.INGRESSES), world.informers.of(kinds.INGRESS_CLASSES)

    def all_ingresses(old: Object | None, new: Object | None, cause: str) -> None:
        for ingress in ingresses.list():
            queue.add(key_of(ingress), cause)

    watches = [(ingresses, enqueue(queue)), (classes, all_ingresses)]
    return Controller(IngressStatuses(world), queue, watches=watches, workers=1)


class IngressStatuses:
    """Each Ingress of our class shows the proxy's address; one that leaves the class loses it."""

    name = INGRESS_CONTROLLER

    def __init__(self, world: World) -> None:
        self._client = world.client_as(INGRESS_CONTROLLER)
        self._ingresses = world.informers.of(kinds.INGRESSES)
        self._classes = world.informers.of(kinds.INGRESS_CLASSES)
        address = str(IPv4Network(world.load_balancer_cidr)[1])
        self._entry = {"ip": address, "hostname": f"{INGRESS_NAME}.{DOMAIN}"}

    async def reconcile(self, key: Key) -> float | None:
        ingress = self._ingresses.get(key)
        if ingress is None or "deletionTimestamp" in ingress["metadata"]:
            return None
        present = (ingress.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        if self._is_ours(ingress):
            wanted = [self._entry]
        elif self._entry in present:
            wanted = []
        else:
            return None
        if present == wanted:
            return None
        status = {"status": {"loadBalancer": {"ingress": wanted}}}
        try:
            await self._client.patch(
                kinds.INGRESSES, key.name, status, namespace=key.namespace, subresource="status"
            )
        except NotFound:
            return None
        return None

    def _is_ours(self, ingress: Object) -> bool:
        name = ingress["spec"].get("ingressClassName")
        name = name or (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
        if not name:
            return False
        found = self._classes.get(Key("", name))
        return found is not None and found["spec"].get("controller") == CONTROLLER

"""The client of a drill: creates, scales, rolls and deletes workloads, one write after the other.

It behaves as a careful user would: tries again while the API can't be reached, and notes what it was
promised. Everything fits on two nodes, so that a healed cluster can always run it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from broker.chance import Chance
from cluster.api import kinds
from cluster.api.client import ApiClient, Propagation
from cluster.api.errors import ApiError, NotFound, ServiceUnavailable
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from scenarios.drills.ledger import ANNOTATION, DELETED, Ledger

NAMESPACE = "default"
MOST_WORKLOADS = 5
MOST_REPLICAS = 6
PROPAGATIONS: tuple[Propagation, ...] = ("Background", "Foreground")
IMAGES = ("nginx:1.27", "nginx:1.28", "httpd:2.4")


class Workload:
    """The client, and what it believes to exist."""

    def __init__(self, client: ApiClient, ledger: Ledger, chance: Chance) -> None:
        self._client = client
        self._ledger = ledger
        self._chance = chance
        self._born = 0
        self.living: list[tuple[Resource, str]] = []

    async def run(self, pause_s: float) -> None:
        """Writes for ever."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.0, pause_s))
            await self.step()

    async def step(self) -> None:
        if not self.living or (len(self.living) < MOST_WORKLOADS and self._chance.random() < 0.3):
            await self.create()
            return
        resource, name = self._chance.choice(self.living)
        change = self._chance.choice(("scale", "scale", "roll", "roll", "delete", "delete-pod"))
        match change:
            case "scale":
                replicas = self._chance.below(MOST_REPLICAS + 1)
                await self.patch(resource, name, {"spec": {"replicas": replicas}})
            case "roll":
                await self.roll(resource, name)
            case "delete":
                await self.delete(resource, name)
            case _:
                await self._delete_pod(name)

    async def create(self, *, replicas: int | None = None, stateful: bool | None = None) -> str:
        self._born += 1
        if stateful is None:
            stateful = self._chance.random() < 0.25
        if replicas is None:
            replicas = self._chance.below(MOST_REPLICAS + 1)
        name = f"app-{self._born}"
        resource = kinds.STATEFUL_SETS if stateful else kinds.DEPLOYMENTS
        number = self._ledger.next_number()
        body = _workload(name, replicas, number, stateful=stateful, chance=self._chance)
        self.living.append((resource, name))
        await self._write(
            kinds.SERVICES, name, number, self._client.create(kinds.SERVICES, _service(name, number))
        )
        number = self._ledger.next_number()
        body["metadata"]["annotations"][ANNOTATION] = str(number)
        await self._write(resource, name, number, self._client.create(resource, body))
        return name

    async def roll(self, resource: Resource, name: str) -> None:
        container = {**_container(), "image": self._chance.choice(IMAGES)}
        stamp = {"annotations": {"drill.kubemu.dev/roll": str(self._chance.below(1_000_000))}}
        template = {"metadata": stamp, "spec": {"containers": [container]}}
        await self.patch(resource, name, {"spec": {"template": template}})

    async def patch(self, resource: Resource, name: str, change: Object) -> None:
        number = self._ledger.next_number()
        body = {**change, "metadata": {"annotations": {ANNOTATION: str(number)}}}
        call = self._client.patch(resource, name, body, namespace=NAMESPACE)
        await self._write(resource, name, number, call)

    async def delete(self, resource: Resource, name: str) -> None:
        """The Service goes with its workload."""
        self.living.remove((resource, name))
        propagation: Propagation = self._chance.choice(PROPAGATIONS)
        for kind in (kinds.SERVICES, resource):
            done = False
            while not done:
                call = self._client.delete(kind, name, namespace=NAMESPACE, propagation=propagation)
                done = await self._write(kind, name, DELETED, call)
                await asyncio.sleep(0.1)

    async def _delete_pod(self, name: str) -> None:
        try:
            pods = await self._client.list(kinds.PODS, namespace=NAMESPACE, label_selector=f"app={name}")
            if pods.items:
                pod = self._chance.choice(pods.items)
                await self._client.delete(kinds.PODS, pod["metadata"]["name"], namespace=NAMESPACE)
        except (ApiError, OSError):
            return  # somebody else deleted it, or nobody answers: pods are not in the ledger

    async def _write(
        self, resource: Resource, name: str, number: int, call: Coroutine[Any, Any, Object]
    ) -> bool:
        """Notes what became of the write; False where it is to be tried again."""
        kind, key = resource.plural, Key(NAMESPACE, name)
        self._ledger.attempted(kind, key, number)
        try:
            await call
        except (ConnectionResetError, ServiceUnavailable):
            return False  # it stays open
        except ConnectionRefusedError:
            self._ledger.refused(kind, key, number)
            return False
        except NotFound:
            if number == DELETED:
                self._ledger.acknowledged(kind, key, DELETED)
            else:
                self._ledger.refused(kind, key, number)
            return True
        except ApiError:
            self._ledger.refused(kind, key, number)
            return True
        self._ledger.acknowledged(kind, key, number)
        return True


def _service(name: str, number: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {ANNOTATION: str(number)}},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def _container() -> Object:
    return {
        "name": "main",
        "image": IMAGES[0],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2, "failureThreshold": 2},
    }


def _workload(name: str, replicas: int, number: int, *, stateful: bool, chance: Chance) -> Object:
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": chance.choice((1, 5) if stateful else (0, 1, 5)),
                "containers": [_container()],
            },
        },
    }
    if stateful:
        spec["serviceName"] = name
        spec["podManagementPolicy"] = chance.choice(("OrderedReady", "Parallel"))
    elif chance.random() < 0.2:
        spec["strategy"] = {"type": "Recreate"}
    else:
        surge, unavailable = chance.choice(((1, 0), (0, 1), (2, 1), ("50%", "25%")))
        spec["strategy"] = {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
        }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet" if stateful else "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {ANNOTATION: str(number)}},
        "spec": spec,
    }

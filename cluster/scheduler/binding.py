"""Carrying decisions out: bindings run concurrently, so that a slow write does not hold up the next pod.

A claim whose class waits for its first consumer gets its volume first: one that exists is told to belong to
it, otherwise the provisioner is told the chosen node (the annotation `volume.kubernetes.io/selected-node`).
The pod is bound once its claims are. Two pods that chose the same volume meet in a Conflict, and the later
one is scheduled again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.cause import caused_by, current_cause
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, Conflict, ServerTimeout
from cluster.api.objects import Key, Object, key_of
from cluster.reconcile.informers import Informers
from cluster.reconcile.volumes import BOUND_BY_CONTROLLER, SELECTED_NODE, annotations_of, claim_reference
from cluster.scheduler.plugins.volumes import VolumeBinding, claim_names, is_bound
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.queue import Waiting

BACKLOG = 256
"""Decisions ahead of their bindings; beyond it placing waits."""

Outcome = Callable[[Waiting, str, ApiError | None], None]
"""Called with the pod, its node, and why the binding failed (None: it did not)."""


class Binder:
    def __init__(
        self, client: ApiClient, informers: Informers, volumes: VolumeBinding, outcome: Outcome
    ) -> None:
        self._client = client
        self._claims = informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._persistent = informers.of(kinds.PERSISTENT_VOLUMES)
        self._nodes = informers.of(kinds.NODES)
        self._volumes = volumes
        self._outcome = outcome
        self._line: asyncio.Queue[tuple[Waiting, str, float, str]] = asyncio.Queue(BACKLOG)

    async def bind(self, waiting: Waiting, node: str, timeout_s: float) -> None:
        """Puts a binding in line; waits while the line is full. `timeout_s`: for the pod's claims."""
        await self._line.put((waiting, node, timeout_s, current_cause()))

    async def work(self) -> None:
        """One of several workers."""
        while True:
            waiting, node, timeout_s, cause = await self._line.get()
            error: ApiError | None = None
            with caused_by(cause):
                try:
                    await self._bind(waiting.pod, node, timeout_s)
                except ApiError as failure:
                    error = failure
                self._outcome(waiting, node, error)

    async def _bind(self, pod: PodInfo, node: str, timeout_s: float) -> None:
        if pod.volumes:
            await self._bind_claims(pod, node, timeout_s)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._client.create(
            kinds.PODS, binding, namespace=pod.namespace, name=pod.name, subresource="binding"
        )

    async def _bind_claims(self, pod: PodInfo, node: str, timeout_s: float) -> None:
        claims = [self._claims.get(Key(pod.namespace, name)) for name in claim_names(pod)]
        delayed = [
            claim
            for claim in claims
            if claim is not None and not is_bound(claim) and self._volumes.waits_for_consumer(claim)
        ]
        if not delayed:
            return
        found = self._nodes.get(Key("", node))
        labels = {} if found is None else found["metadata"].get("labels") or {}
        chosen = self._volumes.choose(delayed, labels, node)
        if chosen is None:
            raise Conflict(f"the volumes for pod {pod.key} on node {node} are gone")
        for claim in delayed:
            await self._provide(claim, chosen.get(key_of(claim)), node)
        for claim in delayed:
            await self._bound(key_of(claim), timeout_s)

    async def _provide(self, claim: Object, volume: str | None, node: str) -> None:
        meta = claim["metadata"]
        if volume is None:
            if annotations_of(claim).get(SELECTED_NODE) != node:
                patch = {"metadata": {"annotations": {SELECTED_NODE: node}}}
                await self._client.patch(
                    kinds.PERSISTENT_VOLUME_CLAIMS, meta["name"], patch, namespace=meta["namespace"]
                )
            return
        present = self._persistent.get(Key("", volume))
        if present is None:
            raise Conflict(f"volume {volume} is gone")
        reference = present["spec"].get("claimRef")
        if reference is not None and reference.get("uid") == meta["uid"]:
            return
        taken = present["metadata"]
        if reference is None:
            taken = taken | {"annotations": annotations_of(present) | {BOUND_BY_CONTROLLER: "yes"}}
        spec = present["spec"] | {"claimRef": claim_reference(claim)}
        await self._client.update(kinds.PERSISTENT_VOLUMES, present | {"metadata": taken, "spec": spec})

    async def _bound(self, key: Key, timeout_s: float) -> None:
        changed = asyncio.Event()
        end = self._claims.on_change(lambda old, new, cause: changed.set())
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_bound(key):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise ServerTimeout(f"binding volumes: timed out waiting for claim {key}") from None
        finally:
            end()

    def _is_bound(self, key: Key) -> bool:
        claim = self._claims.get(key)
        if claim is None:
            raise Conflict(f"claim {key} is gone")
        return is_bound(claim)

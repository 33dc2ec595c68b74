"""Carrying decisions out: bindings run concurrently, so that a slow write does not hold up the next pod.

A claim whose class waits for its first consumer is told the chosen node first (the annotation
`volume.kubernetes.io/selected-node`), and the pod is bound once the provisioner has bound the claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.cause import caused_by, current_cause
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, ServerTimeout
from cluster.api.objects import Key
from cluster.reconcile.informer import Informer
from cluster.scheduler.plugins.volumes import VolumeBinding, claim_names
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.queue import Waiting

CLAIM_TIMEOUT_S = 600.0
BACKLOG = 256
"""Decisions ahead of their bindings; beyond it placing waits."""
SELECTED_NODE = "volume.kubernetes.io/selected-node"

Outcome = Callable[[Waiting, str, ApiError | None], None]
"""Called with the pod, its node, and why the binding failed (None: it did not)."""


class Binder:
    def __init__(self, client: ApiClient, claims: Informer, volumes: VolumeBinding, outcome: Outcome) -> None:
        self._client = client
        self._claims = claims
        self._volumes = volumes
        self._outcome = outcome
        self._line: asyncio.Queue[tuple[Waiting, str, str]] = asyncio.Queue(BACKLOG)

    async def bind(self, waiting: Waiting, node: str) -> None:
        """Puts a binding in line; waits while the line is full."""
        await self._line.put((waiting, node, current_cause()))

    async def work(self) -> None:
        """One of several workers."""
        while True:
            waiting, node, cause = await self._line.get()
            error: ApiError | None = None
            with caused_by(cause):
                try:
                    await self._bind(waiting.pod, node)
                except ApiError as failure:
                    error = failure
                self._outcome(waiting, node, error)

    async def _bind(self, pod: PodInfo, node: str) -> None:
        if pod.volumes:
            await self._bind_claims(pod, node)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._client.create(
            kinds.PODS, binding, namespace=pod.namespace, name=pod.name, subresource="binding"
        )

    async def _bind_claims(self, pod: PodInfo, node: str) -> None:
        waiting: list[Key] = []
        for name in claim_names(pod):
            key = Key(pod.namespace, name)
            claim = self._claims.get(key)
            if (
                claim is None
                or claim["spec"].get("volumeName")
                or not self._volumes.waits_for_consumer(claim)
            ):
                continue
            waiting.append(key)
            if claim["metadata"].get("annotations", {}).get(SELECTED_NODE) != node:
                patch = {"metadata": {"annotations": {SELECTED_NODE: node}}}
                await self._client.patch(kinds.PERSISTENT_VOLUME_CLAIMS, name, patch, namespace=pod.namespace)
        for key in waiting:
            await self._bound(key)

    async def _bound(self, key: Key) -> None:
        changed = asyncio.Event()
        end = self._claims.on_change(lambda old, new, cause: changed.set())
        try:
            async with asyncio.timeout(CLAIM_TIMEOUT_S):
                while not (self._claims.get(key) or {}).get("spec", {}).get("volumeName"):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise ServerTimeout(f"binding volumes: timed out waiting for claim {key}") from None
        finally:
            end()

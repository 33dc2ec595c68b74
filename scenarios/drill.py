"""Carries out the steps of a scenario on a cluster.

The same methods are the Python API: a test writes `await drill.kill("2")` where a scenario file says
`kill: 2`. A drill only needs an `ApiClient` and `Faults`, so it runs unchanged against processes on this
machine, containers, and a simulation. Waiting is polling on the event loop's time, virtual or real.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from agents.behaviour import ANNOTATION
from broker.cause import current_cause
from broker.clock import Clock
from cluster.api import kinds
from cluster.api.client import ApiClient, PatchType
from cluster.api.errors import ApiError, NotFound, ServiceUnavailable, TooManyRequests
from cluster.api.objects import Object, controller_of, timestamp
from cluster.api.registry import Registry
from scenarios import behaviours, load, reference, rollouts, steps
from scenarios.expectation import Observer
from scenarios.faults import CentralProcess, FaultError, Faults
from scenarios.load import Sender, Traffic, TrafficError

POLL_S = 0.1
PATIENCE_S = 30.0
"""How long a step keeps trying while the API can't be reached (its process may just be restarting)."""

UNREACHABLE = (OSError, asyncio.TimeoutError, ServiceUnavailable)


class StepFailed(Exception):
    """The step could not be carried out, or what it expects did not come. Its text says what was seen."""


class Drill:
    """One scenario's hands and eyes."""

    def __init__(
        self,
        client: ApiClient,
        faults: Faults,
        *,
        clock: Clock,
        registry: Registry,
        directory: Path,
        sender: Sender | None = None,
    ) -> None:
        """`sender`: for loads; None where nothing can be sent."""
        self.client = client
        self.faults = faults
        self._clock = clock
        self._registry = registry
        self._directory = directory
        self._observer = Observer(client, registry)
        self._guards: dict[str, Callable[[], Awaitable[str | None]]] = {}
        self._traffic = Traffic(client, sender)

    async def close(self) -> None:
        """Ends what still runs in the background."""
        await self._traffic.close()

    async def perform(self, action: steps.Action) -> str:
        """Carries out one step; returns what was seen. Raises StepFailed."""
        try:
            return await self._perform(action)
        except (ApiError, FaultError, TrafficError, reference.UnknownKind) as error:
            raise StepFailed(str(error)) from error

    async def _perform(self, action: steps.Action) -> str:
        match action:
            case steps.Apply():
                return await self.apply(*action.files, objects=action.objects, namespace=action.namespace)
            case steps.Delete():
                return await self.delete(action.of, namespace=action.namespace)
            case steps.Kill():
                return await self.kill(action.node)
            case steps.Stop():
                return await self.stop(action.node)
            case steps.Start():
                return await self.start(action.node)
            case steps.Freeze():
                return await self.freeze(action.node)
            case steps.Thaw():
                return await self.thaw(action.node)
            case steps.Partition():
                return await self.partition(action.node)
            case steps.Heal():
                return await self.heal(action.node)
            case steps.Bounce():
                return await self.bounce(action.process)
            case _:
                return await self._perform_on_workloads(action)

    async def _perform_on_workloads(self, action: steps.Action) -> str:
        match action:
            case steps.FailProbe() | steps.MendProbe():
                fails = isinstance(action, steps.FailProbe)
                change = behaviours.probe_answer(action.container, action.probe, fails=fails)
                return await self._change_behaviour(action.pods, change, action.count, action.namespace)
            case steps.Crash():
                change = behaviours.crash(action.container, current_cause() or "crash", action.exit_code)
                return await self._change_behaviour(action.pods, change, action.count, action.namespace)
            case steps.Scale():
                return await self.scale(action.of, action.replicas, namespace=action.namespace)
            case steps.SetImage():
                return await self.set_image(
                    action.of, action.image, container=action.container, namespace=action.namespace
                )
            case steps.Undo():
                return await self.undo(action.of, revision=action.to_revision, namespace=action.namespace)
            case steps.Restart():
                return await self.restart(action.of, namespace=action.namespace)
            case steps.Wait():
                await asyncio.sleep(action.seconds)
                return "waited"
            case steps.Rollout():
                return await self.rollout(action.of, within_s=action.within, namespace=action.namespace)
            case steps.Expect():
                return await self.expect(action)
            case steps.Guard():
                return await self.guard(action)
            case steps.Release():
                self._guards.pop(action.guard, None)
                return "released"
            case steps.Drain():
                return await self.drain(action.node, within_s=action.within)
            case steps.Uncordon():
                name = await self.node(action.node)
                await self._merge(f"node/{name}", "", {"spec": {"unschedulable": None}})
                return f"uncordoned {name}"
            case steps.Load():
                return await self._traffic.start(action)
            case steps.Report():
                return await self.report(action)
            case _:
                raise AssertionError(f"no way to carry out {action!r}")

    # --- objects

    async def apply(
        self, *files: str, objects: list[Object] | None = None, namespace: str = "default"
    ) -> str:
        """Applies manifests (server-side apply); file paths are relative to the scenario's."""
        found: list[Object] = [*(objects or ())]
        for file in files:
            text = (self._directory / file).read_text(encoding="utf-8")
            try:
                found += [each for each in yaml.safe_load_all(text) if each]
            except yaml.MarkedYAMLError as error:
                raise StepFailed(f"{file}: not YAML: {error.problem}") from error
        applied = [await self._apply_one(obj, namespace) for obj in found]
        return "applied " + ", ".join(applied)

    async def _apply_one(self, obj: Object, namespace: str) -> str:
        version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        resource = self._registry.of_kind(version, kind)
        if resource is None:
            raise StepFailed(f'no matches for kind "{kind}" in version "{version}"')
        meta = obj.get("metadata", {})
        await self._patiently(
            lambda: self.client.patch(
                resource,
                meta.get("name", ""),
                obj,
                namespace=meta.get("namespace", namespace) if resource.namespaced else "",
                kind=PatchType.APPLY,
                force=True,
            )
        )
        return f"{resource.singular}/{meta.get('name', '')}"

    async def delete(self, of: str, *, namespace: str = "default") -> str:
        resource, name = reference.parse(self._registry, of)
        await self._patiently(
            lambda: self.client.delete(resource, name, namespace=namespace if resource.namespaced else "")
        )
        return f"deleted {of}"

    async def _merge(self, of: str, namespace: str, change: Object, subresource: str = "") -> Object:
        resource, name = reference.parse(self._registry, of)
        patched: Object = await self._patiently(
            lambda: self.client.patch(
                resource,
                name,
                change,
                namespace=namespace if resource.namespaced else "",
                kind=PatchType.MERGE if subresource else PatchType.STRATEGIC,
                subresource=subresource,
            )
        )
        return patched

    async def scale(self, of: str, replicas: int, *, namespace: str = "default") -> str:
        await self._merge(of, namespace, {"spec": {"replicas": replicas}}, "scale")
        return f"{of} scaled to {replicas}"

    async def set_image(self, of: str, image: str, *, container: str = "", namespace: str = "default") -> str:
        resource, name = reference.parse(self._registry, of)
        if not container:
            current = await self.client.get(resource, name, namespace=namespace)
            container = current["spec"]["template"]["spec"]["containers"][0]["name"]
        containers = [{"name": container, "image": image}]
        await self._merge(of, namespace, {"spec": {"template": {"spec": {"containers": containers}}}})
        return f"{of} has image {image}"

    async def restart(self, of: str, *, namespace: str = "default") -> str:
        stamp = {"kubectl.kubernetes.io/restartedAt": timestamp(self._clock.now())}
        await self._merge(of, namespace, {"spec": {"template": {"metadata": {"annotations": stamp}}}})
        return f"{of} restarted"

    async def undo(self, of: str, *, revision: int = 0, namespace: str = "default") -> str:
        """Puts an earlier revision's pod template back, as `kubectl rollout undo` does."""
        resource, name = reference.parse(self._registry, of)
        if resource is not kinds.DEPLOYMENTS:
            raise StepFailed(f"undo works on deployments, not on {resource.plural}")
        deployment = await self.client.get(resource, name, namespace=namespace)
        replica_sets = await self.client.list(kinds.REPLICA_SETS, namespace=namespace)
        template, number = rollouts.earlier_template(deployment, replica_sets.items, revision)
        change = [{"op": "replace", "path": "/spec/template", "value": template}]
        await self.client.patch(resource, name, change, namespace=namespace, kind=PatchType.JSON)
        return f"{of} rolled back to revision {number}"

    async def rollout(self, of: str, *, within_s: float, namespace: str = "default") -> str:
        resource, name = reference.parse(self._registry, of)

        async def look() -> tuple[bool, str]:
            obj = await self.client.get(resource, name, namespace=namespace)
            return rollouts.progress(obj)

        return await self._until(look, within_s)

    # --- machines

    async def node(self, word: str) -> str:
        """The node's name; a number counts the sorted names from 1."""
        names = await self.faults.nodes()
        if word in names:
            return word
        if word.isdecimal() and 1 <= int(word) <= len(names):
            return names[int(word) - 1]
        raise StepFailed(f"there is no node {word!r}; the nodes are {', '.join(names)}")

    async def kill(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.kill_node(name)
        return f"killed {name}"

    async def stop(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.stop_node(name)
        return f"stopped {name}"

    async def start(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.start_node(name)
        return f"started {name}"

    async def freeze(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.freeze_node(name)
        return f"froze {name}"

    async def thaw(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.thaw_node(name)
        return f"thawed {name}"

    async def partition(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.partition_node(name)
        return f"cut {name} off from the broker"

    async def heal(self, node: str) -> str:
        name = await self.node(node)
        await self.faults.heal_node(name)
        return f"reconnected {name}"

    async def bounce(self, process: CentralProcess) -> str:
        await self.faults.bounce(process)
        return f"killed and restarted the {process}"

    async def _change_behaviour(
        self, pods: str, change: dict[str, dict[str, Any]], count: int, namespace: str
    ) -> str:
        """Changes the behaviour annotation of the first `count` matching pods (by name)."""
        found = await self._patiently(
            lambda: self.client.list(kinds.PODS, namespace=namespace, label_selector=pods)
        )
        chosen = [pod for pod in found.items if not pod["metadata"].get("deletionTimestamp")][:count]
        if not chosen:
            raise StepFailed(f"no pod matches {pods!r}")
        for pod in chosen:
            annotation = behaviours.merged(pod, change)
            body = {"metadata": {"annotations": {ANNOTATION: annotation}}}
            await self.client.patch(kinds.PODS, pod["metadata"]["name"], body, namespace=namespace)
        return "changed " + ", ".join(pod["metadata"]["name"] for pod in chosen)

    async def drain(self, node: str, *, within_s: float) -> str:
        """Cordons the node and evicts its pods, except those of DaemonSets; returns once they are gone."""
        name = await self.node(node)
        await self._merge(f"node/{name}", "", {"spec": {"unschedulable": True}})

        async def look() -> tuple[bool, str]:
            found = await self.client.list(kinds.PODS, field_selector=f"spec.nodeName={name}")
            left = [pod for pod in found.items if (controller_of(pod) or {}).get("kind") != "DaemonSet"]
            for pod in left:
                if "deletionTimestamp" not in pod["metadata"]:
                    await self._evict(pod)
            return not left, f"{len(left)} pod(s) left on {name}"

        await self._until(look, within_s)
        return f"drained {name}"

    async def _evict(self, pod: Object) -> None:
        meta = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        try:
            await self.client.create(
                kinds.PODS, body, namespace=meta["namespace"], subresource="eviction", name=meta["name"]
            )
        except (NotFound, TooManyRequests):
            return  # gone by itself, or its disruption budget has to recover first

    # --- expectations

    async def report(self, wanted: steps.Report) -> str:
        """Ends the load. Raises StepFailed where its users saw other than wanted."""
        outcome = await self._traffic.end(wanted.load)
        wrong = load.complaints(outcome, wanted)
        if wrong:
            raise StepFailed(f"{', '.join(wrong)}; {outcome}")
        return str(outcome)

    async def expect(self, wanted: steps.Expect) -> str:
        """Waits for what is wanted; returns what was seen. Raises StepFailed after `within`."""
        resolved = await self._resolve(wanted)
        return await self._until(lambda: self._observer.look(resolved), wanted.within)

    async def guard(self, guard: steps.Guard) -> str:
        """Looks at `holds` at every poll from now on; a violation fails the scenario at the next step."""
        resolved = await self._resolve(guard.holds)
        ok, seen = await self._observer.look(resolved)
        if not ok:
            raise StepFailed(f"guard {guard.name!r} does not hold even now: {seen}")

        async def violated() -> str | None:
            holds, now = await self._observer.look(resolved)
            return None if holds else f"guard {guard.name!r} was violated: {now}"

        self._guards[guard.name] = violated
        return f"guarding: {seen}"

    async def violation(self) -> str | None:
        """What a guard found wrong just now, if anything; unreachable counts as nothing seen."""
        for name in list(self._guards):
            try:
                found = await self._guards[name]()
            except (*UNREACHABLE, ApiError):
                continue
            if found:
                return found
        return None

    async def _resolve(self, wanted: steps.Expect) -> steps.Expect:
        """Node numbers turned into names."""

        async def named(word: str) -> str:
            return await self.node(word) if word else ""

        return dataclasses.replace(
            wanted,
            node=await named(wanted.node),
            on=await named(wanted.on),
            not_on=await named(wanted.not_on),
        )

    async def _until(self, look: Callable[[], Awaitable[tuple[bool, str]]], within_s: float) -> str:
        deadline = self._clock.monotonic() + within_s
        seen = "nothing"
        while True:
            try:
                ok, seen = await look()
                if ok:
                    return seen
            except NotFound as error:
                seen = error.message
            except UNREACHABLE as error:
                seen = f"the API could not be reached ({error or type(error).__name__})"
            if self._clock.monotonic() >= deadline:
                raise StepFailed(seen)
            await asyncio.sleep(POLL_S)

    async def _patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Repeats an idempotent call while the API can't be reached."""
        deadline = self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                return await call()
            except UNREACHABLE as error:
                if self._clock.monotonic() >= deadline:
                    raise StepFailed(f"the API can't be reached: {error}") from error
            await asyncio.sleep(POLL_S)

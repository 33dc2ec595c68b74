"""HorizontalPodAutoscaler: every 15 seconds, as many replicas as the metrics ask for, within bounds.

`measure` and `replicas` turn metrics into a wish, `behaviour` bounds it; here the target is scaled through
its scale subresource and the status is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from cluster.api import kinds
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Key, Object, key_of, timestamp
from cluster.api.resource import Resource
from cluster.api.selectors import LabelSelector, parse_labels
from cluster.controllers.autoscaler.behaviour import Memory, forget_old, limit, rules_of
from cluster.controllers.autoscaler.measure import (
    FAILED_REASONS,
    Measured,
    Target,
    amount,
    failure_of,
    measure,
)
from cluster.controllers.autoscaler.replicas import NoRecommendation, Tolerances
from cluster.reconcile.conditions import find
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

NAME = "horizontal-pod-autoscaler"
PERIOD_S = 15.0
TOLERANCE = Fraction(1, 10)


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    autoscalers = world.informers.of(kinds.HORIZONTAL_POD_AUTOSCALERS)
    return Controller(
        Autoscalers(world),
        queue,
        watches=[(autoscalers, _enqueue_changed(queue))],
        needs=[world.informers.of(kinds.PODS)],
    )


def _enqueue_changed(queue: WorkQueue[Key]) -> Handler:
    """New and changed ones at once; a status write of our own waits for the period."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        obj = new if new is not None else old
        assert obj is not None
        key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
        if old is None or new is None or old["spec"] != new["spec"]:
            queue.add(key, cause)

    return handler


class Look:
    """One autoscaler during one reconcile: its status as it grows."""

    def __init__(self, autoscaler: Object, now: datetime) -> None:
        self.autoscaler = autoscaler
        self._now = now
        self.status: Object = dict(autoscaler.get("status") or {})
        self.status["observedGeneration"] = autoscaler["metadata"].get("generation", 0)
        self.conditions: list[Object] = list(self.status.get("conditions") or ())

    def condition(self, type: str, status: str, reason: str, message: str) -> None:
        present = find(self.conditions, type)
        changed = present is None or present["status"] != status
        at = timestamp(self._now) if changed or present is None else present["lastTransitionTime"]
        entry = {
            "type": type,
            "status": status,
            "lastTransitionTime": at,
            "reason": reason,
            "message": message,
        }
        if present is None:
            self.conditions.append(entry)
        else:
            self.conditions[self.conditions.index(present)] = entry

    def finished(self) -> Object:
        return self.autoscaler | {"status": self.status | {"conditions": self.conditions}}


class Autoscalers:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._registry = world.registry
        self._metrics = world.metrics
        self._autoscalers = world.informers.of(kinds.HORIZONTAL_POD_AUTOSCALERS)
        self._pods = world.informers.of(kinds.PODS)
        self._memories: dict[Key, Memory] = {}
        self._selectors: dict[Key, LabelSelector] = {}
        """Of the pods that each autoscaler's target has, as last seen."""

    async def reconcile(self, key: Key) -> float | None:
        autoscaler = self._autoscalers.get(key)
        if autoscaler is None:
            self._memories.pop(key, None)
            self._selectors.pop(key, None)
            return None
        look = Look(autoscaler, self._clock.now())
        await self._look(look, self._memories.setdefault(key, Memory()))
        finished = look.finished()
        if finished["status"] != autoscaler.get("status"):
            await self._client.update(kinds.HORIZONTAL_POD_AUTOSCALERS, finished, subresource="status")
        return PERIOD_S

    async def _look(self, look: Look, memory: Memory) -> None:
        found = await self._scale(look)
        if found is None:
            return
        resource, scale = found
        current = scale["spec"].get("replicas", 0)
        wanted, why = await self._wanted(look, memory, scale, current)
        look.status["currentReplicas"] = current
        if wanted is None:
            look.status.setdefault("desiredReplicas", 0)
            return
        look.status["desiredReplicas"] = wanted
        if wanted != current:
            await self._rescale(look, memory, resource, scale, wanted, why)

    async def _scale(self, look: Look) -> tuple[Resource, Object] | None:
        reference = look.autoscaler["spec"]["scaleTargetRef"]
        resource = self._registry.of_kind(reference.get("apiVersion", "v1"), reference["kind"])
        try:
            if resource is None:
                raise NotFound(f'no matches for kind "{reference["kind"]}"')
            namespace = look.autoscaler["metadata"]["namespace"]
            scale = await self._client.get(
                resource, reference["name"], namespace=namespace, subresource="scale"
            )
        except ApiError as error:
            message = f"the HPA controller was unable to get the target's current scale: {error.message}"
            self._recorder.event(look.autoscaler, "Warning", "FailedGetScale", error.message)
            look.condition("AbleToScale", "False", "FailedGetScale", message)
            return None
        message = "the HPA controller was able to get the target's current scale"
        look.condition("AbleToScale", "True", "SucceededGetScale", message)
        return resource, scale

    async def _wanted(
        self, look: Look, memory: Memory, scale: Object, current: int
    ) -> tuple[int | None, str]:
        """(replicas, why); None where no metric could say."""
        spec = look.autoscaler["spec"]
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        came_from_us = is_scaled_to_zero(look.autoscaler)
        if current == 0 and not (came_from_us and (least != 0 or measures_without_pods(look.autoscaler))):
            message = "scaling is disabled since the replica count of the target is zero"
            look.condition("ScalingActive", "False", "ScalingDisabled", message)
            return 0, ""
        if current > most:
            return most, "Current number of replicas above Spec.MaxReplicas"
        if 0 < current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        selector = self._selector(look, scale)
        best = None if selector is None else await self._measure(look, selector, current)
        if best is None:
            return None, ""
        why = ""
        if best.replicas > current:
            why = f"{best.name} above target"
        elif best.replicas < current:
            why = "All metrics below target"
        now_s = self._clock.monotonic()
        limited = limit(look.autoscaler, memory, current, best.replicas, now_s)
        look.condition("AbleToScale", "True", *limited.able)
        look.condition("ScalingLimited", *limited.limited)
        return (max(limited.replicas, least) if current == 0 else limited.replicas), why

    def _selector(self, look: Look, scale: Object) -> LabelSelector | None:
        """Whose use is measured; None, with the condition that says why, where that is not clear."""
        text = scale.get("status", {}).get("selector", "")
        if not text:
            self._recorder.event(look.autoscaler, "Warning", "SelectorRequired", "selector is required")
            message = "the HPA target's scale is missing a selector"
            look.condition("ScalingActive", "False", "InvalidSelector", message)
            return None
        selector = parse_labels(text)
        key = key_of(look.autoscaler)
        self._selectors[key] = selector
        rivals = self._rivals(key, selector)
        if len(rivals) > 1:
            named = " ".join(f"{{{rival.name} {rival.namespace}}}" for rival in rivals)
            message = f"pods by selector {text} are controlled by multiple HPAs: [{named}]"
            self._recorder.event(look.autoscaler, "Warning", "AmbiguousSelector", message)
            look.condition("ScalingActive", "False", "AmbiguousSelector", message)
            return None
        return selector

    def _rivals(self, key: Key, selector: LabelSelector) -> list[Key]:
        """The autoscalers that act on any of these pods, this one included."""
        pods = [pod for pod in self._pods.list(key.namespace) if selector.matches_object(pod)]
        return [
            other
            for other, theirs in sorted(self._selectors.items())
            if other.namespace == key.namespace and any(map(theirs.matches_object, pods))
        ]

    async def _measure(self, look: Look, selector: LabelSelector, current: int) -> Measured | None:
        """The metric that asks for most. If one fails, only growth is believed."""
        target = self._target(look.autoscaler, selector, current)
        measured: list[Measured] = []
        failure: tuple[str, str, str] | None = None
        metrics: Sequence[Object] = look.autoscaler["spec"].get("metrics") or ()
        for spec in metrics:
            try:
                measured.append(await measure(self._metrics, target, spec))
            except NoRecommendation as error:
                reason = FAILED_REASONS.get(spec["type"], "InvalidMetricSourceType")
                failure = failure or (reason, str(error), failure_of(spec, str(error)))
                self._recorder.event(look.autoscaler, "Warning", reason, str(error))
        look.status.pop("currentMetrics", None)
        if measured:
            look.status["currentMetrics"] = [each.current for each in measured]
        best = max(measured, key=lambda each: each.replicas, default=None)
        if failure is not None and (best is None or best.replicas < current):
            message = f"the HPA was unable to compute the replica count: {failure[1]}"
            look.condition("ScalingActive", "False", failure[0], message)
            invalid = len(metrics) - len(measured)
            text = f"invalid metrics ({invalid} invalid out of {len(metrics)}), first error is: {failure[2]}"
            self._recorder.event(look.autoscaler, "Warning", "FailedComputeMetricsReplicas", text)
            return None
        if best is not None:
            message = f"the HPA was able to successfully calculate a replica count from {best.name}"
            look.condition("ScalingActive", "True", "ValidMetricFound", message)
        return best

    def _target(self, autoscaler: Object, selector: LabelSelector, current: int) -> Target:
        namespace = autoscaler["metadata"]["namespace"]
        return Target(
            namespace=namespace,
            replicas=current,
            pods=[pod for pod in self._pods.list(namespace) if selector.matches_object(pod)],
            now=self._clock.now(),
            tolerances=Tolerances(
                _tolerance(rules_of(autoscaler, "scaleUp")), _tolerance(rules_of(autoscaler, "scaleDown"))
            ),
        )

    def _note_zero(self, look: Look, before: int, wanted: int) -> None:
        """Tells a target that was scaled to zero from one that somebody paused."""
        least = look.autoscaler["spec"].get("minReplicas", 1)
        if before > 0 and wanted == 0 and least == 0 and measures_without_pods(look.autoscaler):
            message = "the HPA controller scaled the workload to zero"
            look.condition("ScaledToZero", "True", "ScaledToZero", message)
        else:
            message = "the HPA controller did not scale the workload to zero"
            look.condition("ScaledToZero", "False", "NotScaledToZero", message)

    async def _rescale(
        self, look: Look, memory: Memory, resource: Resource, scale: Object, wanted: int, why: str
    ) -> None:
        before = scale["spec"].get("replicas", 0)
        body = scale | {"spec": scale["spec"] | {"replicas": wanted}}
        try:
            await self._client.update(resource, body, subresource="scale")
        except ApiError as error:
            text = f"New size: {wanted}; reason: {why}; error: {error.message}"
            self._recorder.event(look.autoscaler, "Warning", "FailedRescale", text)
            message = f"the HPA controller was unable to update the target scale: {error.message}"
            look.condition("AbleToScale", "False", "FailedUpdateScale", message)
            look.status["desiredReplicas"] = before
            return
        message = f"the HPA controller was able to update the target scale to {wanted}"
        look.condition("AbleToScale", "True", "SucceededRescale", message)
        self._recorder.event(
            look.autoscaler, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}"
        )
        look.status["lastScaleTime"] = timestamp(self._clock.now())
        self._note_zero(look, before, wanted)
        now_s = self._clock.monotonic()
        forget_old(memory, look.autoscaler, now_s)
        memory.note_scaled(before, wanted, now_s)


def measures_without_pods(autoscaler: Object) -> bool:
    """Whether a metric has a value even where there is no pod."""
    return any(metric["type"] in ("Object", "External") for metric in autoscaler["spec"].get("metrics") or ())


def is_scaled_to_zero(autoscaler: Object) -> bool:
    """Whether it was the autoscaler that left no replica; a target at zero otherwise is paused by hand."""
    condition = find(autoscaler.get("status", {}).get("conditions") or (), "ScaledToZero")
    return condition is not None and condition["status"] == "True"


def _tolerance(rules: Object) -> Fraction:
    return amount(rules["tolerance"]) if rules.get("tolerance") is not None else TOLERANCE

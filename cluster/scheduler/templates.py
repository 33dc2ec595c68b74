"""Pods that look the same, placed in a time that does not grow with the number of nodes.

Most pods come in hundreds that ask for the same. For such a pod without rules about other pods, whether a
node is feasible and what it scores depends on that node alone, except for the default spreading, which
needs only two counts more: matching pods on the node and in its zone. So for each template the feasible
nodes are kept in buckets of equal standing (zone, matching pods, own score, images); placing a pod scores
the buckets, of which there are few, and takes the first node of the best. A placement changes one node, and
only changed nodes are looked at again, by the snapshot's list of changes.

The result is what `placement` would give if it scored all feasible nodes instead of a sample. Pods that
don't qualify (`qualifies`) go the general way.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from cluster.api.selectors import LabelSelector
from cluster.scheduler.counts import PodCounter
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.placement import prepare, refusal_of
from cluster.scheduler.plugins import MAX_SCORE, Check
from cluster.scheduler.plugins.image_locality import image_score, normalised_name
from cluster.scheduler.plugins.resources import balanced
from cluster.scheduler.plugins.topology_spread import DEFAULTS, HOSTNAME, ZONE, SelectorOf
from cluster.scheduler.plugins.volume_restrictions import names_disks
from cluster.scheduler.plugins.volumes import claim_names
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.profile import Profile
from cluster.scheduler.snapshot import Snapshot

KEPT = 64
"""Templates remembered; the one not used for longest is forgotten."""
_SKEWS = dict(DEFAULTS)


class Standing(NamedTuple):
    """What makes nodes equal for a template."""

    zone: str | None
    named: bool
    """Has a hostname label: takes part in spreading over hosts."""
    matching: int
    score: int
    images: tuple[int, ...]


class Template:
    def __init__(self, pod: PodInfo, checks: list[Check], fit: Callable[[PodInfo, NodeInfo], int]) -> None:
        self._pod = pod
        self._fit = fit
        self._checks = checks
        self._counter: PodCounter | None = None
        self._images = tuple(normalised_name(image) for image in pod.images)
        self._where: dict[str, Standing] = {}
        self._buckets: dict[Standing, dict[str, None]] = {}
        self._zones: dict[str, int] = {}
        """Zone → feasible nodes."""
        self.seen = 0
        self.era = -1

    def catch_up(self, snapshot: Snapshot, counter: PodCounter | None, weights: dict[str, int]) -> None:
        """Looks again at the nodes that changed since last time; at all of them if the count of matching
        pods was started anew."""
        if self.era != snapshot.era or self._counter is not counter:
            self._counter = counter
            self._where.clear()
            self._buckets.clear()
            self._zones.clear()
            names = [node.name for node in snapshot.ordered()]
            self.era = snapshot.era
        else:
            names = list(dict.fromkeys(snapshot.changed[self.seen :]))
        self.seen = len(snapshot.changed)
        for name in names:
            self._leave(name)
            node = snapshot.nodes.get(name)
            if node is not None and node.object is not None and refusal_of(node, self._checks) is None:
                self._enter(name, self._standing(node, weights))

    def best(self, snapshot: Snapshot, weights: dict[str, int]) -> str:
        """The node to take; empty where none is feasible."""
        if not self._buckets:
            return ""
        standings = list(self._buckets)
        totals = [standing.score for standing in standings]
        if self._counter is not None:
            weight = weights.get("PodTopologySpread", 0)
            for i, score in enumerate(self._spread(standings, self._counter)):
                totals[i] += weight * score
        if any(any(standing.images) for standing in standings):
            count = len(snapshot.ordered())
            share = [snapshot.image_nodes.get(image, 0) / count for image in self._images]
            for i, standing in enumerate(standings):
                # a node without any image has an empty standing: it weighs nothing
                weighed = sum(int(size * part) for size, part in zip(standing.images, share, strict=False))
                totals[i] += weights.get("ImageLocality", 0) * image_score(weighed, len(self._images))
        return next(iter(self._buckets[standings[totals.index(max(totals))]]))

    @property
    def feasible(self) -> int:
        return len(self._where)

    def _spread(self, standings: list[Standing], counter: PodCounter) -> list[int]:
        host_weight = math.log(len(self._where) + 2)
        zone_weight = math.log(len(self._zones) + 2)
        host_extra, zone_extra = _SKEWS[HOSTNAME] - 1, _SKEWS[ZONE] - 1
        domains = counter.by_domain(ZONE)
        raw: list[int] = []
        for standing in standings:
            score = 0.0
            if standing.zone is not None:
                score += domains.get(standing.zone, 0) * zone_weight + zone_extra
            if standing.named:
                score += standing.matching * host_weight + host_extra
            raw.append(round(score))
        low, high = min(raw), max(raw)
        if high == 0:
            return [MAX_SCORE] * len(raw)
        return [MAX_SCORE * (high + low - score) // high for score in raw]

    def _standing(self, node: NodeInfo, weights: dict[str, int]) -> Standing:
        pod = self._pod
        score = weights.get("NodeResourcesFit", 0) * self._fit(pod, node)
        if pod.requests.get("cpu") or pod.requests.get("memory"):
            score += weights.get("NodeResourcesBalancedAllocation", 0) * balanced(pod, node)
        return Standing(
            zone=node.labels.get(ZONE),
            named=HOSTNAME in node.labels,
            matching=0 if self._counter is None else self._counter.per_node.get(node.name, 0),
            score=score,
            images=tuple(node.images.get(image, 0) for image in self._images) if node.images else (),
        )

    def _enter(self, name: str, standing: Standing) -> None:
        self._where[name] = standing
        self._buckets.setdefault(standing, {})[name] = None
        if standing.zone is not None:
            self._zones[standing.zone] = self._zones.get(standing.zone, 0) + 1

    def _leave(self, name: str) -> None:
        standing = self._where.pop(name, None)
        if standing is None:
            return
        bucket = self._buckets[standing]
        del bucket[name]
        if not bucket:
            del self._buckets[standing]
        if standing.zone is not None:
            self._zones[standing.zone] -= 1
            if not self._zones[standing.zone]:
                del self._zones[standing.zone]


class Templates:
    def __init__(self, snapshot: Snapshot, profile: Profile, default_selector: SelectorOf) -> None:
        self._snapshot = snapshot
        self._profile = profile
        self._default_selector = default_selector
        self._weights = {plugin.name: weight for plugin, weight in profile.scores}
        self._known: OrderedDict[tuple[object, ...], Template] = OrderedDict()

    def place(self, pod: PodInfo) -> str:
        """The node for the pod; empty where it fits nowhere or has to go the general way."""
        if not self._qualifies(pod):
            return ""
        selector = self._default_selector(pod)
        template = self._template(pod, selector)
        counter = None
        if selector is not None:
            counter = self._snapshot.counters.of_selector(pod.namespace, selector)
        template.catch_up(self._snapshot, counter, self._weights)
        return template.best(self._snapshot, self._weights)

    def _qualifies(self, pod: PodInfo) -> bool:
        snapshot = self._snapshot
        if (
            not self._profile.arguments.plain
            or pod.has_affinity
            or pod.spread
            or pod.ports
            or pod.required_node is not None
            or pod.preferred_nodes
            or pod.node_name
            or snapshot.prefer_no_schedule
            or snapshot.nominated
        ):
            return False
        if pod.volumes and (claim_names(pod) or names_disks(pod)):
            return False
        if pod.object["spec"].get("resourceClaims"):
            return False
        labels_of = snapshot.namespace_labels
        return not any(
            term.about(pod.namespace, pod.labels, labels_of) for term in snapshot.anti_affinity
        ) and not any(term.about(pod.namespace, pod.labels, labels_of) for term, _ in snapshot.preferences)

    def _template(self, pod: PodInfo, selector: LabelSelector | None) -> Template:
        shape = (
            pod.namespace if selector is not None else "",
            selector,
            tuple(pod.requests.items()),
            pod.score_requests,
            repr(pod.tolerations),
            pod.images,
        )
        found = self._known.get(shape)
        if found is None:
            checks = prepare(pod, self._snapshot, self._profile)
            assert isinstance(checks, list)
            found = self._known[shape] = Template(pod, checks, self._profile.fit)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(shape)
        return found

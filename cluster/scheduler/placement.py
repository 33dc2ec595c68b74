"""Placing one pod: the pure heart of the scheduler.

Filters are asked node by node, from where the last search stopped, until enough feasible nodes are found;
those are scored and the best one wins. Of several equal ones the first wins: the moving start of the
search spreads ties, and the same state gives the same decision.

Divergence: Kubernetes draws among equal nodes at random.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from cluster.scheduler.decision import Decision, Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check, Within
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.profile import Profile
from cluster.scheduler.snapshot import Snapshot

MIN_FEASIBLE = 100
"""Below this many nodes all are looked at."""


def schedule_one(pod: PodInfo, snapshot: Snapshot, profile: Profile, *, explain: bool = False) -> Decision:
    """Where the pod goes, and why not elsewhere. Changes nothing but the start of the next search.

    Pods that wait for room on a node count there, for pods that are not more important.
    """
    nodes = snapshot.ordered()
    if not nodes:
        return Decision()
    if not snapshot.nominated:
        return _schedule(pod, snapshot, profile, nodes, explain)
    reserved = [
        other.placed_on(node)
        for other, node in snapshot.nominated.values()
        if other.priority >= pod.priority and other.uid != pod.uid and node in snapshot.nodes
    ]
    for other in reserved:
        snapshot.lower(other)
    try:
        return _schedule(pod, snapshot, profile, nodes, explain)
    finally:
        for other in reserved:
            snapshot.lift(other)


def _schedule(
    pod: PodInfo, snapshot: Snapshot, profile: Profile, nodes: list[NodeInfo], explain: bool
) -> Decision:
    checks = prepare(pod, snapshot, profile)
    if isinstance(checks, Refusal):
        return Decision(nodes_total=len(nodes), refusal=checks)
    candidates = _candidates(pod, snapshot, nodes)
    enough = len(nodes) if explain else _enough(len(candidates), profile.percentage_of_nodes)
    refusals: dict[str, Refusal] = {}
    within = next((check for check in checks if isinstance(check, Within)), None)
    feasible: list[NodeInfo] = []
    if within is not None and candidates is nodes and not explain:
        feasible, looked_at = _search_within(within, nodes, checks, enough, snapshot)
    if not feasible:
        feasible, refusals, looked_at = _search(candidates, checks, enough, snapshot.start)
    if candidates is nodes:
        snapshot.start = (snapshot.start + looked_at) % len(nodes)
    decision = Decision(nodes_total=len(nodes), refusals=refusals, feasible=len(feasible))
    _name_missing(pod, nodes, candidates, refusals)
    if not feasible:
        return decision
    if len(feasible) == 1 and not explain:
        decision.node = feasible[0].name
        return decision
    totals, table = _scores(pod, snapshot, profile, feasible, explain)
    decision.node = feasible[totals.index(max(totals))].name
    decision.scores = table
    return decision


def prepare(pod: PodInfo, snapshot: Snapshot, profile: Profile) -> list[Check] | Refusal:
    """The checks that this pod needs, in the profile's order; a Refusal where one plugin refuses it all."""
    checks: list[Check] = []
    for plugin in profile.filters:
        check = plugin.filter_for(pod, snapshot)
        if isinstance(check, Refusal):
            return check
        if check is not None:
            checks.append(check)
    return checks


def refusal_of(node: NodeInfo, checks: Sequence[Check]) -> Refusal | None:
    for check in checks:
        refusal = check(node)
        if refusal is not None:
            return refusal
    return None


def _candidates(pod: PodInfo, snapshot: Snapshot, nodes: list[NodeInfo]) -> list[NodeInfo]:
    """All nodes, or the few that the pod is pinned to (DaemonSet pods)."""
    if pod.pinned is None:
        return nodes
    pinned = [snapshot.nodes[name] for name in sorted(pod.pinned) if name in snapshot.nodes]
    return [node for node in pinned if node.object is not None]


def _name_missing(
    pod: PodInfo, nodes: list[NodeInfo], candidates: list[NodeInfo], refusals: dict[str, Refusal]
) -> None:
    """Nodes left out by a pin are refused by NodeAffinity, as the message counts them."""
    if candidates is nodes or len(refusals) < len(candidates):
        return
    refusal = Refusal("NodeAffinity", ("node(s) didn't match Pod's node affinity/selector",), False)
    chosen = pod.pinned or frozenset()
    refusals.update({node.name: refusal for node in nodes if node.name not in chosen})


def _enough(count: int, percentage: int) -> int:
    """How many feasible nodes end the search: all of a small cluster, 50 % falling to 5 % of a big one."""
    if count < MIN_FEASIBLE or percentage >= 100:
        return count
    share = percentage or max(50 - count // 125, 5)
    return max(count * share // 100, MIN_FEASIBLE)


def _search(
    nodes: list[NodeInfo], checks: list[Check], enough: int, start: int
) -> tuple[list[NodeInfo], dict[str, Refusal], int]:
    feasible: list[NodeInfo] = []
    refusals: dict[str, Refusal] = {}
    count = len(nodes)
    for i in range(count):
        node = nodes[(start + i) % count]
        for check in checks:
            refusal = check(node)
            if refusal is not None:
                refusals[node.name] = refusal
                break
        else:
            feasible.append(node)
            if len(feasible) >= enough:
                break
    return feasible, refusals, len(feasible) + len(refusals)


def _search_within(
    within: Within, nodes: list[NodeInfo], checks: list[Check], enough: int, snapshot: Snapshot
) -> tuple[list[NodeInfo], int]:
    """What `_search` finds, without a look at nodes that one of the checks refuses by their label. Why the
    others are refused is not found out: that is only wanted where no node is feasible."""
    by_value, start = snapshot.positions(within.key), snapshot.start
    positions = sorted(position for value in within.values for position in by_value.get(value, ()))
    first = bisect_left(positions, start)
    feasible: list[NodeInfo] = []
    for position in positions[first:] + positions[:first]:
        node = nodes[position]
        if refusal_of(node, checks) is None:
            feasible.append(node)
            if len(feasible) >= enough:
                return feasible, (position - start) % len(nodes) + 1
    return feasible, len(nodes)


def _scores(
    pod: PodInfo, snapshot: Snapshot, profile: Profile, nodes: list[NodeInfo], explain: bool
) -> tuple[list[int], dict[str, dict[str, int]]]:
    totals = [0] * len(nodes)
    table: dict[str, dict[str, int]] = {node.name: {} for node in nodes} if explain else {}
    for plugin, weight in profile.scores:
        scores = plugin.scores_for(pod, snapshot, nodes)
        if scores is None:
            continue
        totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
        if explain:
            for node, score in zip(nodes, scores, strict=True):
                table[node.name][plugin.name] = weight * score
    return totals, table

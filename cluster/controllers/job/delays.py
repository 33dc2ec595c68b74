"""Back-off per index: each index of a Job with backoffLimitPerIndex waits by itself.

How often an index has failed is written on its pods. So the last failed pod of an index keeps its finalizer,
and stays uncounted, until a replacement carries the count on; without this, somebody who deletes failed
pods would reset it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from cluster.api.objects import Object
from cluster.controllers.job import indexes, policies
from cluster.controllers.job.plan import backoff_left_s
from cluster.controllers.job.tally import Tally, finished_at


def has_limit_per_index(job: Object) -> bool:
    return job["spec"].get("backoffLimitPerIndex") is not None


def last_failures(job: Object, counted: Tally) -> dict[int, Object]:
    """Index → the failed pod that says how often it has failed, of indexes that wait for a replacement."""
    if not has_limit_per_index(job):
        return {}
    done: dict[int | None, None] = {indexes.index_of(pod): None for pod in counted.active}
    for index in (*counted.succeeded_indexes, *counted.failed_indexes):
        done[index] = None
    found: dict[int, Object] = {}
    for pod in (*counted.new_failed, *counted.ignored):
        its = indexes.index_of(pod)
        if its is None or its in done:
            continue
        known = found.get(its)
        if known is None or _rank(known) <= _rank(pod):
            found[its] = pod
    return found


def _rank(pod: Object) -> tuple[int, datetime]:
    return indexes.failures_of_all_kinds(pod), finished_at(pod)


def split(
    wanted: Sequence[int], failures: Mapping[int, Object], now: datetime
) -> tuple[list[int], float | None]:
    """The indexes that may start now, and the seconds until the next of the others may."""
    ready: list[int] = []
    soonest: float | None = None
    for index in wanted:
        pod = failures.get(index)
        left_s = 0.0
        if pod is not None:
            left_s = backoff_left_s(indexes.failures_of_all_kinds(pod) + 1, finished_at(pod), now)
        if left_s <= 0:
            ready.append(index)
        else:
            soonest = left_s if soonest is None else min(soonest, left_s)
    return ready, soonest


def counts_for_replacement(job: Object, replaced: Object | None) -> tuple[int, int]:
    """(failures, ignored failures) that the replacement's annotations say."""
    if replaced is None:
        return 0, 0
    failed, ignored = indexes.failure_count(replaced), indexes.ignored_failure_count(replaced)
    if policies.judge(job, replaced).action == "Ignore":
        return failed, ignored + 1
    return failed + 1, ignored

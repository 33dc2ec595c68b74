"""Completion indexes of Indexed Jobs, and their compact text: `0,2-5,7`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cluster.api.objects import Object

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURE_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"


def parse(text: str) -> dict[int, None]:
    """The indexes in order. An ordered set: a dict without values. What is no interval is ignored."""
    found: dict[int, None] = {}
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    return found


def text_of(indexes: Iterable[int]) -> str:
    """Runs of three and more are written with a dash; two neighbours with a comma."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def index_of(pod: Object) -> int | None:
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def failure_count(pod: Object) -> int:
    """How often the pod's index had failed when the pod was made."""
    return _count(pod, FAILURE_COUNT)


def ignored_failure_count(pod: Object) -> int:
    """As `failure_count`, of failures that the failure policy ignores."""
    return _count(pod, IGNORED_FAILURE_COUNT)


def failures_of_all_kinds(pod: Object) -> int:
    return failure_count(pod) + ignored_failure_count(pod)


def _count(pod: Object, annotation: str) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdecimal() else 0


def missing(count: int, completions: int, *taken: Collection[int]) -> list[int]:
    """The first `count` indexes that are in none of `taken`."""
    found: list[int] = []
    for index in range(completions):
        if len(found) >= count:
            break
        if not any(index in each for each in taken):
            found.append(index)
    return found

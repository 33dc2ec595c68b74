"""Counters of the API server in the Prometheus text format.

Recording a request costs one dictionary look-up and a few additions; everything that can be read from the
state of the process (objects, watchers, queues) is a gauge, asked for only when somebody reads /metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

BUCKETS_S = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = tuple[tuple[str, str], ...]
Sample: TypeAlias = tuple[Labels, float]
Gauge: TypeAlias = Callable[[], Iterable[Sample]]

RequestKey: TypeAlias = tuple[str, str, str, str, str, str, str, int]
"""verb, dry run, group, version, resource, subresource, scope, code"""

_KEY_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "code")
_COMPONENT = ("component", "apiserver")


_TOO_MANY = 429
_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS_S), "+Inf")


class _Histogram:
    __slots__ = ("buckets", "count", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.buckets = [0] * (len(BUCKETS_S) + 1)


class Metrics:
    def __init__(self) -> None:
        self._requests: dict[RequestKey, _Histogram] = {}
        self._gauges: dict[str, tuple[str, str, Gauge]] = {}

    def observe(self, key: RequestKey, duration_s: float) -> None:
        histogram = self._requests.get(key)
        if histogram is None:
            histogram = self._requests[key] = _Histogram()
        histogram.count += 1
        histogram.sum += duration_s
        histogram.buckets[bisect_left(BUCKETS_S, duration_s)] += 1

    def gauge(self, name: str, describe: str, read: Gauge, *, kind: str = "gauge") -> None:
        """Adds a metric whose samples `read` gives when they are asked for."""
        self._gauges[name] = (describe, kind, read)

    def text(self) -> str:
        lines: list[str] = []
        self._add_requests(lines)
        for name, (describe, kind, read) in self._gauges.items():
            lines += (f"# HELP {name} {describe}", f"# TYPE {name} {kind}")
            lines += (f"{name}{_labels(labels)} {_number(value)}" for labels, value in read())
        return "\n".join(lines) + "\n"

    def _add_requests(self, lines: list[str]) -> None:
        total, duration = "apiserver_request_total", "apiserver_request_duration_seconds"
        ended = "apiserver_request_terminations_total"
        lines += (f"# HELP {total} Requests by verb, resource and code.", f"# TYPE {total} counter")
        lines += self._counted(total, self._requests)
        refused = {key: histogram for key, histogram in self._requests.items() if key[-1] == _TOO_MANY}
        lines += (f"# HELP {ended} Requests refused in self-defence.", f"# TYPE {ended} counter")
        lines += self._counted(ended, refused)
        lines += (f"# HELP {duration} How long requests took.", f"# TYPE {duration} histogram")
        for parts, histogram in self._merged().items():
            labels = (_COMPONENT, *zip(_KEY_LABELS[:-1], parts, strict=True))
            cumulated = 0
            for bound, count in zip(_BOUNDS, histogram.buckets, strict=True):
                cumulated += count
                lines.append(f"{duration}_bucket{_labels((*labels, ('le', bound)))} {cumulated}")
            lines.append(f"{duration}_sum{_labels(labels)} {histogram.sum:g}")
            lines.append(f"{duration}_count{_labels(labels)} {histogram.count}")

    def _counted(self, name: str, requests: Mapping[RequestKey, _Histogram]) -> Iterator[str]:
        for key, histogram in requests.items():
            labels = (_COMPONENT, *zip(_KEY_LABELS, map(str, key), strict=True))
            yield f"{name}{_labels(labels)} {histogram.count}"

    def _merged(self) -> dict[tuple[str, ...], _Histogram]:
        """The histograms without the code, as Kubernetes has them."""
        merged: dict[tuple[str, ...], _Histogram] = {}
        for key, histogram in self._requests.items():
            target = merged.setdefault(key[:-1], _Histogram())
            target.count += histogram.count
            target.sum += histogram.sum
            target.buckets = [a + b for a, b in zip(target.buckets, histogram.buckets, strict=True)]
        return merged


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

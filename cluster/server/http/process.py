"""The metrics of the process itself, under the names that every Prometheus client library gives them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from broker.clock import Clock
from cluster.server.http.metrics import Metrics

_STATM = Path("/proc/self/statm")


def add_process_metrics(metrics: Metrics, clock: Clock) -> None:
    started = clock.now().timestamp()
    metrics.gauge("process_start_time_seconds", "When the process began.", lambda: [((), started)])
    metrics.gauge(
        "process_cpu_seconds_total",
        "Processor time spent.",
        lambda: [((), os.times().user + os.times().system)],
        kind="counter",
    )
    metrics.gauge("process_resident_memory_bytes", "Memory in use.", lambda: [((), _resident())])


def _resident() -> int:
    """The present size where the system tells it, else the largest so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

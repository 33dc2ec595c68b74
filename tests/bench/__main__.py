"""`make bench`: the figures of this machine beside the reference of the design (section 7).

`python -m tests.bench [--quick] [NAME …]`: `--quick` leaves out what takes minutes (a thousand nodes, the
scheduler on five thousand); NAMEs choose some of the measurements instead.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.bench import large, rates, scheduling, services, traffic, workloads


class Bar(NamedTuple):
    """What a figure is held against; empty where there is nothing."""

    goal: str = ""
    reference: str = ""
    """A real v1.20 control plane with fake kubelets on a 2-core machine (default client limits; lifted)."""


BARS: dict[str, Bar] = {
    "start-up, 3 nodes Ready [s]": Bar("≤ 2", "7.3"),
    "create [1/s]": Bar("≥ 1500", "1460"),
    "GET [1/s]": Bar("≥ 2500", "2500"),
    "LIST of 1000 pods [1/s]": Bar("≥ 210", "21"),
    "LIST of 1000 pods, gzip [1/s]": Bar("≥ 210"),
    "1000 replicas to Available [pods/s]": Bar("≥ 200", "19; 91"),
    "rolling update [pods/s]": Bar("≥ 150", "81"),
    "memory, 100 nodes with 1000 pods [MB]": Bar("≤ 400", "985"),
    "scheduler, 5000 pods on 1000 nodes [pods/s]": Bar("≥ 1000"),
    "scheduler, 5000 pods on 1000 nodes, spread and anti-affinity [pods/s]": Bar("≥ 300"),
    "10000 scheduled pods on 1000 nodes to Running [s]": Bar("≤ 60"),
    "10000 pinned pods on 1000 nodes to Running [s]": Bar("≤ 60", "60 (KWOK)"),
}
MEASUREMENTS: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
    "start": workloads.start_up,
    "requests": rates.request_rates,
    "rollouts": workloads.rollouts,
    "scheduling": scheduling.scheduling,
    "service": services.with_service,
    "endpoints": services.endpoint_news,
    "traffic": traffic.traffic,
    "growth": scheduling.growth,
    "large": large.thousand_nodes,
}
SLOW = ("growth", "large")


def _figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help=f"without {' and '.join(SLOW)}")
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, []], help="only these")
    given = parser.parse_args()
    names = given.names or [name for name in MEASUREMENTS if not (given.quick and name in SLOW)]
    print(f"{'figure':<75} {'kubemu':>9} {'goal':>9} {'reference':>10}")
    for name in names:
        for label, value in (await MEASUREMENTS[name]()).items():
            bar = BARS.get(label, Bar())
            print(f"{label:<75} {_figure(value):>9} {bar.goal:>9} {bar.reference:>10}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())

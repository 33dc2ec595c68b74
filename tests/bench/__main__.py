"""`make bench`: the figures of this machine beside the reference of the design (section 7).

`python -m tests.bench [--large] [NAME …]`: `--large` adds the thousand-node measurements, NAMEs choose some
of start, requests, rollouts, scheduling, service, endpoints, large.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.bench import rates, scheduling, services, workloads


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
    "10000 pinned pods on 1000 nodes to Running [s]": Bar("≤ 60", "60 (KWOK)"),
}
MEASUREMENTS: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
    "start": workloads.start_up,
    "requests": rates.request_rates,
    "rollouts": workloads.rollouts,
    "scheduling": scheduling.scheduling,
    "service": services.with_service,
    "endpoints": services.endpoint_news,
}
LARGE = {"large": workloads.pinned}


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--large", action="store_true", help="also with a thousand nodes")
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, *LARGE, []], help="only these")
    given = parser.parse_args()
    names = given.names or [*MEASUREMENTS, *(LARGE if given.large else ())]
    print(f"{'figure':<70} {'kubemu':>9} {'goal':>9} {'reference':>10}")
    for name in names:
        for label, value in (await (MEASUREMENTS | LARGE)[name]()).items():
            bar = BARS.get(label, Bar())
            print(f"{label:<70} {value:>9.1f} {bar.goal:>9} {bar.reference:>10}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())

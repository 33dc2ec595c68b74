"""`make bench`: the figures of this machine beside the reference of the design (section 7)."""

from __future__ import annotations

import asyncio

from tests.bench import measure

# A real v1.20 control plane with fake kubelets, measured on a 2-core machine (default client limits; lifted).
REFERENCE: dict[str, str] = {
    "start-up, 3 nodes Ready [s]": "7.3",
    "1000 replicas to Available [pods/s]": "19; 91",
    "rolling update [pods/s]": "81",
    "memory, 100 nodes with 1000 pods [MB]": "985",
    "LIST of 1000 pods [1/s]": "21",
    "create [1/s]": "1460",
    "GET [1/s]": "2500",
}
GOALS: dict[str, str] = {
    "start-up, 3 nodes Ready [s]": "≤ 2",
    "1000 replicas to Available [pods/s]": "≥ 200",
    "rolling update [pods/s]": "≥ 150",
    "memory, 100 nodes with 1000 pods [MB]": "≤ 400",
    "LIST of 1000 pods [1/s]": "≥ 210",
    "create [1/s]": "≥ 1500",
    "GET [1/s]": "≥ 2500",
}


async def main() -> None:
    print(f"{'figure':<45} {'kubemu':>10} {'goal':>10} {'reference':>12}")
    for measurement in (measure.start_up, measure.api_rates, measure.workloads):
        for label, value in (await measurement()).items():
            print(
                f"{label:<45} {value:>10.1f} {GOALS.get(label, ''):>10} {REFERENCE.get(label, ''):>12}",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())

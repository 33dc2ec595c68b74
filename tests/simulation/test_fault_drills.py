"""Every promise of the cluster holds through storms of faults, for each of these seeds.

`KUBEMU_DRILL_SEEDS=1000` plays more; `kubemu drill` is the same from the command line, with reports.
"""

from __future__ import annotations

import os

import pytest

from scenarios.drills.drill import drill

SEEDS = int(os.environ.get("KUBEMU_DRILL_SEEDS", "6"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_drill(seed: int) -> None:
    outcome = drill(seed)
    assert outcome.ok, "\n".join([str(outcome.broken), str(outcome.options), *outcome.story])


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(30, id="a node that lost its session was never asked to register again"),
        pytest.param(58, id="a late answer to a registration took pods away"),
    ],
)
def test_drill_that_failed_once(seed: int) -> None:
    assert drill(seed).ok

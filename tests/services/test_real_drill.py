"""A storm of kills, freezes and partitions over real processes; `kubemu drill --processes` plays more seeds."""

from __future__ import annotations

import pytest

from scenarios.drills.processes import drill_processes

pytestmark = pytest.mark.services


@pytest.mark.parametrize("seed", [pytest.param(1, id="nodes hit while they start, beside a killed control")])
async def test_drill(seed: int) -> None:
    outcome = await drill_processes(seed)
    assert outcome.ok, "\n".join([str(outcome.broken), str(outcome.options), *outcome.story])

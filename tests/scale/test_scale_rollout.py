"""Many nodes in few processes, many pods behind one Service, through a real broker."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.services


async def test_a_rollout_of_probed_replicas_behind_a_service_makes_no_node_register_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """300 on 40 nodes in two processes, up and rolled: lag is no reason for a registration. On a machine that
    starves the agents for 2 s a node is late, and may register again once it is back."""
    monkeypatch.syspath_prepend(str(ROOT))
    services = importlib.import_module("tests.bench.services")
    figures = await services.with_service(nodes=40, replicas=300)
    late = figures["nodes that were late meanwhile"]
    assert figures["registrations per node"] * 40 <= 40 + late, figures

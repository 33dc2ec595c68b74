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
    assert figures["nodes that registered again meanwhile"] <= late, figures


async def test_hundreds_of_nodes_connect_and_run_what_is_pinned_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """400 nodes in two processes, a pod for each, then as many through the scheduler and a Deployment: brokers
    have limits that a few nodes never meet."""
    monkeypatch.syspath_prepend(str(ROOT))
    large = importlib.import_module("tests.bench.large")
    figures = await large.thousand_nodes(nodes=400, pods=400, replicas=200, processes=2)
    assert len(figures) == 14

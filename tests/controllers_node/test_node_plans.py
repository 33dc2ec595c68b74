"""The pure parts of the node controllers."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.controllers.node_health import no_schedule_taints, silent_conditions, with_eviction_taint
from cluster.controllers.node_ipam import Ranges
from cluster.controllers.node_zones import Limiter, Zones, ZoneState, state_of
from cluster.controllers.pod_garbage import surplus
from cluster.controllers.taint_eviction import stays_s

NOW = "2026-01-01T00:00:00Z"
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def _node(taints: Any = (), unschedulable: bool = False, **conditions: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "creationTimestamp": NOW},
        "spec": {"taints": list(taints), **({"unschedulable": True} if unschedulable else {})},
        "status": {"conditions": [{"type": t, "status": s} for t, s in conditions.items()]},
    }


@pytest.mark.parametrize(
    ("tolerations", "taints", "seconds"),
    [
        pytest.param([], [UNREACHABLE], 0.0, id="not tolerated"),
        pytest.param([{"operator": "Exists"}], [UNREACHABLE], None, id="for good"),
        pytest.param(
            [{"key": UNREACHABLE["key"], "operator": "Exists", "tolerationSeconds": 300}],
            [UNREACHABLE],
            300.0,
            id="for a while",
        ),
        pytest.param(
            [{"key": UNREACHABLE["key"], "operator": "Exists", "tolerationSeconds": 300}],
            [UNREACHABLE, {"key": "other", "effect": "NoExecute"}],
            0.0,
            id="one of two",
        ),
        pytest.param([{"operator": "Exists", "tolerationSeconds": -5}], [UNREACHABLE], 0.0, id="negative"),
    ],
)
def test_how_long_a_pod_may_stay(tolerations: Any, taints: Any, seconds: float | None) -> None:
    assert stays_s(tolerations, taints) == seconds


@pytest.mark.parametrize(
    ("node", "keys"),
    [
        pytest.param(_node(Ready="True"), None, id="healthy"),
        pytest.param(_node(Ready="False"), ["not-ready"], id="not ready"),
        pytest.param(_node(Ready="Unknown"), ["unreachable"], id="silent"),
        pytest.param(_node(Ready="True", DiskPressure="True"), ["disk-pressure"], id="pressure"),
        pytest.param(_node(Ready="True", unschedulable=True), ["unschedulable"], id="cordoned"),
        pytest.param(
            _node([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}], Ready="True"),
            [],
            id="recovered",
        ),
        pytest.param(
            _node([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), None, id="just created"
        ),
    ],
)
def test_conditions_become_taints(node: Any, keys: list[str] | None) -> None:
    taints = no_schedule_taints(node, NOW)
    assert (None if taints is None else [t["key"].rpartition("/")[2] for t in taints]) == keys


def test_silence_makes_conditions_unknown_once() -> None:
    node = _node(Ready="True", MemoryPressure="False", NetworkUnavailable="False")
    conditions = silent_conditions(node, NOW)
    assert conditions is not None
    found = {c["type"]: (c["status"], c.get("reason")) for c in conditions}
    assert found == {
        "Ready": ("Unknown", "NodeStatusUnknown"),
        "MemoryPressure": ("Unknown", "NodeStatusUnknown"),
        "NetworkUnavailable": ("False", None),
        "DiskPressure": ("Unknown", "NodeStatusNeverUpdated"),
        "PIDPressure": ("Unknown", "NodeStatusNeverUpdated"),
    }
    node["status"]["conditions"] = conditions
    assert silent_conditions(node, NOW) is None


def test_one_eviction_taint_replaces_the_other() -> None:
    taints = with_eviction_taint([UNREACHABLE], "node.kubernetes.io/not-ready", NOW)
    assert taints is not None
    assert [t["key"] for t in taints] == ["node.kubernetes.io/not-ready"]
    assert with_eviction_taint(taints, "node.kubernetes.io/not-ready", NOW) is None
    assert with_eviction_taint(taints, "", NOW) == []


@pytest.mark.parametrize(
    ("ready", "silent", "state"),
    [
        (3, 0, "NORMAL"),
        (1, 2, "NORMAL"),
        (2, 3, "PARTIAL"),
        (3, 3, "NORMAL"),
        (0, 1, "FULL"),
        (0, 0, "NORMAL"),
    ],
)
def test_states_of_zones(ready: int, silent: int, state: str) -> None:
    assert state_of(ready, silent) is ZoneState[state]


def test_a_limiter_gives_one_at_once_then_at_its_rate() -> None:
    limiter = Limiter(0.1, 0.0)
    assert limiter.take(0.0) == 0.0
    assert limiter.take(0.0) == pytest.approx(10.0)
    assert limiter.take(9.0) == pytest.approx(1.0)
    assert limiter.take(10.0) == 0.0


def test_nothing_is_evicted_while_all_zones_are_silent_or_a_small_one_is_half_gone() -> None:
    zones = Zones(0.1)
    zones.judge({"a": (0, 3), "b": (0, 2)}, 0.0)
    assert zones.all_disrupted
    assert zones.take("a", 1.0) == float("inf")
    zones.judge({"a": (1, 4), "b": (2, 0)}, 2.0)
    assert zones.take("a", 3.0) == float("inf")
    zones.judge({"a": (0, 5), "b": (2, 0)}, 4.0)
    assert zones.take("a", 4.0) == 0.0, "one zone that is entirely gone is evicted at the normal rate"


def test_ranges_are_unique_and_reused_last() -> None:
    ranges = Ranges("10.0.0.0/22")
    ranges.take("10.0.1.0/24")
    first = [ranges.allocate() for _ in range(4)]
    assert first == ["10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/24", None]
    ranges.free("10.0.2.0/24")
    assert ranges.allocate() == "10.0.2.0/24"


def test_the_oldest_finished_pods_are_surplus() -> None:
    def finished(name: str, created: str, **status: str) -> dict[str, Any]:
        meta = {"name": name, "creationTimestamp": created}
        return {"metadata": meta, "spec": {}, "status": {"phase": "Succeeded", **status}}

    pods = [
        finished("b", "2026-01-02"),
        finished("a", "2026-01-01"),
        finished("c", "2026-01-03", reason="Evicted"),
    ]
    assert [pod["metadata"]["name"] for pod in surplus(pods, 1)] == ["c", "a"]

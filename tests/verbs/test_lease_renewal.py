"""The short way of renewing a Lease gives what the general way gives, and is taken for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Key, Object
from cluster.server.verbs.renewing import renewed

HOLDER = "node-1"


def _lease(renewed_at: str = "2026-01-01T00:00:00.000000Z", **spec: Any) -> Object:
    return {
        "metadata": {"name": HOLDER},
        "spec": {"holderIdentity": HOLDER, "leaseDurationSeconds": 40, "renewTime": renewed_at, **spec},
    }


def _later(stored: Object, **spec: Any) -> Object:
    return stored | {"spec": stored["spec"] | {"renewTime": "2026-01-01T00:00:10.000000Z"} | spec}


async def test_a_renewal_is_what_a_plain_update_would_store(api: Any) -> None:
    """Two twins, one renewed by a trusted caller, one updated by anybody: the same but for their names."""
    stored = await api.create(kinds.LEASES, _lease())
    twin = await api.create(kinds.LEASES, {**_lease(), "metadata": {"name": "twin"}})
    api.clock.seconds = 10
    short = await api.update(kinds.LEASES, _later(stored), trusted=True)
    general = await api.update(kinds.LEASES, _later(twin))
    assert short["spec"] == general["spec"]
    assert short["metadata"]["managedFields"] == general["metadata"]["managedFields"]
    assert short["metadata"]["managedFields"][0]["time"] == "2026-01-01T00:00:10Z"
    assert short["metadata"].keys() == general["metadata"].keys()


async def test_an_equal_renewal_leaves_the_fields_time(api: Any) -> None:
    stored = await api.create(kinds.LEASES, _lease())
    api.clock.seconds = 10
    again = await api.update(kinds.LEASES, dict(stored), trusted=True)
    assert again["metadata"]["managedFields"] == stored["metadata"]["managedFields"]


Change = Callable[[Object], Object]


@pytest.mark.parametrize(
    ("change", "options"),
    [
        pytest.param(_later, {"trusted": False}, id="a stranger"),
        pytest.param(_later, {"dry_run": True}, id="a dry run"),
        pytest.param(_later, {"field_manager": "other"}, id="another manager"),
        pytest.param(lambda o: _later(o, holderIdentity="thief"), {}, id="another holder"),
        pytest.param(lambda o: _later(o, leaseTransitions=1), {}, id="one field more"),
        pytest.param(lambda o: _later(o, renewTime=None), {}, id="no time"),
        pytest.param(lambda o: _later(o) | {"metadata": dict(o["metadata"])}, {}, id="metadata of its own"),
        pytest.param(lambda o: _later(o) | {"status": {}}, {}, id="a field beside"),
        pytest.param(lambda o: {n: v for n, v in o.items() if n != "spec"}, {}, id="no spec"),
    ],
)
async def test_everything_else_goes_the_general_way(api: Any, change: Change, options: Object) -> None:
    await api.create(kinds.LEASES, _lease())
    current = api.store.get("leases.coordination.k8s.io", Key("default", HOLDER))
    assert current is not None
    call = replace(api.call(kinds.LEASES, HOLDER, trusted=True), **options)
    assert renewed(api.verbs.environment, call, change(current.object), current) is None


async def test_a_lease_with_two_managers_goes_the_general_way(api: Any) -> None:
    await api.create(kinds.LEASES, _lease())
    other = replace(api.call(kinds.LEASES, HOLDER), field_manager="other")
    await api.verbs.patch(other, PatchType.MERGE, {"metadata": {"labels": {"a": "b"}}})
    current = api.store.get("leases.coordination.k8s.io", Key("default", HOLDER))
    assert current is not None
    call = api.call(kinds.LEASES, HOLDER, trusted=True)
    assert renewed(api.verbs.environment, call, _later(current.object), current) is None

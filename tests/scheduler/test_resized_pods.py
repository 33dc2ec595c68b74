"""What a pod counts for while its resources change in place."""

from __future__ import annotations

import pytest

from cluster.api.objects import Object
from cluster.scheduler.amounts import pod_requests


def pod(asks: str, allocated: str, actual: str, **condition: str) -> Object:
    status: Object = {
        "name": "c",
        "allocatedResources": {"cpu": allocated},
        "resources": {"requests": {"cpu": actual}},
    }
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": asks}}}]},
        "status": {"containerStatuses": [status], "conditions": [condition] if condition else []},
    }


@pytest.mark.parametrize(
    ("found", "milli"),
    [
        (pod("2", "2", "2"), 2000),
        (pod("2", "2", "1", type="PodResizeInProgress"), 2000),
        (pod("1", "1", "2", type="PodResizeInProgress"), 2000),
        (pod("3", "1", "1", type="PodResizePending", reason="Deferred"), 3000),
        (pod("300", "1", "1", type="PodResizePending", reason="Infeasible"), 1000),
    ],
    ids=["settled", "growing", "shrinking", "deferred", "infeasible"],
)
def test_a_pod_counts_for_what_it_may_have(found: Object, milli: int) -> None:
    assert pod_requests(found) == {"cpu": milli}

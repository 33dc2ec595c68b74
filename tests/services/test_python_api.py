"""The Python example of the README, on real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

import scenarios
from scenarios.document import Comparison, Seconds
from scenarios.drill import StepFailed
from scenarios.launch.testing import running_cluster
from scenarios.steps import Expect

pytestmark = pytest.mark.services

MANIFESTS = Path(scenarios.__file__).parent / "manifests"


async def test_the_example_of_the_readme() -> None:
    """Faults and expectations by method call; what does not come raises with what was seen."""
    async with running_cluster(nodes=3, profile="fast", directory=MANIFESTS) as drill:
        await drill.apply("web.yaml")
        await drill.rollout("deployment/web", within_s=60)
        await drill.kill("2")
        await drill.expect(Expect(pods="app=web", ready=True, not_on="2", count=Comparison("==", 6)))
        with pytest.raises(StepFailed, match="Ready=True"):
            await drill.expect(Expect(node="1", condition={"Ready": "False"}, within=Seconds(0.5)))

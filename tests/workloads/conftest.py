"""The cluster of real processes that the tests with kubectl share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_cluster import RealCluster, started

PROFILES = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
"""


@pytest.fixture(scope="session")
def real() -> Iterator[RealCluster]:
    with started("--scheduler-config", "@scheduler.yaml", files={"scheduler.yaml": PROFILES}) as made:
        yield made

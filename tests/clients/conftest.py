"""One cluster of real processes for all clients of a worker: a broker, a controller manager, two nodes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_cluster import Cluster

from scenarios.launch.cluster import ClusterSpec, LocalCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Started in a loop of its own thread: the children are watched while the clients block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    with tempfile.TemporaryDirectory(prefix="kubemu-clients-") as folder:
        local = LocalCluster(
            ClusterSpec(name="clients", nodes=2, profile="fast"), Path(folder), progress=lambda _: None
        )
        asyncio.run_coroutine_threadsafe(local.start(), loop).result(120)
        made = Cluster(local.kubeconfig, Path(folder))
        try:
            for node in (
                "node/node-1",
                "node/node-2",
            ):  # one at a time: kubectl gives up where two are missing
                for condition in ("create", "condition=Ready"):
                    made.kubectl("wait", f"--for={condition}", node, "--timeout=30s")
            yield made
        finally:
            asyncio.run_coroutine_threadsafe(local.stop(), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@pytest.fixture
def space(cluster: Cluster) -> Iterator[str]:
    """A namespace of this test's own."""
    name = cluster.new_namespace()
    yield name
    with contextlib.suppress(subprocess.TimeoutExpired):
        cluster.kubectl("delete", "namespace", name, "--wait=false")

"""The stage of the conformance tests: one API server a worker, a namespace for each test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))

from conforming import Namespace
from live_server import LiveServer, live_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    async with live_server(tmp_path_factory.mktemp("conformance-api")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def space(live: LiveServer) -> AsyncIterator[Namespace]:
    namespace = await Namespace.new(live)
    yield namespace
    await namespace.remove()

"""Custom kinds live as long as their definition, not as long as the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from extended import crontab, definition

from broker.chance import Chance
from broker.clock import SystemClock
from broker.rules import LinkRules
from broker.transport.memory import MemoryBroker
from cluster.api.kinds import CUSTOM_RESOURCE_DEFINITIONS
from cluster.app import ControlPlane
from cluster.settings import CONTROL_USER, Settings
from cluster.store.journal.sqlite import SqliteJournal


def plane(folder: Path) -> ControlPlane:
    chance = Chance(1)
    return ControlPlane(
        Settings(data=folder, port=0),
        clock=SystemClock(),
        chance=chance,
        transport=MemoryBroker(chance.fork("broker")).link(CONTROL_USER, LinkRules()),
        journal=SqliteJournal(folder / "journal.db"),
        log=structlog.get_logger(),
    )


async def test_a_restart_serves_what_was_defined(tmp_path: Path) -> None:
    """The kind is there as soon as `start` returns, with its objects."""
    first = plane(tmp_path)
    await first.start()
    client = first.client("test")
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    for _ in range(200):
        resource = first.registry.find("stable.example.com", "v1", "crontabs")
        if resource is not None:
            break
        await asyncio.sleep(0.01)
    assert resource is not None
    await client.create(resource, crontab(), namespace="default")
    await first.stop()
    second = plane(tmp_path)
    await second.start()
    again = second.registry.find("stable.example.com", "v1", "crontabs")
    assert again == resource
    found = await second.client("test").get(again, "one", namespace="default")
    await second.stop()
    assert found["spec"]["image"] == "busybox"

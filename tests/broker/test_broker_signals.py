"""Signals to children that may just have ended."""

from __future__ import annotations

import asyncio
import logging
import signal

import pytest

from broker.embedded import send_signal


async def test_a_signal_takes_no_exit_code_away(caplog: pytest.LogCaptureFixture) -> None:
    """Children end while they are being signalled: their own code is told, and nobody warns of them."""
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        for _ in range(10):
            child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 7")
            while child.returncode is None:
                send_signal(child, signal.SIGCONT)
                await asyncio.sleep(0)
            assert await child.wait() == 7
    assert caplog.records == []

"""Processes that a launcher starts."""

from __future__ import annotations

from pathlib import Path

from scenarios.launch.child import Child


async def test_a_hangup_before_it_has_a_handler_does_not_end_it(tmp_path: Path) -> None:
    child = Child("early", ["sh", "-c", "kill -HUP $$; echo survived"], log=tmp_path / "early.log")
    await child.start()
    assert await child.wait() == 0
    assert child.last_words() == "survived"

"""Late answers to registrations are not begun."""

from __future__ import annotations

import pytest

from agents.sessions import Sessions


@pytest.mark.parametrize(
    ("came", "news"),
    [
        (["a-1", "a-2", "a-10"], [True, True, True]),
        (["a-1", "a-1"], [True, False]),
        (["a-6", "a-4"], [True, False]),
        (["a-6", "b-1", "a-7"], [True, True, False]),
        (["a5-9", "a5-10", "b7-1", "b7-1"], [True, True, True, False]),
    ],
    ids=["in order", "twice", "overtaken", "of the gateway before", "digits in the instance"],
)
def test_news(came: list[str], news: list[bool]) -> None:
    sessions = Sessions()
    assert [sessions.is_news(session) for session in came] == news

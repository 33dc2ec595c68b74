"""Logs of several processes become one stream in the order of time."""

from __future__ import annotations

import json
from pathlib import Path

from scenarios.logbook import Filter, Logbook, render


def write(folder: Path, name: str, *lines: object) -> None:
    with (folder / f"{name}.log").open("a") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")


def at(second: int, event: str, **fields: object) -> dict[str, object]:
    return {"time": f"2026-01-01T00:00:{second:02}.000000Z", "level": "info", "event": event, **fields}


def test_lines_are_merged_by_time(tmp_path: Path) -> None:
    """Each file is in order; a line without a time belongs to the one before it."""
    write(tmp_path, "a", at(1, "a1"), at(4, "a4"), "Traceback: of a4")
    write(tmp_path, "b", at(2, "b2"), at(3, "b3"))
    assert [line.fields["event"] for line in Logbook(tmp_path).read(Filter())] == [
        "a1", "b2", "b3", "a4", "Traceback: of a4",
    ]  # fmt: skip


def test_the_embedded_brokers_own_lines_have_time_and_level(tmp_path: Path) -> None:
    write(tmp_path, "broker", "[7] 2026/01/01 00:00:02.000001 [WRN] Plaintext passwords detected")
    (line,) = Logbook(tmp_path).read(Filter())
    assert line.time == "2026-01-01T00:00:02.000001Z"
    assert line.fields["level"] == "warning"


def test_filters(tmp_path: Path) -> None:
    write(
        tmp_path,
        "node-1",
        at(1, "one", node="node-1", pod="default/web-1"),
        at(2, "two", node="node-1", level="warning"),
        at(3, "three", node="node-2", pod="other/web-1"),
    )

    def seen(**wanted: str) -> list[str]:
        return [line.fields["event"] for line in Logbook(tmp_path).read(Filter(**wanted))]

    assert seen(pod="web-1") == ["one"]
    assert seen(pod="other/web-1") == ["three"]
    assert seen(level="warning") == ["two"]
    assert seen(node="node-2") == ["three"]


def test_a_second_read_gives_only_what_came_since(tmp_path: Path) -> None:
    """Half a line waits for its other half."""
    book = Logbook(tmp_path)
    write(tmp_path, "a", at(1, "first"))
    assert len(list(book.read(Filter()))) == 1
    with (tmp_path / "a.log").open("a") as file:
        file.write('{"time": "2026-01-01T00:00:02Z", ')
    assert list(book.read(Filter())) == []
    with (tmp_path / "a.log").open("a") as file:
        file.write('"event": "second"}\n')
    assert [line.fields["event"] for line in book.read(Filter())] == ["second"]


def test_rendering_names_process_event_and_fields(tmp_path: Path) -> None:
    write(tmp_path, "node-1", at(1, "Started", pod="default/web", cause="w-7"))
    (line,) = Logbook(tmp_path).read(Filter())
    text = "00:00:01.000 info    node-1             Started  pod=default/web cause=w-7"
    assert render(line, colours=False) == text

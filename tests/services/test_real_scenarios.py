"""The scenarios that come with kubemu, on real processes, through the command a user types."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import scenarios

pytestmark = pytest.mark.services

FOLDER = Path(scenarios.__file__).parent
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))
KUBEMU = [sys.executable, "-m", "scenarios"]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's own, in which nothing may be left."""
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("KUBEMU_HOME", f"{folder}/home")
        yield Path(folder)


def processes_of(place: Path) -> list[str]:
    """Command lines of living processes that mention the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(place) in line:
                found.append(line)
    return found


def expect_nothing_left(place: Path, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        processes = processes_of(place)
        folders = [
            p.name for p in place.iterdir() if p.name.startswith("kubemu-") and "networks" not in p.name
        ]
        if not processes and not folders:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: {processes} {folders}")
        time.sleep(0.1)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenario(place: Path, name: str) -> None:
    """Each one passes, with exit code 0, and leaves nothing behind."""
    done = subprocess.run([*KUBEMU, "run", name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    expect_nothing_left(place)


def test_failed_expectation(place: Path) -> None:
    """A scenario whose expectation does not come ends with exit code 1, and says what was seen instead."""
    file = place / "wrong.yaml"
    file.write_text(
        "cluster: {nodes: 1}\nsteps:\n  - expect: {node: 1, condition: {Ready: 'False'}, within: 1s}\n"
    )
    done = subprocess.run([*KUBEMU, "run", str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Ready=True" in done.stdout
    expect_nothing_left(place)


def test_wrong_file(place: Path) -> None:
    """A mistake in the file is exit code 2 with its place, before anything is started."""
    file = place / "typo.yaml"
    file.write_text("steps:\n  - kil: 1\n")
    done = subprocess.run([*KUBEMU, "run", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"{file}:2:5: there is no step 'kil'" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_interrupted(place: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM, and even SIGKILL of the runner leave no process and no folder."""
    runner = subprocess.Popen(
        [*KUBEMU, "run", "node-failure"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert runner.stdout is not None
    for line in runner.stdout:
        if "✔" in line:  # the first step is done: everything runs
            break
    os.kill(runner.pid, number)
    runner.stdout.read()
    assert runner.wait(timeout=60) == {signal.SIGINT: 130, signal.SIGTERM: 130, signal.SIGKILL: -9}[number]
    expect_nothing_left(place)

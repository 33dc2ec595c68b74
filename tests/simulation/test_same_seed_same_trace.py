"""A simulation depends on its seed alone: not on the process, and not on the order of hashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "scenarios"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OFTEN = ("bad-rollout-and-rollback", "liveness-restart", "node-failure", "node-partition")
"""Each start of a process costs; the others are played with the real processes' tests."""


def _trace(command: list[str], into: Path, hash_seed: str) -> bytes:
    environment = {"PYTHONHASHSEED": hash_seed, "PATH": ""}
    line = [sys.executable, "-m", "scenarios", *command, "--trace", str(into)]
    done = subprocess.run(
        line, env=environment, cwd=FOLDER.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return into.read_bytes()


@pytest.mark.parametrize(
    "name", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.services) for n in SHIPPED]
)
def test_scenario(tmp_path: Path, name: str) -> None:
    """Log lines, changes of the store and packets: the same bytes in two processes."""
    first, second = (_trace(["sim", name, "--seed", "7"], tmp_path / n, n) for n in ("1", "2"))
    assert first == second
    assert b'"event": "change"' in first
    assert b'"event": "packet"' in first


def test_drill(tmp_path: Path) -> None:
    command = ["drill", "--seed", "8", "--seeds", "1"]
    first, second = (_trace(command, tmp_path / n, n) for n in ("1", "2"))
    assert first == second

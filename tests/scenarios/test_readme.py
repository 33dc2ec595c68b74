"""What the README shows is so."""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
import pytest

import scenarios
from scenarios import steps
from scenarios.command.main import COMMANDS, main
from scenarios.report import Printer
from scenarios.simulation import simulate

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
FOLDER = Path(scenarios.__file__).parent


def test_the_example_scenario_passes(tmp_path: Path) -> None:
    """The YAML block, beside the manifests that come with kubemu, on a simulated cluster."""
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    (tmp_path / "manifests").symlink_to(FOLDER / "manifests")
    file = tmp_path / "example.yaml"
    file.write_text(text)
    report = simulate(steps.load(file), seed=1, trace=io.StringIO(), audience=Printer(io.StringIO()))
    assert report.ok, [result.seen for result in report.results if not result.ok]


def commands() -> list[str]:
    return sorted(
        {line.strip().lstrip("$ ") for line in re.findall(r"^ {4}(?:\$ )?kubemu .*$", README, re.M)}
    )


@pytest.mark.parametrize("line", commands())
def test_every_command_exists_with_its_options(line: str) -> None:
    words = re.sub(r"\s+#.*", "", line).split()[1:]
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, words
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= known


def test_every_step_is_named() -> None:
    for name in steps.ACTIONS:
        assert f"`{name}`" in README, name


def test_every_shipped_scenario_is_named() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert f"`{path.stem}`" in README, path.stem


def test_every_command_has_a_help_text() -> None:
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.help, name

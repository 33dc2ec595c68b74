"""What a scenario file may say, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import steps
from scenarios.document import Comparison, DocumentError, Seconds, parse_seconds
from scenarios.steps import load

SHIPPED = sorted(Path(steps.__file__).parent.glob("*.yaml"))


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        load(path)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_load(path: Path) -> None:
    """Every scenario that comes with kubemu is a valid file."""
    assert load(path).steps


def test_a_step_is_read_into_its_type(tmp_path: Path) -> None:
    """Short forms, durations and comparisons arrive as typed values."""
    path = tmp_path / "s.yaml"
    path.write_text(
        """
name: mine
cluster: {nodes: 5, profile: standard}
steps:
  - say: dark
    kill: 2
  - wait: 1m30s
  - expect:
      pods: app=web
      count: ">= 3"
      not-on: 2
      where: {status.phase: Running}
      within: 500ms
"""
    )
    scenario = load(path)
    assert scenario.cluster == steps.Wanted(nodes=5, profile="standard")
    assert scenario.steps[0] == steps.Step(number=1, line=5, say="dark", action=steps.Kill(node="2"))
    assert scenario.steps[1].action == steps.Wait(seconds=Seconds(90.0))
    assert scenario.steps[2].action == steps.Expect(
        pods="app=web",
        count=Comparison(">=", 3),
        not_on="2",
        where={"status.phase": Comparison("==", "Running")},
        within=Seconds(0.5),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps:\n  - kil: 2\n", "scenario.yaml:2:5: there is no step 'kil'; expected one of apply, delete, kill"),
        ("steps:\n  - wait: soon\n", "scenario.yaml:2:11: expected wait: a duration such as 5s or 2m30s, not 'soon'"),
        ("steps:\n  - scale: {of: deployment/web}\n", "scenario.yaml:2:12: scale needs replicas"),
        (
            "steps:\n  - scale: {of: deployment/web, replicas: many}\n",
            "scenario.yaml:2:43: expected scale.replicas: a whole number, not 'many'",
        ),
        (
            "steps:\n  - expect: {of: deployment/web, when: 3}\n",
            "scenario.yaml:2:34: expect has no 'when'; expected one of of, node, pods",
        ),
        ("steps:\n  - apply: nothing.yaml\n", "scenario.yaml:2:12: there is no file 'nothing.yaml' beside the scenario"),
        ("steps:\n  - kill: 1\n    start: 1\n", "scenario.yaml:2:5: a step does exactly one thing, this one 2"),
        ("stps: []\n", "scenario.yaml:1:1: a scenario has no 'stps'; expected one of name, cluster, steps"),
        ("steps: [\n", "scenario.yaml:2:1: not YAML"),
        ("", "scenario.yaml:1:1: the file is empty; expected a scenario"),
        ("steps:\n  - kill: 1\n  - kill: {node: 1, node: 2}\n", "scenario.yaml:3:21: 'node' is given twice"),
        ("cluster: {profile: slow}\nsteps: [{kill: 1}]\n", "scenario.yaml:1:20: cluster.profile is one of fast, standard"),
    ],
    ids=[
        "unknown step", "bad duration", "missing field", "wrong type", "unknown field", "missing file",
        "two actions", "unknown key", "no yaml", "empty", "duplicate key", "unknown choice",
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    """File, line and column, what is wrong, and what was expected there."""
    assert any(problem.startswith(expected) for problem in problems_of(tmp_path, text)), problems_of(
        tmp_path, text
    )


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    found = problems_of(tmp_path, "nam: x\nsteps:\n  - kil: 2\n  - wait: soon\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("5s", 5.0), ("2m30s", 150.0), ("1h", 3600.0), ("300ms", 0.3), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("operator", "wanted", "seen", "holds"),
    [
        ("==", 6, 6, True), ("==", "x", "y", False), ("!=", 1, 2, True), (">=", 4, 4, True), (">", 4, 4, False),
        ("<=", 4, 5, False), ("<", 4, 3, True), (">=", 4, "many", False), (">=", 4, None, False),
    ],
)  # fmt: skip
def test_comparisons(operator: str, wanted: object, seen: object, holds: bool) -> None:
    assert Comparison(operator, wanted).holds(seen) is holds

"""matchConditions: expressions that must all be true before a webhook or policy is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.api.cel import Budget, CompileError, EvalError, compile_untyped


class ConditionFailed(Exception):
    """A condition can't be evaluated."""


def conditions_met(conditions: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> bool:
    """One false condition decides, whatever errors the others give. Raises ConditionFailed."""
    names = tuple(variables)
    budget = Budget()
    failures: list[str] = []
    for condition in conditions:
        try:
            if compile_untyped(condition["expression"], names)(variables, budget) is not True:
                return False
        except (CompileError, EvalError) as error:
            failures.append(f"expression '{condition['expression']}' resulted in error: {error}")
    if failures:
        raise ConditionFailed(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True

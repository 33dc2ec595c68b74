"""The Common Expression Language, as Kubernetes uses it in validation rules, policies and match conditions.

`compile_rule` reads and type-checks an expression once; the `Program` it gives evaluates against variables.
Written here because no CEL package for Python has Kubernetes' function libraries, checks fields against
schemas that come at run time, and words its errors as cel-go does, which clients see.

Divergence: cost is counted as evaluation steps, and only while evaluating; nothing is estimated from the
schema beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cluster.api.cel.checking import check
from cluster.api.cel.errors import CompileError, CostExceeded, EvalError
from cluster.api.cel.evaluation import STEP_LIMIT, Budget, Code, code_of
from cluster.api.cel.kinds import DYN, Kind
from cluster.api.cel.parsing import parse

__all__ = [
    "STEP_LIMIT", "Budget", "CompileError", "CostExceeded", "EvalError", "Program", "compile_rule",
    "compile_untyped",
]  # fmt: skip


class Program:
    """An expression ready to be evaluated, any number of times."""

    __slots__ = ("_code", "kind", "text", "uses")

    def __init__(self, text: str, code: Code, kind: Kind, uses: frozenset[str]) -> None:
        self.text = text
        self.kind = kind
        """Of the result, as far as it is known before."""
        self.uses = uses
        """Which variables occur."""
        self._code = code

    def __call__(self, variables: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """Raises EvalError, CostExceeded."""
        scope = dict(variables)
        scope["%budget"] = budget if budget is not None else Budget()
        try:
            return self._code(scope)
        except RecursionError:
            raise EvalError("evaluation is nested too deeply") from None


def compile_rule(text: str, variables: Mapping[str, Kind], *, result: Kind | None = None) -> Program:
    """Raises CompileError with all that the checker found."""
    tree = parse(text)
    kind, uses = check(text, tree, variables, result)
    return Program(text, code_of(tree), kind, uses)


@lru_cache(maxsize=4096)
def compile_untyped(text: str, variables: tuple[str, ...]) -> Program:
    """The same expression with the same variables, of which no types are known, is compiled once."""
    return compile_rule(text, {name: DYN for name in variables})

"""What can go wrong with an expression."""

from __future__ import annotations


class EvalError(Exception):
    """While evaluating: no such key, division by zero, …"""


class CostExceeded(EvalError):
    """The evaluation took more steps than it may."""


class CompileError(Exception):
    """The expression is not one, or makes no sense for its variables. The text is cel-go's report."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


def located(text: str, position: int, message: str) -> str:
    """One problem with the line where it is and a mark under the place."""
    before = text[:position]
    line = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1)
    source = text.split("\n")[line - 1] if text else ""
    return f"ERROR: <input>:{line}:{column + 1}: {message}\n | {source}\n | {'.' * column}^"

"""Runs admission: mutating steps in order, webhooks, and after validation the validating steps.

Which steps look at which request is compiled once per (operation, resource, subresource), so that a pod's
status update, which interests none, pays one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.admission.service_account import awaits_default_account

StepFunction: TypeAlias = Callable[[Setting, Request], None]
"""Raises an ApiError to refuse."""
Webhooks: TypeAlias = Callable[[Request], Awaitable[None]]
"""Called after the built-in steps of its phase; may change `request.object` in the mutating phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One plugin's interest in requests."""

    plugin: str
    run: StepFunction
    operations: tuple[Operation, ...]
    resources: tuple[str, ...] = ()
    """Qualified names; empty for all."""
    subresources: tuple[str, ...] = ("",)
    """`("*",)` for all."""

    def wants(self, operation: Operation, qualified: str, subresource: str) -> bool:
        return (
            operation in self.operations
            and (not self.resources or qualified in self.resources)
            and (subresource in self.subresources or "*" in self.subresources)
        )


class Chain:
    def __init__(
        self,
        setting: Setting,
        mutating: Sequence[Step],
        validating: Sequence[Step],
        disabled: Collection[str] = (),
    ) -> None:
        self._setting = setting
        self._mutating = tuple(step for step in mutating if step.plugin not in disabled)
        self._validating = tuple(step for step in validating if step.plugin not in disabled)
        self._accounts = "ServiceAccount" not in disabled
        self._compiled: dict[
            tuple[Operation, str, str], tuple[tuple[StepFunction, ...], tuple[StepFunction, ...]]
        ] = {}
        self.mutating_webhooks: Webhooks | None = None
        self.validating_webhooks: Webhooks | None = None

    @property
    def setting(self) -> Setting:
        """What the steps are given."""
        return self._setting

    def awaits_account(self, request: Request) -> bool:
        """True while the pod's default service account is still to be made."""
        return self._accounts and awaits_default_account(self._setting, request)

    def add_validating(self, *steps: Step) -> None:
        """Lets another part have the last word in the validating phase."""
        self._validating += steps
        self._compiled.clear()

    def mutate(self, request: Request) -> None:
        for step in self._steps(request)[0]:
            step(self._setting, request)

    def validate(self, request: Request) -> None:
        for step in self._steps(request)[1]:
            step(self._setting, request)

    def _steps(self, request: Request) -> tuple[tuple[StepFunction, ...], tuple[StepFunction, ...]]:
        key = (request.operation, request.qualified, request.subresource)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = (
                tuple(step.run for step in self._mutating if step.wants(*key)),
                tuple(step.run for step in self._validating if step.wants(*key)),
            )
        return found

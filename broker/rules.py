"""Link rules: what happens to the messages between parties, as an ordered list in which the first match wins.

The same rules make a simulated network bad and cut a live process off without privileges: both transports
pass every message, outgoing and incoming, through a `Line`. A rule names the ends (glob patterns over node
names and `control@kubemu`), a topic pattern, and a verdict:

    [{"from": "node-1", "verdict": "cut"},
     {"to": "node-2", "verdict": "drop", "probability": 0.2},
     {"topic": "kubemu/+/nodes/+/up", "verdict": "delay", "delay_s": 0.05, "jitter_s": 0.02}]

`deliver` ends the search without a fault; `drop` loses the message; `delay` keeps the order; `duplicate`
delivers it a second time after `delay_s`; `reorder` delays by a random part of `delay_s` and lets later
messages overtake. `cut` takes the party named by `from` off the broker altogether: messages are lost at once,
both ways, and when the keep-alive has run out the broker publishes the party's will, as if a cable was
pulled. A rule with `probability` applies to that part of the messages; the others try the next rule.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from fnmatch import translate
from pathlib import Path
from typing import Any

from broker.chance import Chance
from broker.topics import ends_of, matches


class RulesError(Exception):
    """A rules file that can't be read; says where and what was expected."""


class Verdict(Enum):
    DELIVER = "deliver"
    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CUT = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the list. `sender` and `receiver` are `from` and `to` in a file."""

    verdict: Verdict
    sender: str = "*"
    receiver: str = "*"
    topic: str = "#"
    probability: float = 1.0
    delay_s: float = 0.0
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one message: delivered after each of these delays, in order or not."""

    delays_s: tuple[float, ...]
    ordered: bool = True


UNHARMED = Fate((0.0,))
LOST = Fate(())


class LinkRules:
    """The rules in force; they can be replaced at any time."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules: tuple[tuple[Rule, re.Pattern[str], re.Pattern[str]], ...] = ()
        self._watchers: list[Callable[[], None]] = []
        self.replace(rules)

    def __bool__(self) -> bool:
        """Whether there is any rule at all."""
        return bool(self._rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(
            (rule, re.compile(translate(rule.sender)), re.compile(translate(rule.receiver))) for rule in rules
        )
        for watcher in list(self._watchers):
            watcher()

    def on_change(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Calls `watcher` after each change, until the function it returns is called."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def cut(self, party: str) -> bool:
        """Whether this party is off the broker."""
        return any(rule.verdict is Verdict.CUT and ends.match(party) for rule, ends, _ in self._rules)

    def fate(self, sender: str, receiver: str, topic: str, chance: Chance) -> Fate:
        for rule, from_pattern, to_pattern in self._rules:
            if rule.verdict is Verdict.CUT:
                if from_pattern.match(sender) or from_pattern.match(receiver):
                    return LOST
                continue
            if not (from_pattern.match(sender) and to_pattern.match(receiver) and matches(rule.topic, topic)):
                continue
            if rule.probability < 1.0 and chance.random() >= rule.probability:
                continue
            return _carry_out(rule, chance)
        return UNHARMED


def _carry_out(rule: Rule, chance: Chance) -> Fate:
    delay_s = rule.delay_s + (chance.uniform(0.0, rule.jitter_s) if rule.jitter_s else 0.0)
    match rule.verdict:
        case Verdict.DELAY:
            return Fate((delay_s,))
        case Verdict.DUPLICATE:
            return Fate((0.0, delay_s), ordered=False)
        case Verdict.REORDER:
            return Fate((chance.uniform(0.0, delay_s),), ordered=False)
        case Verdict.DROP:
            return LOST
        case _:
            return UNHARMED


class Line:
    """One direction of one party's connection, with the rules applied. Without rules it costs one test."""

    def __init__(
        self,
        rules: LinkRules,
        chance: Chance,
        deliver: Callable[..., None],
        context: Context | None = None,
    ) -> None:
        """`context`: where `deliver` runs when it does so later; None: wherever the message comes from."""
        self.lost = 0
        self._context = context
        self._rules = rules
        self._chance = chance
        self._deliver = deliver
        self._waiting: deque[tuple[float, tuple[Any, ...]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._strays: dict[int, asyncio.TimerHandle] = {}
        self._stray_number = 0

    def send(self, sender: str, receiver: str, topic: str, *message: Any) -> None:
        """Delivers `message` (the arguments of `deliver`) as the rules have it."""
        if not self._rules and not self._waiting:
            self._deliver(*message)
            return
        fate = self._rules.fate(sender, receiver, topic, self._chance)
        if not fate.delays_s:
            self.lost += 1
        for delay_s in fate.delays_s:
            self.send_after(delay_s, *message, ordered=fate.ordered)

    def send_after(self, delay_s: float, *message: Any, ordered: bool = True) -> None:
        """Delivers in `delay_s` seconds; in order with the others that are ordered."""
        loop = asyncio.get_running_loop()
        if not ordered:
            self._stray_number += 1
            number = self._stray_number
            self._strays[number] = loop.call_later(
                delay_s, self._deliver_stray, number, message, context=self._own_context()
            )
            return
        if delay_s <= 0 and not self._waiting:
            self._deliver(*message)
            return
        due = loop.time() + delay_s
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, message))
        if self._timer is None:
            self._timer = loop.call_at(due, self._deliver_due, context=self._own_context())

    def _own_context(self) -> Context | None:
        """A copy: what one delivery sets there is not for the next."""
        return self._context.copy() if self._context is not None else None

    def clear(self) -> int:
        """Loses what is under way; says how many messages that were."""
        count = len(self._waiting) + len(self._strays)
        self._waiting.clear()
        for stray in self._strays.values():
            stray.cancel()
        self._strays.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return count

    def _deliver_stray(self, number: int, message: tuple[Any, ...]) -> None:
        del self._strays[number]
        self._deliver(*message)

    def _deliver_due(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        try:
            while self._waiting and self._waiting[0][0] <= now:
                self._deliver(*self._waiting.popleft()[1])
        finally:
            if self._waiting and self._timer is None:
                self._timer = loop.call_at(
                    self._waiting[0][0], self._deliver_due, context=self._own_context()
                )


def outgoing_ends(party: str, topic: str) -> tuple[str, str]:
    return party, ends_of(topic)[1]


def incoming_ends(party: str, topic: str) -> tuple[str, str]:
    return ends_of(topic)[0], party


# --- rules as a file

_NAMES = {"from": "sender", "to": "receiver", "topic": "topic", "verdict": "verdict"}
_NUMBERS = ("probability", "delay_s", "jitter_s")


def load_rules(path: Path) -> list[Rule]:
    """The rules of a JSON file. Raises RulesError; a missing file means no rules."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return parse_rules(text, source=str(path))


def parse_rules(text: str, *, source: str = "rules") -> list[Rule]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RulesError(f"{source}: not JSON: {error}") from error
    if not isinstance(data, list):
        raise RulesError(f"{source}: expected a list of rules")
    return [_rule(item, f"{source}: rule {number}") for number, item in enumerate(data, start=1)]


def _rule(item: Any, where: str) -> Rule:
    if not isinstance(item, Mapping):
        raise RulesError(f"{where}: expected an object")
    arguments: dict[str, Any] = {}
    for key, value in item.items():
        if key in _NAMES and isinstance(value, str):
            arguments[_NAMES[key]] = value
        elif key in _NUMBERS and isinstance(value, int | float) and value >= 0:
            arguments[key] = float(value)
        else:
            known = ", ".join([*_NAMES, *_NUMBERS])
            raise RulesError(f"{where}: {key!r}: {value!r} is not expected here; known are {known}")
    try:
        arguments["verdict"] = Verdict(arguments.get("verdict", ""))
    except ValueError as error:
        verdicts = ", ".join(verdict.value for verdict in Verdict)
        raise RulesError(f"{where}: verdict is one of {verdicts}") from error
    return Rule(**arguments)


def dump_rules(rules: Iterable[Rule]) -> str:
    """The text that `parse_rules` reads."""
    return json.dumps([_as_json(rule) for rule in rules], indent=1)


def _as_json(rule: Rule) -> dict[str, Any]:
    named = {key: getattr(rule, attribute) for key, attribute in _NAMES.items() if key != "verdict"}
    return {**named, "verdict": rule.verdict.value, **{key: getattr(rule, key) for key in _NUMBERS}}

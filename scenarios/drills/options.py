"""What a seed draws: how big the cluster is, how busy the client, how bad the weather."""

from __future__ import annotations

from dataclasses import dataclass

from broker.chance import Chance
from broker.rules import Rule, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    nodes: int
    profile: str
    storm_s: float
    pause_s: float
    """The client's longest pause between two writes."""
    lull_s: float
    """The longest time between two faults."""
    outage_s: float
    """The longest time until a fault ends."""
    faults: tuple[str, ...]
    """The kinds of this drill; see `storm`."""
    noise: tuple[Rule, ...]
    """On all links, for the whole storm."""


FAULTS = ("kill", "stop", "freeze", "partition", "broker", "control", "crash-container")


def draw(chance: Chance) -> Options:
    """Few kinds of faults per drill: they get deeper into their own corner than all of them at once."""
    kinds = chance.shuffled(FAULTS)[: 1 + chance.below(4)]
    return Options(
        nodes=2 + chance.below(3),
        profile="fast",
        storm_s=chance.uniform(8.0, 30.0),
        pause_s=chance.choice((0.3, 1.0, 3.0)),
        lull_s=chance.choice((0.5, 2.0, 5.0)),
        outage_s=chance.choice((0.5, 3.0, 10.0)),
        faults=tuple(kinds),
        noise=_noise(chance),
    )


def _noise(chance: Chance) -> tuple[Rule, ...]:
    rules = []
    if chance.random() < 0.3:
        rules.append(Rule(verdict=Verdict.DROP, probability=chance.uniform(0.01, 0.2)))
    if chance.random() < 0.3:
        delay_s = chance.uniform(0.01, 0.5)
        rules.append(Rule(verdict=Verdict.DUPLICATE, probability=chance.uniform(0.02, 0.3), delay_s=delay_s))
    if chance.random() < 0.3:
        delay_s = chance.uniform(0.01, 0.5)
        rules.append(Rule(verdict=Verdict.REORDER, probability=chance.uniform(0.02, 0.3), delay_s=delay_s))
    if chance.random() < 0.3:
        rules.append(Rule(verdict=Verdict.DELAY, delay_s=chance.uniform(0.001, 0.2), jitter_s=0.05))
    return tuple(rules)

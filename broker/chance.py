"""The one module that touches a random generator.

A `Chance` is a named stream of randomness. `fork` derives an independent stream from the name alone, so
that one more draw in one component does not shift the draws of every other: a simulation stays
comparable from one version of the code to the next.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The characters Kubernetes uses in generated names (no vowels, no look-alikes)."""


class Chance:
    """A reproducible stream of random values."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)

    @classmethod
    def from_entropy(cls) -> Chance:
        """A stream that can't be predicted, for real processes."""
        return cls(secrets.randbits(128))

    def fork(self, name: str) -> Chance:
        """An independent stream that depends only on this stream's seed and `name`."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return Chance(int.from_bytes(digest[:16]))

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._random.random()

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        return self._random.randrange(bound)

    def choice(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        copy = list(items)
        self._random.shuffle(copy)
        return copy

    def uuid(self) -> str:
        """A version 4 UUID in its usual text form."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def name_suffix(self, length: int = 5) -> str:
        """What `generateName` appends."""
        return "".join(self._random.choice(NAME_ALPHABET) for _ in range(length))

"""Imports without their optional halves.

Some libraries import others where they find them, for features that nobody here uses. A hundred agents
start at once, so what each imports counts twice: in time and in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """Within, an import of `module` fails as if it were not installed, unless it has been imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the import system's own word for "not there"
    try:
        yield
    finally:
        del sys.modules[module]

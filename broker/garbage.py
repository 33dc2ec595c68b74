"""Python's collector of reference cycles, set for a process that holds a cluster.

The state is a great many dicts and lists without cycles: reference counts free them. With the default
thresholds the collector walks all of them again and again while objects are made at a high rate, and finds
nothing; that was a tenth of a busy controller manager's time. It still runs, for the cycles that tasks and
exceptions leave behind, but over young objects only, and over everything when a quarter is new.
"""

from __future__ import annotations

import gc

YOUNG = 50_000
"""New objects between two looks at the young ones: a look takes a few milliseconds."""
MIDDLE = 20
OLD = 50


def settle() -> None:
    """To be called when a process has loaded what it needs: that is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)

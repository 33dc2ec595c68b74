"""From the bytes of a request to an object in canonical form, with Kubernetes' errors on the way.

`parse` reads JSON or YAML and notices keys that occur twice. `decode` checks the result against the
resource's type and gives a private copy in the form that a Kubernetes API server would store: unknown fields
pruned, nulls and meaningless zero values dropped, always-written fields filled in, quantities and times
spelled canonically. Two clients that mean the same thus store the same, which is what keeps a write without
a change from looking like one.

Mechanism: each `facts.Type` is compiled once into a closure that builds the copy (`compiling`); paths are
worked out only when something is wrong (`strictness`).
"""

from __future__ import annotations

from cluster.api.structure.decode import Mode, canonical, decode, decode_options
from cluster.api.structure.parsing import Duplicates, parse

__all__ = ["Duplicates", "Mode", "canonical", "decode", "decode_options", "parse"]

"""`python -m cluster.api.generate`."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.api.generate import schemas

types = schemas.table()
lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(t, separators=(',', ':'))}" for n, t in types.items())
target = Path(__file__).parents[1] / "facts.json"
target.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
print(f"{len(types)} types, {sum(len(t.get('fields', {})) for t in types.values())} fields")

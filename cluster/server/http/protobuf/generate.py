"""Makes `numbers.json`, the protobuf field numbers of the API's types: `make facts`. A developer's tool.

They are in the tags of the Go types (`cluster.api.generate.forms`). A message that stands in JSON without a
name of its own (Volume's source) is a nested table. Types without numbers are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

from cluster.api import facts
from cluster.api.generate import forms


def table() -> dict[str, dict[str, object]]:
    structs = [name for name in facts.names() if facts.type_named(name).fields]
    return {name: numbers for name in structs if (numbers := forms.numbers(name))}


def main() -> None:
    text = json.dumps(table(), separators=(",", ":"), sort_keys=True)
    Path(__file__).with_name("numbers.json").write_text(text.replace('},"io.', '},\n"io.') + "\n")


if __name__ == "__main__":
    main()

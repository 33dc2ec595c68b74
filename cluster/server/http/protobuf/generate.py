"""Makes `numbers.json`: the protobuf field numbers of the API's types.

    python -m cluster.server.http.protobuf.generate FOLDER…

Reads every `generated.proto` below the folders (checkouts of k8s.io/api and k8s.io/apimachinery of the
release that `facts.json` was made from). Only numbers and names are kept. A message that stands in JSON
without a name of its own (Volume's source) becomes a nested table.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from cluster.api import facts

_PACKAGE = re.compile(r"^package ([\w.\-]+);", re.MULTILINE)
_MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (?:optional|repeated) ([\w.\-]+) (\w+) = (\d+);", re.MULTILINE)
_MAP = re.compile(r"^  map<[^>]*> (\w+) = (\d+);", re.MULTILINE)

Fields = list[tuple[int, str, str]]
"""(number, name, type)"""


def messages(folder: Path) -> dict[str, Fields]:
    """The fields of every message, by name as the published schemas write it."""
    found: dict[str, Fields] = {}
    for path in sorted(folder.rglob("generated.proto")):
        text = path.read_text()
        package = _PACKAGE.search(text)
        if package is None:
            raise ValueError(f"{path} has no package")
        for name, body in _MESSAGE.findall(text):
            fields = [(int(number), field, kind) for kind, field, number in _FIELD.findall(body)]
            fields += [(int(number), field, "") for field, number in _MAP.findall(body)]
            found[_published(f"{package[1]}.{name}")] = sorted(fields)
    return found


def numbers(found: dict[str, Fields]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name in facts.names():
        if name in found and facts.type_named(name).fields:
            known = {field.lower(): field for field in facts.type_named(name).fields}
            table[name] = _numbered(name, found, known)
    return table


def _numbered(name: str, found: dict[str, Fields], known: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    package = name.rpartition(".")[0]
    for number, field, kind in found[name]:
        if field.lower() in known:
            made[str(number)] = known[field.lower()]
            continue
        inline = _published(kind) if "." in kind else f"{package}.{kind}"
        if inline in found:
            made[str(number)] = _numbered(inline, found, known)
    return made


def _published(name: str) -> str:
    return f"io.k8s{name.removeprefix('.').removeprefix('k8s.io')}"


def main() -> None:
    found: dict[str, Fields] = {}
    for folder in sys.argv[1:]:
        found |= messages(Path(folder))
    text = json.dumps(numbers(found), separators=(",", ":"), sort_keys=True)
    Path(__file__).with_name("numbers.json").write_text(text.replace('},"io.', '},\n"io.') + "\n")


if __name__ == "__main__":
    main()

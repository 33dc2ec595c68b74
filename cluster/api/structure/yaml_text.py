"""YAML as Kubernetes reads it: times stay text, keys become text, repeated keys are noted."""

from __future__ import annotations

from typing import Any

import yaml


class Unreadable(Exception):
    """Not YAML; carries why."""


def load(body: bytes) -> tuple[Any, list[str]]:
    """The value and a message for each repeated key. Raises Unreadable."""
    try:
        loader = _Loader(body)
        try:
            return loader.get_single_data(), loader.repeated
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unreadable(" ".join(str(error).split())) from None


class _Loader(yaml.CSafeLoader):
    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key_text(self.construct_object(key_node, deep=True))
            if key in out:
                line = key_node.start_mark.line + 1
                self.repeated.append(f'line {line}: key "{key}" already set in map')
            out[key] = self.construct_object(value_node, deep=True)
        return out


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _key_text(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return key if isinstance(key, str) else str(key)

"""The OpenAPI documents against what others made of Kubernetes' own: the published schemas, the generated client."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from importlib import resources
from typing import Any

import pytest

from cluster.api import openapi
from cluster.api.registry import Registry

published = pytest.importorskip("kubernetes_validate")

OWN_WORDS = {"continue": "_continue", "from": "_from"}
"""Parameters that Python has another use for."""
VERBS = ("get", "put", "post", "delete", "options", "head", "patch")


def definitions() -> dict[str, Any]:
    source = resources.files("kubernetes_validate") / "kubernetes-json-schema" / "v1.37.0-local"
    found: dict[str, Any] = json.loads((source / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    return found


def normalised(schema: Any, prefix: str) -> Any:
    """Without texts, and without what that package adds: null for optional fields, the kinds' names."""
    if isinstance(schema, list):
        return [normalised(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: normalised(value, prefix) for key, value in schema.items()}
    if isinstance(made.get("type"), list):
        made["type"] = next(kind for kind in made["type"] if kind != "null")
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].removeprefix(prefix)
    made.pop("enum", None)
    if isinstance(made.get("description"), str):
        del made["description"]
    if "required" in made and isinstance(made["required"], list):
        made["required"] = sorted(made["required"])
    return made


SAID_OTHERWISE = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
}
"""The package shows these two as v3 does."""


def test_the_schemas_are_the_published_ones() -> None:
    """Every built-in type of the v2 document, field by field, with all extensions."""
    theirs = definitions()
    ours = openapi.v2(Registry())["definitions"]
    known = sorted(set(ours) & set(theirs) - SAID_OTHERWISE)
    assert len(known) > 550
    for name in known:
        wanted = normalised(theirs[name], "#/$defs/")
        assert normalised(ours[name], "#/definitions/") == wanted, name
    assert {name for name in ours if name not in theirs and not name.startswith("io.k8s.metrics.")} == set()


def snake(name: str) -> str:
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def client_methods() -> dict[tuple[str, str], set[str]]:
    """(class, method) of the generated client → its parameters."""
    generated = importlib.import_module("kubernetes.client.api")
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for name, each in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).items():
            if not inspect.isclass(each) or not name.endswith("Api"):
                continue
            for method, function in vars(each).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    code = inspect.unwrap(function).__code__
                    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                    found[name, method] = set(parameters) - {"self", "async_req"}
    return found


@pytest.mark.services  # importing the whole client takes its time
def test_the_operations_are_those_that_a_client_was_generated_from() -> None:
    """Names, tags and parameters: the class and method that a generator would make exists, and takes the same."""
    methods = client_methods()
    checked = 0
    for path, item in openapi.v2(Registry())["paths"].items():
        if "/watch/" in path or "/apis/metrics.k8s.io" in path:  # not in the client
            continue
        for verb in VERBS:
            if (operation := item.get(verb)) is None:
                continue
            tag = operation["tags"][0]
            group = "".join(part[:1].upper() + part[1:] for part in tag.split("_"))
            method = snake(re.sub(group, "", operation["operationId"], count=1))
            parameters = methods.get((f"{group}Api", method))
            if parameters is None:  # the tag is left in the names of the groups' lists
                parameters = methods[f"{group}Api", snake(operation["operationId"])]
            named = [p["name"] for p in (*operation["parameters"], *item.get("parameters", ()))]
            taken = {OWN_WORDS.get(name, snake(name)) for name in named}
            if named.count("path") == 2:
                taken.add("path2")
            assert taken == {p for p in parameters if not p.startswith("_") or p in OWN_WORDS.values()}, (
                method
            )
            checked += 1
    assert checked > 600

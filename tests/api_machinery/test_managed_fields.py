"""managedFields of creates, updates and status writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import kinds
from cluster.api.managed import ANCIENT, track
from cluster.api.managed_sets import Fields, intersection, minus, paths, union
from cluster.api.objects import Object, copy_of

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


def pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "d", "uid": "u", "labels": {"app": "a"}},
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "x",
                    "resources": {},
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                }
            ],
            "nodeSelector": {"x": "y"},
            "securityContext": {},
            "tolerations": [{"key": "k"}],
        },
    }


def managers(obj: Object) -> list[str]:
    return [e["manager"] for e in obj["metadata"].get("managedFields", ())]


def fields_of(obj: Object, manager: str) -> Fields:
    found: Fields = next(e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == manager)
    return found


def test_the_creator_owns_what_it_sent_in_the_form_that_kubernetes_writes() -> None:
    made = pod()
    track(kinds.PODS, made, None, manager="m", now=T0)
    assert made["metadata"]["managedFields"] == [
        {
            "manager": "m",
            "operation": "Update",
            "apiVersion": "v1",
            "time": T0,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:resources": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                    "f:protocol": {},
                                },
                            },
                        }
                    },
                    "f:nodeSelector": {},
                    "f:securityContext": {},
                    "f:tolerations": {},
                },
            },
        }
    ]


def test_a_status_write_has_an_entry_of_its_own() -> None:
    old = pod()
    track(kinds.PODS, old, None, manager="m", now=T0)
    new = {**old, "metadata": dict(old["metadata"]), "status": {"phase": "Running"}}
    track(kinds.PODS, new, old, manager="kubelet", now=T1, subresource="status")
    assert fields_of(new, "m") is fields_of(old, "m")
    assert new["metadata"]["managedFields"][1] == {
        "manager": "kubelet",
        "operation": "Update",
        "apiVersion": "v1",
        "time": T1,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:phase": {}}},
        "subresource": "status",
    }


def test_changing_a_field_takes_it_and_removing_it_frees_it() -> None:
    old = pod()
    track(kinds.PODS, old, None, manager="m", now=T0)
    new = copy_of(old)
    new["spec"]["containers"][0]["image"] = "y"
    del new["metadata"]["labels"]
    track(kinds.PODS, new, old, manager="n", now=T1)
    container = 'k:{"name":"c"}'
    assert fields_of(new, "n") == {"f:spec": {"f:containers": {container: {"f:image": {}}}}}
    mine = fields_of(new, "m")
    assert "f:image" not in mine["f:spec"]["f:containers"][container]
    assert "f:metadata" not in mine


def test_a_write_that_changes_nothing_leaves_the_entries_alone() -> None:
    old = pod()
    track(kinds.PODS, old, None, manager="m", now=T0)
    new = copy_of(old)
    new["metadata"]["resourceVersion"] = "77"
    new["metadata"].pop("managedFields")
    track(kinds.PODS, new, old, manager="n", now=T1)
    assert new["metadata"]["managedFields"] == old["metadata"]["managedFields"]


@pytest.mark.parametrize("sent", [[], [{}]], ids=["empty", "one-empty"])
def test_an_empty_list_strips_the_entries(sent: list[Any]) -> None:
    old = pod()
    track(kinds.PODS, old, None, manager="m", now=T0)
    new = copy_of(old)
    new["metadata"]["managedFields"] = sent
    track(kinds.PODS, new, old, manager="n", now=T1)
    assert "managedFields" not in new["metadata"]


def test_senseless_entries_are_ignored() -> None:
    old = pod()
    track(kinds.PODS, old, None, manager="m", now=T0)
    new = copy_of(old)
    new["metadata"]["managedFields"] = [{"manager": "x", "operation": "Update", "fieldsV1": {"spec": 3}}]
    track(kinds.PODS, new, old, manager="n", now=T1)
    assert managers(new) == ["m"]


def test_more_than_ten_updaters_are_merged_into_ancient_changes() -> None:
    obj = pod()
    track(kinds.PODS, obj, None, manager="m00", now=T0)
    for index in range(1, 15):
        new = copy_of(obj)
        new["metadata"].setdefault("annotations", {})[f"a{index}"] = "x"
        track(kinds.PODS, new, obj, manager=f"m{index:02}", now=f"2026-01-01T00:00:{index:02}Z")
        obj = new
    assert len(managers(obj)) == 10
    assert managers(obj)[0] == ANCIENT
    assert "f:spec" in fields_of(obj, ANCIENT)
    assert managers(obj)[-1] == "m14"


def test_custom_resources_without_schema_are_looked_into() -> None:
    resource = kinds.PODS.__class__(
        group="x.io", version="v1", kind="Foo", plural="foos", singular="foo", namespaced=True
    )
    obj: Object = {"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": {"b": 1}, "l": [1, 2]}}
    track(resource, obj, None, manager="m", now=T0)
    assert fields_of(obj, "m") == {
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:l": {}},
    }


PATHS = st.frozensets(
    st.lists(st.sampled_from(["f:a", "f:b", "f:c"]), min_size=1, max_size=3).map(tuple), max_size=8
)


def of_paths(found: frozenset[tuple[str, ...]]) -> Fields:
    fields: Fields = {}
    for path in sorted(found):
        node: Fields = {}
        for element in reversed(path):
            node = {element: node}
        fields = union(fields, node)
    return fields


@given(PATHS, PATHS)
def test_set_algebra_agrees_with_sets_of_paths(
    one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]
) -> None:
    a, b = of_paths(one), of_paths(other)
    assert set(paths(a)) == one
    assert set(paths(union(a, b))) == one | other
    assert set(paths(minus(a, b))) == one - other
    assert set(paths(intersection(a, b))) == one & other

"""JSON patch, merge patch and strategic merge patch, by example and by property."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import kinds
from cluster.api.errors import ApiError, BadRequest, InternalError, Invalid, RequestEntityTooLarge
from cluster.api.objects import copy_of
from cluster.api.patch import json_patch, merge_patch, merge_patch_object, strategic_merge_patch

Json = Any
DOCUMENT: Final = {"a": {"b": [1, 2, 3]}, "x/y": "s", "t": True}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([], DOCUMENT),
        ([{"op": "add", "path": "/c", "value": 1}], {**DOCUMENT, "c": 1}),
        ([{"op": "add", "path": "/a/b/1", "value": 9}], {**DOCUMENT, "a": {"b": [1, 9, 2, 3]}}),
        ([{"op": "add", "path": "/a/b/-", "value": 9}], {**DOCUMENT, "a": {"b": [1, 2, 3, 9]}}),
        ([{"op": "replace", "path": "/x~1y", "value": None}], {**DOCUMENT, "x/y": None}),
        ([{"op": "remove", "path": "/a/b/0"}], {**DOCUMENT, "a": {"b": [2, 3]}}),
        ([{"op": "remove", "path": "/a/b/-1"}], {**DOCUMENT, "a": {"b": [1, 2]}}),
        ([{"op": "move", "from": "/x~1y", "path": "/z"}], {"a": {"b": [1, 2, 3]}, "t": True, "z": "s"}),
        ([{"op": "copy", "from": "/a/b", "path": "/c"}], {**DOCUMENT, "c": [1, 2, 3]}),
        ([{"op": "test", "path": "/a", "value": {"b": [1, 2, 3]}}], DOCUMENT),
        ([{"op": "test", "path": "/missing", "value": None}], DOCUMENT),
        ([{"op": "replace", "path": "", "value": {"n": 1}}], {"n": 1}),
    ],
)
def test_json_patch(operations: list[Json], expected: Json) -> None:
    before = copy_of(DOCUMENT)
    assert json_patch(DOCUMENT, operations) == expected
    assert before == DOCUMENT


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "replace", "path": "/a/b/7", "value": 1},
        {"op": "add", "path": "/missing/x", "value": 1},
        {"op": "add", "path": "/a/b/x", "value": 1},
        {"op": "add", "path": "/c"},
        {"op": "test", "path": "/t", "value": 1},
        {"op": "move", "from": "/missing", "path": "/c"},
        {"op": "nonsense", "path": "/t"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "value": 1},
    ],
)
def test_json_patch_that_does_not_fit_is_unprocessable(operation: Json) -> None:
    with pytest.raises(Invalid) as caught:
        json_patch(DOCUMENT, [operation])
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_what_is_no_patch_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="cannot unmarshal object into Go value"):
        json_patch(DOCUMENT, {"op": "add"})
    with pytest.raises(BadRequest):
        merge_patch_object({}, [])
    with pytest.raises(BadRequest):
        strategic_merge_patch(kinds.PODS, {}, "x")
    with pytest.raises(RequestEntityTooLarge, match="is 10000, got 10001"):
        json_patch(DOCUMENT, [{"op": "test", "path": "/t", "value": True}] * 10_001)


@pytest.mark.parametrize(
    ("original", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_merge_patch(original: Json, patch: Json, expected: Json) -> None:
    assert merge_patch(original, patch) == expected


def pod(**spec: Any) -> Json:
    return {"metadata": {"name": "a"}, "spec": spec}


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c", "image": "1"}

STRATEGIC: Final = {
    "merges by key": (
        pod(containers=[A, B]),
        pod(containers=[{"name": "b", "image": "2"}]),
        pod(containers=[A, {"name": "b", "image": "2"}]),
    ),
    "adds an item after the old ones": (
        pod(containers=[A]), pod(containers=[C]), pod(containers=[C, A]),
    ),
    "deletes an item": (
        pod(containers=[A, B]), pod(containers=[{"$patch": "delete", "name": "a"}]), pod(containers=[B]),
    ),
    "replaces a list": (
        pod(containers=[A, B]), pod(containers=[C, {"$patch": "replace"}]), pod(containers=[C]),
    ),
    "replaces a map": (
        pod(nodeSelector={"a": "1"}),
        pod(nodeSelector={"$patch": "replace", "b": "2"}),
        pod(nodeSelector={"b": "2"}),
    ),
    "deletes a map": (
        pod(nodeSelector={"a": "1"}), pod(nodeSelector={"$patch": "delete"}), pod(nodeSelector={}),
    ),
    "null removes": (pod(nodeName="n", containers=[A]), pod(nodeName=None), pod(containers=[A])),
    "atomic lists are replaced": (
        pod(tolerations=[{"key": "a"}]), pod(tolerations=[{"key": "b"}]), pod(tolerations=[{"key": "b"}]),
    ),
    "orders by directive": (
        pod(containers=[A, B, C]),
        {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}},
        pod(containers=[C, B, A]),
    ),
    "keeps the server's own item in place": (
        pod(containers=[A, B, C]),
        {
            "spec": {
                "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
                "containers": [{"name": "c", "image": "2"}],
            }
        },
        pod(containers=[A, B, {"name": "c", "image": "2"}]),
    ),
    "scalars are a set": (
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"finalizers": ["c"]}},
        {"metadata": {"finalizers": ["c", "a", "b"]}},
    ),
    "scalars are deleted by directive": (
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
        {"metadata": {"finalizers": ["b"]}},
    ),
    "retains only named keys": (
        pod(volumes=[{"name": "v", "emptyDir": {}}]),
        pod(volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]),
        pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    ),
    "no directive stays in what is added": (
        pod(),
        pod(securityContext={"$retainKeys": ["runAsUser"], "runAsUser": 1, "fsGroup": None}),
        pod(securityContext={"runAsUser": 1}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("original", "patch", "expected"), STRATEGIC.values(), ids=STRATEGIC.keys())
def test_strategic_merge(original: Json, patch: Json, expected: Json) -> None:
    before, patch_before = copy_of(original), copy_of(patch)
    assert strategic_merge_patch(kinds.PODS, original, patch) == expected
    assert (original, patch) == (before, patch_before)


def test_ports_of_a_service_merge_by_number_alone() -> None:
    """The merge key of strategic merge is older than the list's map keys, and coarser."""
    service = {"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]}}
    patched = strategic_merge_patch(kinds.SERVICES, service, {"spec": {"ports": [{"port": 81, "name": "x"}]}})
    assert patched["spec"]["ports"][1] == {"port": 81, "protocol": "TCP", "name": "x"}


@pytest.mark.parametrize(
    ("patch", "error", "message"),
    [
        (pod(containers=[{"image": "x"}]), InternalError, "map: map[image:x] does not contain declared merge key"),
        (pod(nodeSelector={"$patch": "x"}), InternalError, "unknown patch type: x in map: map[$patch:x]"),
        ({"spec": {"$setElementOrder/containers": 1}}, BadRequest, "invalid patch format of setElementOrder list"),
        ({"spec": {"$retainKeys": 1}}, BadRequest, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["a"], "nodeName": "x"}}, Invalid, "the server rejected our request"),
    ],
)  # fmt: skip
def test_wrong_strategic_patches(patch: Json, error: type[ApiError], message: str) -> None:
    with pytest.raises(error) as caught:
        strategic_merge_patch(kinds.PODS, pod(containers=[A]), patch)
    assert caught.value.message.startswith(message)


NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@given(NAMES, NAMES)
def test_set_element_order_puts_every_named_item_in_that_order(server: list[str], order: list[str]) -> None:
    """Named items come out in the asked order, the server's own keep theirs, and none is lost or doubled."""
    original = pod(containers=[{"name": n} for n in server])
    patch = {"spec": {"$setElementOrder/containers": [{"name": n} for n in order]}}
    result = [c["name"] for c in strategic_merge_patch(kinds.PODS, original, patch)["spec"]["containers"]]
    assert sorted(result) == sorted(server)
    assert [n for n in result if n in order] == [n for n in order if n in server]
    assert [n for n in result if n not in order] == [n for n in server if n not in order]

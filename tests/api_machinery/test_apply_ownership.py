"""Server-side apply: ownership, conflicts, removal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import kinds
from cluster.api.apply import apply
from cluster.api.errors import BadRequest, Conflict, Unclassified
from cluster.api.managed import track
from cluster.api.objects import Object, copy_of

NOW = "2026-01-02T03:04:05Z"
Json = dict[str, Any]


def config_map(data: Json | None = None, **metadata: Any) -> Object:
    made: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "d", **metadata},
    }
    return made if data is None else {**made, "data": data}


def deployment(containers: list[Json], **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


def entry(obj: Object, manager: str, subresource: str = "") -> Json:
    found = [
        e
        for e in obj["metadata"]["managedFields"]
        if (e["manager"], e.get("subresource", "")) == (manager, subresource)
    ]
    assert len(found) == 1
    return dict(found[0])


def test_apply_creates_and_owns_what_was_said() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map({"a": "1"}), manager="m", now=NOW)
    assert made["data"] == {"a": "1"}
    assert made["metadata"]["managedFields"] == [
        {
            "manager": "m",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]


def test_applying_the_same_again_changes_nothing() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map({"a": "1"}), manager="m", now=NOW)
    again = apply(kinds.CONFIG_MAPS, made, config_map({"a": "1"}), manager="m", now="2027-01-01T00:00:00Z")
    assert again is made


def test_what_is_no_longer_applied_is_removed() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map({"a": "1", "b": "2"}), manager="m", now=NOW)
    made = apply(kinds.CONFIG_MAPS, made, config_map({"b": "2"}), manager="m", now=NOW)
    assert made["data"] == {"b": "2"}
    made = apply(kinds.CONFIG_MAPS, made, config_map(), manager="m", now=NOW)
    assert "data" not in made


def test_metadata_keeps_its_name_when_labels_are_no_longer_applied() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map(labels={"a": "1"}), manager="m", now=NOW)
    made["metadata"]["uid"] = "u"
    made = apply(kinds.CONFIG_MAPS, made, config_map(), manager="m", now=NOW)
    assert made["metadata"] == {"name": "a", "namespace": "d", "uid": "u"} | {
        key: made["metadata"][key] for key in ("managedFields",) if key in made["metadata"]
    }


def test_a_shared_field_stays_until_its_last_owner_leaves_it_out() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map({"a": "1"}), manager="m", now=NOW)
    made = apply(kinds.CONFIG_MAPS, made, config_map({"a": "1"}), manager="n", now=NOW)
    made = apply(kinds.CONFIG_MAPS, made, config_map({}), manager="m", now=NOW)
    assert made["data"] == {"a": "1"}
    made = apply(kinds.CONFIG_MAPS, made, config_map({}), manager="n", now=NOW)
    assert not made.get("data")


def test_conflict_names_manager_and_field() -> None:
    live = deployment([{"name": "c", "image": "x:1"}], replicas=3)
    track(kinds.DEPLOYMENTS, live, None, manager="kubectl-client-side-apply", now=NOW)
    wanted = deployment([{"name": "c", "image": "x:1"}], replicas=4)
    with pytest.raises(Conflict) as caught:
        apply(kinds.DEPLOYMENTS, live, wanted, manager="m", now=NOW)
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert [c.as_json() for c in caught.value.causes] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
            "field": ".spec.replicas",
        }
    ]


def test_several_conflicts_are_listed_by_manager() -> None:
    live = deployment([{"name": "c", "image": "x:1"}], replicas=3)
    track(kinds.DEPLOYMENTS, live, None, manager="hpa", now=NOW, subresource="scale")
    wanted = deployment([{"name": "c", "image": "x:2"}], replicas=4)
    with pytest.raises(Conflict) as caught:
        apply(kinds.DEPLOYMENTS, live, wanted, manager="m", now=NOW)
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "hpa" with subresource "scale" using apps/v1:\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="c"].image'
    )


def test_force_takes_the_field_from_its_owner() -> None:
    made = apply(kinds.CONFIG_MAPS, None, config_map({"a": "1"}), manager="m", now=NOW)
    made = apply(kinds.CONFIG_MAPS, made, config_map({"a": "2"}), manager="n", now=NOW, force=True)
    assert made["data"] == {"a": "2"}
    assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["n"]


def test_list_items_are_owned_by_key_and_keep_others() -> None:
    live = deployment([{"name": "c", "image": "x:1"}])
    track(kinds.DEPLOYMENTS, live, None, manager="creator", now=NOW)
    wanted = deployment([{"name": "sidecar", "image": "y:1"}])
    made = apply(kinds.DEPLOYMENTS, live, wanted, manager="m", now=NOW)
    assert [c["name"] for c in made["spec"]["template"]["spec"]["containers"]] == ["c", "sidecar"]
    owned = entry(made, "m")["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert owned == {'k:{"name":"sidecar"}': {".": {}, "f:name": {}, "f:image": {}}}
    made = apply(kinds.DEPLOYMENTS, made, deployment([]), manager="m", now=NOW)
    assert [c["name"] for c in made["spec"]["template"]["spec"]["containers"]] == ["c"]


def test_an_item_is_not_removed_while_another_manager_set_a_field_of_it() -> None:
    made = apply(kinds.DEPLOYMENTS, None, deployment([{"name": "c", "image": "x"}]), manager="m", now=NOW)
    other = deployment([{"name": "c", "env": [{"name": "A", "value": "1"}]}])
    made = apply(kinds.DEPLOYMENTS, made, other, manager="n", now=NOW)
    made = apply(kinds.DEPLOYMENTS, made, deployment([]), manager="m", now=NOW)
    assert made["spec"]["template"]["spec"]["containers"] == [
        {"name": "c", "env": [{"name": "A", "value": "1"}]}
    ]


def test_values_that_a_controller_set_survive_an_apply_that_leaves_them_out() -> None:
    made = apply(kinds.DEPLOYMENTS, None, deployment([{"name": "c", "image": "x"}]), manager="m", now=NOW)
    scaled = copy_of(made)
    scaled["spec"]["replicas"] = 5
    track(kinds.DEPLOYMENTS, scaled, made, manager="hpa", now=NOW)
    wanted = deployment([{"name": "c", "image": "x:2"}])
    made = apply(kinds.DEPLOYMENTS, scaled, wanted, manager="m", now=NOW)
    assert made["spec"]["replicas"] == 5


def test_status_is_ignored_at_the_main_endpoint() -> None:
    wanted = {**deployment([]), "status": {"replicas": 7}}
    made = apply(kinds.DEPLOYMENTS, None, wanted, manager="m", now=NOW)
    assert "status" not in made


def test_kubectl_takes_over_what_client_side_apply_had_set() -> None:
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"d"},"data":{"a":"1"}}'
    live = config_map({"a": "1"}, annotations={"kubectl.kubernetes.io/last-applied-configuration": text})
    track(kinds.CONFIG_MAPS, live, None, manager="kubectl-client-side-apply", now=NOW)
    made = apply(kinds.CONFIG_MAPS, live, config_map({"a": "2"}), manager="kubectl", now=NOW)
    assert made["data"] == {"a": "2"}
    annotation = made["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert '"data":{"a":"2"}' in annotation
    with pytest.raises(Conflict):
        apply(kinds.CONFIG_MAPS, live, config_map({"a": "2"}), manager="other", now=NOW)


def test_an_object_without_entries_counts_as_set_before_the_first_apply() -> None:
    live = config_map({"a": "1"})
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: .data.a'):
        apply(kinds.CONFIG_MAPS, live, config_map({"a": "2"}), manager="m", now=NOW)


def test_wrong_configurations_are_refused_in_kubernetes_words() -> None:
    with pytest.raises(BadRequest, match=r"metadata.managedFields must be nil"):
        apply(kinds.CONFIG_MAPS, None, config_map(managedFields=[{}]), manager="m", now=NOW)
    wanted = {**config_map(), "dta": {}}
    with pytest.raises(Unclassified) as caught:
        apply(kinds.CONFIG_MAPS, None, wanted, manager="m", now=NOW)
    assert caught.value.message == (
        "failed to create typed patch object (d/a; v1, Kind=ConfigMap): .dta: field not declared in schema"
    )
    with pytest.raises(Unclassified, match=r'element 0: associative list with keys has an .* "name"'):
        apply(kinds.DEPLOYMENTS, None, deployment([{"image": "x"}]), manager="m", now=NOW)


KEYS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from("mn"), KEYS, st.booleans()), max_size=8)


@given(STEPS)
def test_any_interleaving_of_two_managers_keeps_ownership_consistent(
    steps: list[tuple[str, dict[str, str], bool]],
) -> None:
    """Every value is somebody's, a manager owns exactly what it applied last unless it was forced away, and the
    server's values under a manager's claim are the ones it applied."""
    live: Object | None = None
    last: dict[str, dict[str, str]] = {}
    for manager, data, force in steps:
        try:
            live = apply(kinds.CONFIG_MAPS, live, config_map(data), manager=manager, now=NOW, force=force)
        except Conflict:
            continue
        last[manager] = data
        for other in last:
            if other != manager:
                last[other] = {k: v for k, v in last[other].items() if data.get(k, v) == v}
        assert (live.get("data") or {}) == {k: v for claimed in last.values() for k, v in claimed.items()}
        owners = {
            e["manager"]: {k[2:] for k in e["fieldsV1"].get("f:data", {}) if k != "."}
            for e in live["metadata"].get("managedFields", ())
        }
        for name, claimed in last.items():
            assert owners.get(name, set()) == set(claimed)

"""Label and field selectors: grammar, messages, matching."""

from typing import Any

import pytest

from cluster.api import selectors
from cluster.api.errors import BadRequest
from cluster.api.resource import Resource
from cluster.api.selectors import SelectorError, parse_fields, parse_labels

PODS = Resource(group="", version="v1", kind="Pod", plural="pods", singular="pod", namespaced=True)
JOBS = Resource(group="batch", version="v1", kind="Job", plural="jobs", singular="job", namespaced=True)
MAPS = Resource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", singular="configmap", namespaced=True
)

LABELS = {"app": "web", "tier": "front", "cores": "8", "x.io/a": "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=api", False),
        ("app!=api", True),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app notin (api,db)", True),
        ("missing notin (a)", True),
        ("missing in (a)", False),
        ("cores>4", True),
        ("cores<4", False),
        ("app>4", False),
        ("x.io/a=b", True),
        ("app=", False),
        (" app = web , tier in ( front ) ", True),
        ("missing in ()", False),
        ("app in (,web)", True),
    ],
)
def test_text_form_matches(text: str, expected: bool) -> None:
    assert parse_labels(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app=web,", "found '', expected: identifier after ','"),
        (",app", "found ',', expected: !, identifier, or 'end of string'"),
        ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app=web)", "found ')', expected: ',' or 'end of string'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("n>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators"),
        ("a=-b", 'unable to parse requirement: values[0][a]: Invalid value: "-b": a valid label must'),
        ("-a=b", 'unable to parse requirement: key: Invalid value: "-a": name part must consist of'),
    ],
)  # fmt: skip
def test_wrong_text_is_named_as_kubernetes_does(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_labels(text)
    assert str(caught.value).startswith(message)


def test_printing_is_canonical() -> None:
    text = "z, b in (y,x),a==1,!c,n>4"
    assert str(parse_labels(text)) == "a==1,b in (x,y),!c,n>4,z"


def test_absent_object_form_matches_nothing_and_empty_everything() -> None:
    assert not selectors.matches_object_form(None, LABELS)
    assert selectors.matches_object_form({}, LABELS)
    assert selectors.of_map(None).matches(LABELS)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "app", "operator": "In", "values": ["web"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_object_form_expressions(expression: dict[str, Any], expected: bool) -> None:
    form = {"matchLabels": {"tier": "front"}, "matchExpressions": [expression]}
    assert selectors.matches_object_form(form, LABELS) is expected


def test_unknown_operator_is_refused() -> None:
    with pytest.raises(SelectorError, match='"Gt" is not a valid label selector operator'):
        selectors.of_object_form({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})


POD = {
    "metadata": {"name": "a", "namespace": "d"},
    "spec": {"nodeName": "n1"},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("spec.nodeName=n1", True),
        ("spec.nodeName==n1,status.phase!=Failed", True),
        ("spec.nodeName!=n1", False),
        ("spec.nodeName=", False),
        ("status.nominatedNodeName=", True),
        ("spec.hostNetwork=false", True),
        ("status.podIPs=10.0.0.1", True),
        ("metadata.name=a,metadata.namespace=d", True),
        ("spec.host=n1", True),
    ],
)
def test_field_selectors_match(text: str, expected: bool) -> None:
    selector = parse_fields(text)
    selectors.check_fields(PODS, selector)
    assert selector.matches(PODS, POD) is expected


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (PODS, "spec.foo=1", "field label not supported: spec.foo"),
        (JOBS, "spec.foo=1", 'field label "spec.foo" not supported for Job'),
        (
            MAPS,
            "data.a=1",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
    ],
)  # fmt: skip
def test_fields_that_a_kind_lacks_are_refused(resource: Resource, text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        selectors.check_fields(resource, parse_fields(text))
    assert caught.value.message == message


def test_wrong_field_selector_and_escapes() -> None:
    with pytest.raises(ValueError, match="invalid selector: 'a'; can't understand 'a'"):
        parse_fields("a")
    assert parse_fields(r"metadata.name=a\,b\=c").terms[0].value == "a,b=c"
    assert str(parse_fields(r"metadata.name=a\,b\=c")) == r"metadata.name=a\,b\=c"
    with pytest.raises(ValueError, match="invalid escape sequence"):
        parse_fields(r"a=\x")

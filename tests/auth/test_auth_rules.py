"""Policy rules, without a server: what they allow, what they cover, what they cost."""

from __future__ import annotations

from time import process_time
from timeit import repeat
from typing import Any

import pytest

from cluster.server.auth.attributes import Attributes
from cluster.server.auth.bootstrap import policy_objects, rule
from cluster.server.auth.policy import CLUSTER_ROLES
from cluster.server.auth.rbac import KINDS, Rbac
from cluster.server.auth.rules import compact, compiled, missing
from cluster.server.call import User

JANE = User(name="jane", groups=("dev", "system:authenticated"))


def attributes(verb: str, resource: str = "", **more: str) -> Attributes:
    plural, _, subresource = resource.partition("/")
    return Attributes(
        JANE,
        verb,
        more.get("group", ""),
        "v1",
        plural,
        subresource,
        more.get("namespace", ""),
        more.get("name", ""),
        more.get("path", ""),
    )


@pytest.mark.parametrize(
    ("line", "asked", "allowed"),
    [
        pytest.param("get; pods; core", attributes("get", "pods"), True, id="exact"),
        pytest.param("get; pods; core", attributes("list", "pods"), False, id="other verb"),
        pytest.param("get; pods; core", attributes("get", "pods", group="apps"), False, id="other group"),
        pytest.param("get; pods; core", attributes("get", "pods/log"), False, id="subresource not meant"),
        pytest.param("get; pods/log; core", attributes("get", "pods/log"), True, id="subresource"),
        pytest.param("get; */scale; apps", attributes("get", "deployments/scale", group="apps"), True,
                     id="subresource of any"),
        pytest.param("get; *; *", attributes("get", "pods/log"), True, id="star means subresources too"),
        pytest.param("get; pods; core; a", attributes("get", "pods", name="a"), True, id="named"),
        pytest.param("get; pods; core; a", attributes("get", "pods", name="b"), False, id="another name"),
        pytest.param("get; pods; core; a", attributes("list", "pods"), False, id="names and lists"),
        pytest.param("get /healthz/*", attributes("get", path="/healthz/etcd"), True, id="path prefix"),
        pytest.param("get /healthz", attributes("get", path="/healthz/etcd"), False, id="path exact"),
        pytest.param("* *", attributes("put", path="/x"), True, id="every path"),
        pytest.param("*; *; *", attributes("get", path="/x"), False, id="resources are no paths"),
    ],
)  # fmt: skip
def test_a_rule_allows_what_it_says(line: str, asked: Attributes, allowed: bool) -> None:
    (only,) = compiled([rule(line)])
    assert only.allows(asked) is allowed


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        pytest.param(["*; *; *"], ["get; pods; core"], 0, id="star covers"),
        pytest.param(["get list; pods; core"], ["get; pods; core"], 0, id="superset"),
        pytest.param(["get; pods; core", "list; pods; core"], ["get list; pods; core"], 0, id="two together"),
        pytest.param(["get; pods; core"], ["get list; pods secrets; core"], 3, id="part"),
        pytest.param(["get; pods; core; a"], ["get; pods; core"], 1, id="a name is not all"),
        pytest.param(["get; pods; core"], ["get; pods; core; a"], 0, id="all is every name"),
        pytest.param(["get; pods; core"], ["get; *; core"], 1, id="one is not star"),
        pytest.param(["get /api/*"], ["get /api/v1"], 0, id="path prefix"),
    ],
)
def test_what_is_missing(held: list[str], wanted: list[str], lacking: int) -> None:
    rules = compiled([rule(line) for line in held])
    assert len(missing(rules, [rule(line) for line in wanted])) == lacking


def test_missing_permissions_are_shown_as_kubernetes_shows_them() -> None:
    parts = missing((), [rule("get list; pods; core"), rule("get /x")])
    assert compact(parts) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
        '{NonResourceURLs:["/x"], Verbs:["get"]}',
    ]


def default_policy() -> Rbac:
    objects: dict[str, list[Any]] = {qualified: [] for qualified in KINDS}
    for resource, obj in policy_objects():
        objects[resource.qualified].append(obj)
    return Rbac(lambda qualified: objects[qualified])


def test_the_aggregated_roles_hold_what_their_parts_hold() -> None:
    roles = {obj["metadata"]["name"]: obj for r, obj in policy_objects() if r.kind == "ClusterRole"}
    for part in ("system:aggregate-to-view", "system:aggregate-to-edit", "system:aggregate-to-admin"):
        assert not missing(compiled(roles["admin"]["rules"]), [rule(line) for line in CLUSTER_ROLES[part]])
    assert missing(compiled(roles["view"]["rules"]), [rule("get; secrets; core")])


def test_everybody_may_discover_and_ask_about_themselves() -> None:
    rbac = default_policy()
    assert rbac.authorize(Attributes(JANE, "get", path="/apis/apps/v1")).allowed
    review = Attributes(JANE, "create", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    assert rbac.authorize(review).allowed
    assert not rbac.authorize(attributes("get", "pods")).allowed


def test_authorization_of_masters_looks_at_no_rules() -> None:
    """A decision costs no more than putting the question a few times over; going through the rules does."""
    rbac = default_policy()
    master = User(name="root", groups=("system:masters", "system:authenticated"))

    def question() -> Attributes:
        return Attributes(master, "get", "", "v1", "pods", "", "default", "x")

    asking = min(repeat(question, number=1000, repeat=5, timer=process_time))
    deciding = min(repeat(lambda: rbac.authorize(question()), number=1000, repeat=5, timer=process_time))
    assert deciding < 10 * asking

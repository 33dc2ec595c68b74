"""Paths, options and Accept headers, without a server."""

from __future__ import annotations

import pytest

from cluster.api.errors import ApiError
from cluster.server.http import options
from cluster.server.http.accept import Encoding, Form, clauses, negotiate
from cluster.server.http.paths import Target, target_of
from cluster.server.http.proxying import up_to_proxy


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target("", "v1", "pods")),
        ("/api/v1/namespaces/a/pods/b/log", Target("", "v1", "pods", "a", "b", "log")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", "a", "a")),
        ("/api/v1/namespaces/a/finalize", Target("", "v1", "namespaces", "a", "a", "finalize")),
        ("/api/v1/nodes/n/proxy/x/y", Target("", "v1", "nodes", "", "n", "proxy", "x/y")),
        ("/apis/apps/v1/deployments/", Target("apps", "v1", "deployments")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", Target("apps", "v1", "deployments", "a", "d", "scale")),
        ("/api/v1/watch/namespaces/a/pods", Target("", "v1", "pods", "a", watch=True)),
        ("/api", None), ("/api/v1", None), ("/apis/apps/v1", None), ("/apis/apps", None), ("/", None),
        ("/version", None), ("/openapi/v3/api/v1", None),
    ],
)  # fmt: skip
def test_paths(path: str, target: Target | None) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/yaml", Form(Encoding.YAML)),
        ("application/json;q=0.5, application/yaml", Form(Encoding.YAML)),
        ("application/vnd.kubernetes.protobuf,application/json", Form()),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Form(transform="Table"),
        ),
        (
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
            Form(transform="Table", version="v1beta1"),
        ),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io,application/json", Form()),
    ],
)
def test_accept_headers(header: str, form: Form) -> None:
    assert negotiate(header) == form


@pytest.mark.parametrize(
    "header", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;q=0"]
)
def test_headers_that_accept_nothing_we_have(header: str) -> None:
    with pytest.raises(ApiError) as refused:
        negotiate(header)
    assert refused.value.code == 406


@pytest.mark.parametrize("header", ["", " ", ","])
def test_a_header_without_media_types_has_no_clauses(header: str) -> None:
    """So whoever asks for OpenAPI without an Accept header gets it."""
    assert clauses(header) == ()


@pytest.mark.parametrize(
    ("query", "value"),
    [("", False), ("watch", True), ("watch=", True), ("watch=true", True), ("watch=1", True),
     ("watch=false", False), ("watch=False", False), ("watch=0", False)],
)  # fmt: skip
def test_flags(query: str, value: bool) -> None:
    assert options.flag(options.parse(query), "watch") is value


def test_the_first_value_of_a_parameter_counts_and_is_decoded() -> None:
    query = options.parse("labelSelector=a%3Db%2Cc+in+%28d%29&labelSelector=x")
    assert query["labelSelector"] == "a=b,c in (d)"


def test_the_field_manager_comes_from_the_user_agent() -> None:
    assert options.field_manager({}, "kubectl/v1.37 (linux)", "CreateOptions") == "kubectl"
    assert options.field_manager({"fieldManager": "me"}, "kubectl/v1", "CreateOptions") == "me"
    with pytest.raises(ApiError, match="may not be more than 128 bytes"):
        options.field_manager({"fieldManager": "x" * 129}, "", "CreateOptions")


def test_delete_options_from_query_and_body() -> None:
    query = options.parse("gracePeriodSeconds=3&propagationPolicy=Orphan&dryRun=All")
    found, dry_run = options.delete_options(query, None)
    assert (found.grace_period_s, found.propagation, dry_run) == (3, "Orphan", True)
    body = {"kind": "DeleteOptions", "preconditions": {"uid": "u"}, "orphanDependents": False}
    found, dry_run = options.delete_options({}, body)
    assert (found.uid, found.propagation, dry_run) == ("u", "Background", False)
    with pytest.raises(ApiError, match="cannot be both set"):
        options.delete_options({}, {"orphanDependents": True, "propagationPolicy": "Orphan"})


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/api/v1/namespaces/a/pods/b/proxy/c/proxy?d=e", "/api/v1/namespaces/a/pods/b/proxy"),
        ("/api/v1/namespaces/proxy-1/services/proxy:80/proxy", "/api/v1/namespaces/proxy-1/services/proxy:80/proxy"),
        ("/api/v1/nodes/proxy/proxy/metrics", "/api/v1/nodes/proxy/proxy"),
    ],
)  # fmt: skip
def test_the_part_of_a_path_that_names_the_proxy(path: str, part: str) -> None:
    """It goes before the links of a page, whatever else is called proxy."""
    assert up_to_proxy(path) == part

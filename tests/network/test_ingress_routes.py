"""Where a request goes by the Ingresses."""

from __future__ import annotations

from typing import Any

import pytest

from agents.services.routes import Backend, Path, Routes, chosen, is_ours
from cluster.api.objects import Key, Object

NGINX = "nginx.ingress.kubernetes.io/"


def make_ingress(
    name: str = "site", *rules: Object, created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> Object:
    notes = {NGINX + key: value for key, value in spec.pop("notes", {}).items()}
    meta = {"name": name, "namespace": "default", "creationTimestamp": created, "annotations": notes}
    return {"kind": "Ingress", "metadata": meta, "spec": {"rules": list(rules), **spec}}


def rule(host: str, *paths: tuple[str, str, str]) -> Object:
    entries = [
        {"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}}
        for path, kind, service in paths
    ]
    return {**({"host": host} if host else {}), "http": {"paths": entries}}


def service_for(routes: Routes, host: str, path: str) -> str:
    _, backend = routes.find(host, path)
    return backend.service.name if backend is not None else ""


ROUTES = Routes(
    [
        make_ingress(
            "site",
            rule(
                "a.example", ("/", "Prefix", "root"), ("/api", "Prefix", "api"), ("/api/v1", "Exact", "exact")
            ),
            rule("*.b.example", ("/", "Prefix", "wild")),
            rule("exact.b.example", ("/", "Prefix", "named")),
            rule("", ("/any", "ImplementationSpecific", "any")),
            rule("only.example", ("/x", "Prefix", "x")),
        ),
        make_ingress("last", defaultBackend={"service": {"name": "fallback", "port": {"number": 80}}}),
    ]
)
REQUESTS = {
    ("a.example", "/"): "root",
    ("A.example:8080", "/x"): "root",
    ("a.example", "/api"): "api",
    ("a.example", "/api/"): "api",
    ("a.example", "/api/v1"): "exact",
    ("a.example", "/api/v1/x"): "api",
    ("a.example", "/apis"): "root",
    ("x.b.example", "/"): "wild",
    ("exact.b.example", "/"): "named",
    ("y.x.b.example", "/"): "fallback",
    ("unknown.example", "/any/more"): "any",
    ("unknown.example", "/other"): "fallback",
    ("only.example", "/y"): "fallback",
}


@pytest.mark.parametrize("request_", list(REQUESTS), ids=lambda r: r[0] + r[1])
def test_hosts_and_paths(request_: tuple[str, str]) -> None:
    assert service_for(ROUTES, *request_) == REQUESTS[request_]


def test_the_older_ingress_has_the_path() -> None:
    younger = make_ingress("a", rule("h", ("/", "Prefix", "young")), created="2026-02-01T00:00:00Z")
    older = make_ingress("b", rule("h", ("/", "Prefix", "old")))
    assert service_for(Routes([younger, older]), "h", "/") == "old"


REWRITES = {
    ("/app(/|$)(.*)", "/$2", "/app/x/y"): "/x/y",
    ("/app(/|$)(.*)", "/$2", "/app"): "/",
    ("/app", "/", "/app/x"): "/",
    ("/app", "", "/app/x"): "/app/x",
}


@pytest.mark.parametrize("case", list(REWRITES), ids=lambda c: f"{c[0]} to {c[1]}")
def test_rewrite_target(case: tuple[str, str, str]) -> None:
    path, target, asked = case
    ingress = make_ingress(
        "s", rule("h", (path, "ImplementationSpecific", "web")), notes={"rewrite-target": target}
    )
    found, _ = Routes([ingress]).find("h", asked)
    assert found is not None
    assert found.rewritten(asked) == REWRITES[case]


def canary_path(**notes: str) -> Path:
    main = make_ingress("main", rule("h", ("/", "Prefix", "main")))
    canary = make_ingress("canary", rule("h", ("/", "Prefix", "canary")), notes={"canary": "true", **notes})
    found, _ = Routes([canary, main]).find("h", "/")
    assert found is not None
    return found


@pytest.mark.parametrize("weight", [0, 5, 20, 100])
def test_a_canary_gets_its_weight(weight: int) -> None:
    path = canary_path(**{"canary-weight": str(weight)})
    services = [chosen(path, lambda name: "", {}, turn).service.name for turn in range(100)]
    assert services.count("canary") == weight


def test_a_canary_by_header_and_cookie() -> None:
    path = canary_path(**{"canary-by-header": "X-Try", "canary-by-cookie": "try", "canary-weight": "100"})

    def service(header: str = "", **cookies: str) -> str:
        return chosen(path, lambda name: header if name == "X-Try" else "", cookies, 0).service.name

    assert [service("always"), service("never"), service("never", **{"try": "always"})] == [
        "canary",
        "main",
        "main",
    ]
    assert [service(**{"try": "never"}), service()] == ["main", "canary"]


def test_a_canary_alone_is_nothing() -> None:
    canary = make_ingress("canary", rule("h", ("/", "Prefix", "canary")), notes={"canary": "true"})
    assert Routes([canary]).find("h", "/") == (None, None)


@pytest.mark.parametrize(
    ("notes", "redirected"),
    [({}, True), ({"ssl-redirect": "false"}, False)],
    ids=["by default", "switched off"],
)
def test_hosts_with_a_certificate_go_to_https(notes: dict[str, str], redirected: bool) -> None:
    ingress = make_ingress(
        "s", rule("h", ("/", "Prefix", "web")), tls=[{"hosts": ["h"], "secretName": "t"}], notes=notes
    )
    found, backend = Routes([ingress]).find("h", "/")
    assert backend == Backend(Key("default", "web"), 80)
    assert found is not None
    assert found.to_tls is redirected


CLASSES = [
    {"metadata": {"name": "mine"}, "spec": {"controller": "kubemu.dev/ingress"}},
    {"metadata": {"name": "other"}, "spec": {"controller": "example.com/other"}},
]


@pytest.mark.parametrize(("name", "ours"), [("mine", True), ("other", False), ("gone", False)])
def test_the_class_decides_whose_it_is(name: str, ours: bool) -> None:
    assert is_ours(make_ingress("s", ingressClassName=name), CLASSES) is ours


def test_one_regular_expression_makes_all_paths_of_its_host_such() -> None:
    """As nginx' controller does: without regard to case, the longest text first; others hosts stay as they are."""
    routes = Routes(
        [
            make_ingress(
                "re",
                rule("a.example", ("/v[0-9]+/x", "ImplementationSpecific", "re")),
                notes={"use-regex": "true"},
            ),
            make_ingress(
                "plain",
                rule("a.example", ("/api", "Exact", "api")),
                rule("b.example", ("/api", "Exact", "api")),
            ),
        ]
    )
    assert service_for(routes, "a.example", "/V12/x/y") == "re"
    assert service_for(routes, "a.example", "/API/more") == "api"
    assert service_for(routes, "b.example", "/api/more") == ""


def test_what_is_no_regular_expression_is_no_path() -> None:
    routes = Routes(
        [
            make_ingress(
                "bad", rule("a.example", ("/(", "ImplementationSpecific", "x")), notes={"use-regex": "true"}
            )
        ]
    )
    assert service_for(routes, "a.example", "/(") == ""


def test_backends_that_are_no_services_are_no_paths() -> None:
    resource = {"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "b"}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": resource}]
    routes = Routes([make_ingress("r", {"host": "a.example", "http": {"paths": paths}})])
    assert service_for(routes, "a.example", "/") == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 1 << 20),
        ("8m", 8 << 20),
        ("512K", 512 << 10),
        ("1g", 1 << 30),
        ("100", 100),
        ("0", 0),
        ("x", 1 << 20),
    ],
)
def test_sizes_as_nginx_writes_them(text: str, size: int) -> None:
    path, _ = Routes(
        [make_ingress("s", rule("", ("/", "Prefix", "web")), notes={"proxy-body-size": text})]
    ).find("", "/")
    assert path is not None
    assert path.body_limit == size


def test_a_canary_by_a_pattern_of_its_header() -> None:
    path = canary_path(**{"canary-by-header": "X-Who", "canary-by-header-pattern": "^(ann|bob)$"})
    said = [chosen(path, lambda _, who=who: who, {}, 0).service.name for who in ("ann", "annie", "")]
    assert said == ["canary", "main", "main"]

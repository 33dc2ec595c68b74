"""The cluster's names: what the DNS specification for Kubernetes asks for, question by question."""

from __future__ import annotations

import pytest
from service_objects import make_endpoint, make_service, make_slice

from agents.services.names import Names, Verdict
from agents.services.table import ServiceTable
from agents.services.whereabouts import Whereabouts

ZONE = "cluster.local"


def names() -> Names:
    table = ServiceTable(Whereabouts(), lambda: 0.0)
    table.set_service(make_service(ports=[{"name": "http", "port": 80, "protocol": "TCP"}]))
    table.set_service(make_service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432}]))
    table.set_slice(
        make_slice(
            make_endpoint("127.64.0.2", hostname="db-0"),
            make_endpoint("127.64.0.3"),
            make_endpoint("127.64.0.4", hostname="db-2", ready=False),
            service="db", name="db-1", port=5432, port_name="sql",
        )
    )  # fmt: skip
    table.set_service(make_service("empty", clusterIP="None"))
    table.set_service(
        make_service("alias", type="ExternalName", clusterIP="", externalName="db.default.svc.cluster.local")
    )
    table.set_service(make_service("away", type="ExternalName", clusterIP="", externalName="www.example.com"))
    entry = {"ip": "127.201.0.2", "hostname": "lb.default.lb.kubemu.test"}
    table.set_service(
        make_service("lb", status={"loadBalancer": {"ingress": [entry]}}, clusterIP="127.200.0.2")
    )
    return Names(table)


ANSWERS = {
    ("web.default.svc.cluster.local", "A"): ["127.200.0.1"],
    ("WEB.default.svc.cluster.LOCAL", "A"): ["127.200.0.1"],
    ("web.default.svc.cluster.local", "AAAA"): [],
    ("_http._tcp.web.default.svc.cluster.local", "SRV"): ["0 100 80 web.default.svc.cluster.local."],
    ("db.default.svc.cluster.local", "A"): ["127.64.0.2", "127.64.0.3"],
    ("db-0.db.default.svc.cluster.local", "A"): ["127.64.0.2"],
    ("127-64-0-3.db.default.svc.cluster.local", "A"): ["127.64.0.3"],
    ("_sql._tcp.db.default.svc.cluster.local", "SRV"): [
        "0 50 5432 db-0.db.default.svc.cluster.local.",
        "0 50 5432 127-64-0-3.db.default.svc.cluster.local.",
    ],
    ("alias.default.svc.cluster.local", "A"): ["db.default.svc.cluster.local.", "127.64.0.2", "127.64.0.3"],
    ("away.default.svc.cluster.local", "A"): ["www.example.com."],
    ("away.default.svc.cluster.local", "CNAME"): ["www.example.com."],
    ("10-1-2-3.default.pod.cluster.local", "A"): ["10.1.2.3"],
    ("1.0.200.127.in-addr.arpa", "PTR"): ["web.default.svc.cluster.local."],
    ("2.0.64.127.in-addr.arpa", "PTR"): ["db-0.db.default.svc.cluster.local."],
    ("dns-version.cluster.local", "TXT"): ['"1.1.0"'],
    ("lb.default.lb.kubemu.test", "A"): ["127.201.0.2"],
    ("cluster.local", "NS"): ["ns.dns.cluster.local."],
    ("default.svc.cluster.local", "A"): [],
}  # fmt: skip


@pytest.mark.parametrize("question", list(ANSWERS), ids=lambda q: f"{q[1]} {q[0]}")
def test_known_names(question: tuple[str, str]) -> None:
    answer = names().answer(*question)
    assert answer.verdict is Verdict.FOUND
    assert [record.data for record in answer.records] == ANSWERS[question]


UNKNOWN = [
    "nope.default.svc.cluster.local",
    "web.other.svc.cluster.local",
    "empty.default.svc.cluster.local",
    "db-2.db.default.svc.cluster.local",
    "_ftp._tcp.web.default.svc.cluster.local",
    "300-1-2-3.default.pod.cluster.local",
    "www.example.com.default.svc.cluster.local",
    "9.9.9.127.in-addr.arpa",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names(name: str) -> None:
    assert names().answer(name, "A").verdict is Verdict.NO_NAME


def test_names_of_others_are_foreign() -> None:
    assert names().answer("www.example.com", "A").verdict is Verdict.FOREIGN


def test_service_records_bring_their_addresses() -> None:
    additional = names().answer("_sql._tcp.db.default.svc.cluster.local", "SRV").additional
    assert [(record.name, record.data) for record in additional] == [
        ("db-0.db.default.svc.cluster.local", "127.64.0.2"),
        ("127-64-0-3.db.default.svc.cluster.local", "127.64.0.3"),
    ]

"""Who gets a connection to a Service."""

from __future__ import annotations

from typing import Any

import pytest
from service_objects import make_endpoint, make_service, make_slice

from agents.services.table import Address, Backend, Entry, Frontend, ServiceTable
from cluster.api.objects import Key, Object

WEB = Key("default", "web")
NODES = {"127.64.0.9": "n1", "127.64.1.9": "n2", "127.64.0.1": "n1"}


def table_of(service: Object, *slices: Object) -> ServiceTable:
    table = ServiceTable(lambda ip: NODES.get(ip, "n1"))
    table.set_service(service)
    for piece in slices:
        table.set_slice(piece)
    return table


def frontend(table: ServiceTable, entry: Entry = Entry.CLUSTER_IP, **fields: Any) -> Frontend:
    return next(f for f in table.frontends(WEB, ["127.64.0.1"]) if f.entry is entry)


def picks(table: ServiceTable, count: int, client: str = "", entry: Entry = Entry.CLUSTER_IP) -> list[str]:
    chosen = [table.pick(frontend(table, entry), client) for _ in range(count)]
    return [backend.ip if backend is not None else "" for backend in chosen]


def test_ready_endpoints_take_turns() -> None:
    """Unready ones get nothing, over all slices of the Service."""
    table = table_of(
        make_service(),
        make_slice(make_endpoint("127.64.0.2"), make_endpoint("127.64.0.3", ready=False)),
        make_slice(make_endpoint("127.64.1.2"), name="web-2"),
    )
    assert picks(table, 4) == ["127.64.0.2", "127.64.1.2", "127.64.0.2", "127.64.1.2"]


ENDPOINTS = {
    "a terminating one beside a ready one": (
        [make_endpoint("127.64.0.2", ready=False, terminating=True), make_endpoint("127.64.0.3")],
        ["127.64.0.3"],
    ),
    "terminating ones only": (
        [make_endpoint("127.64.0.2", ready=False, terminating=True)],
        ["127.64.0.2"],
    ),
    "terminating and no longer serving": (
        [make_endpoint("127.64.0.2", ready=False, serving=False, terminating=True)],
        [],
    ),
    "conditions unknown count as ready": ([{"addresses": ["127.64.0.2"]}], ["127.64.0.2"]),
    "none": ([], []),
}


@pytest.mark.parametrize("case", list(ENDPOINTS))
def test_terminating_endpoints_serve_only_where_nobody_is_ready(case: str) -> None:
    endpoints, wanted = ENDPOINTS[case]
    table = table_of(make_service(), make_slice(*endpoints))
    assert [b.ip for b in table.backends(WEB, "", "TCP")] == wanted
    assert frontend(table).refuses is not bool(wanted)


def test_a_change_of_endpoints_counts_at_once() -> None:
    table = table_of(make_service(), make_slice(make_endpoint("127.64.0.2")))
    assert picks(table, 1) == ["127.64.0.2"]
    table.set_slice(make_slice(make_endpoint("127.64.0.3")))
    assert picks(table, 1) == ["127.64.0.3"]
    assert table.drop_slice("default", "web-1") == WEB
    assert picks(table, 1) == [""]


def test_affinity_is_the_same_in_every_process() -> None:
    """One client always gets the same endpoint, also from another agent; clients are spread."""
    endpoints = [make_endpoint(f"127.64.0.{n}") for n in range(2, 6)]
    service = make_service(sessionAffinity="ClientIP")
    tables = [table_of(service, make_slice(*endpoints)), table_of(service, make_slice(*reversed(endpoints)))]
    chosen = {}
    for client in (f"127.64.7.{n}" for n in range(40)):
        (ip,) = {ip for table in tables for ip in picks(table, 3, client)}
        chosen[client] = ip
    assert len(set(chosen.values())) == 4


LOCAL = {
    "cluster traffic, endpoint here": (
        {"internalTrafficPolicy": "Local"},
        Entry.CLUSTER_IP,
        "127.64.1.9",
        "127.64.1.2",
    ),
    "cluster traffic, none here": ({"internalTrafficPolicy": "Local"}, Entry.CLUSTER_IP, "127.64.0.9", ""),
    "node port, none here": (
        {"externalTrafficPolicy": "Local", "type": "NodePort"},
        Entry.NODE_PORT,
        "127.0.0.1",
        "",
    ),
    "cluster traffic, external policy": (
        {"externalTrafficPolicy": "Local", "type": "NodePort"},
        Entry.CLUSTER_IP,
        "127.64.0.9",
        "127.64.1.2",
    ),
}


@pytest.mark.parametrize("case", list(LOCAL))
def test_local_policies_keep_to_the_node(case: str) -> None:
    spec, entry, client, wanted = LOCAL[case]
    service = make_service(ports=[{"port": 80, "nodePort": 30080}], **spec)
    table = table_of(service, make_slice(make_endpoint("127.64.1.2", "n2")))
    assert picks(table, 1, client, entry) == [wanted]


def test_every_way_in_has_an_address() -> None:
    ingress = [
        {"ip": "127.201.0.2", "ipMode": "VIP"},
        {"hostname": "somewhere.example"},
        {"ip": "192.0.2.1", "ipMode": "Proxy"},
    ]
    service = make_service(
        ports=[
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
        externalIPs=["192.0.2.7"],
        status={"loadBalancer": {"ingress": ingress}},
    )
    table = table_of(service, make_slice(make_endpoint("127.64.0.2"), port_name="http"))
    found = table.frontends(WEB, ["127.64.0.1"])
    assert [(f.entry.name, f.address.protocol, f.address.ip, f.address.port, f.refuses) for f in found] == [
        ("CLUSTER_IP", "TCP", "127.200.0.1", 80, False),
        ("EXTERNAL_IP", "TCP", "192.0.2.7", 80, False),
        ("LOAD_BALANCER", "TCP", "127.201.0.2", 80, False),
        ("NODE_PORT", "TCP", "127.64.0.1", 30080, False),
        ("NODE_PORT", "TCP", "127.0.0.1", 30080, False),
        ("CLUSTER_IP", "UDP", "127.200.0.1", 53, True),
        ("EXTERNAL_IP", "UDP", "192.0.2.7", 53, True),
        ("LOAD_BALANCER", "UDP", "127.201.0.2", 53, True),
    ]
    assert table.backends(WEB, "http", "TCP") == [Backend("127.64.0.2", 8080, "n1")]


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"type": "ExternalName", "clusterIP": "", "externalName": "x.example"},
        {"clusterIP": ""},
    ],
    ids=["headless", "external name", "no address yet"],
)
def test_what_has_no_address_has_no_frontend(spec: Any) -> None:
    table = table_of(make_service(**spec), make_slice(make_endpoint("127.64.0.2")))
    assert table.frontends(WEB, ["127.64.0.1"]) == []


def test_source_ranges_hold_for_load_balancers_only() -> None:
    ingress = {"loadBalancer": {"ingress": [{"ip": "127.201.0.2"}]}}
    service = make_service(loadBalancerSourceRanges=["127.64.0.0/24"], status=ingress)
    table = table_of(service, make_slice(make_endpoint("127.64.0.2")))
    assert picks(table, 1, "127.64.0.9", Entry.LOAD_BALANCER) == ["127.64.0.2"]
    assert picks(table, 1, "127.64.1.9", Entry.LOAD_BALANCER) == [""]
    assert picks(table, 1, "127.64.1.9") == ["127.64.0.2"]


def test_addresses_are_those_of_the_frontend() -> None:
    table = table_of(make_service(), make_slice(make_endpoint("127.64.0.2")))
    assert frontend(table).address == Address("TCP", "127.200.0.1", 80)

"""Who gets a connection to a Service."""

from __future__ import annotations

from typing import Any

import pytest
from service_objects import make_endpoint, make_service, make_slice

from agents.services.choices import Backend
from agents.services.table import Address, Entry, Frontend, ServiceTable
from agents.services.whereabouts import Whereabouts
from cluster.api.objects import Key, Object

WEB = Key("default", "web")
HERE = {"n1": "127.64.0", "n2": "127.64.1"}
"""The nodes of this process, by their networks."""


def table_of(service: Object, *slices: Object) -> ServiceTable:
    where = Whereabouts()
    for name, net in HERE.items():
        where.join(name, f"{net}.1", f"{net}.0/24")
    where.set_zone("n1", "a")
    table = ServiceTable(where, lambda: 0.0)
    table.set_service(service)
    for piece in slices:
        table.set_slice(piece)
    return table


def frontend(table: ServiceTable, entry: Entry = Entry.CLUSTER_IP, **fields: Any) -> Frontend:
    return next(f for f in table.frontends(WEB) if f.entry is entry)


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
    assert [b.ip for b in table.choices(WEB, "", "TCP").every] == wanted
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


def picks_at(table: ServiceTable, ip: str, client: str) -> str:
    """Who gets the connection to this address, if anybody; "refused" where nobody listens."""
    found = next(f for f in table.frontends(WEB) if f.address.ip == ip)
    backend = table.pick(found, client)
    return "refused" if found.refuses else backend.ip if backend is not None else ""


LOCAL = {
    "cluster traffic, endpoint here": ("internal", "127.200.0.1", "127.64.1.9", "127.64.1.2"),
    "cluster traffic, none here": ("internal", "127.200.0.1", "127.64.0.9", ""),
    "cluster traffic from outside the pods": ("internal", "127.200.0.1", "127.0.0.1", "127.64.1.2"),
    "node port, endpoint here": ("external", "127.64.1.1", "127.0.0.1", "127.64.1.2"),
    "node port, none here": ("external", "127.64.0.1", "127.0.0.1", "refused"),
    "shared address": ("external", "127.0.0.1", "127.0.0.1", "127.64.1.2"),
    "load balancer": ("external", "127.201.0.2", "127.0.0.1", "127.64.1.2"),
    "load balancer, asked by a pod": ("external", "127.201.0.2", "127.64.0.9", "127.64.1.2"),
    "cluster traffic, external policy": ("external", "127.200.0.1", "127.64.0.9", "127.64.1.2"),
}


@pytest.mark.parametrize("case", list(LOCAL))
def test_local_policies_keep_to_the_node(case: str) -> None:
    """The only endpoint is on n2."""
    policy, ip, client, wanted = LOCAL[case]
    service = make_service(
        ports=[{"port": 80, "nodePort": 30080}],
        status={"loadBalancer": {"ingress": [{"ip": "127.201.0.2"}]}},
        **{f"{policy}TrafficPolicy": "Local"},
    )
    table = table_of(service, make_slice(make_endpoint("127.64.1.2", "n2")))
    assert picks_at(table, ip, client) == wanted


def test_a_terminating_endpoint_serves_its_node_while_others_are_ready_elsewhere() -> None:
    service = make_service(internalTrafficPolicy="Local")
    leaving = make_endpoint("127.64.0.2", "n1", ready=False, terminating=True)
    table = table_of(service, make_slice(leaving, make_endpoint("127.64.1.2", "n2")))
    assert picks(table, 2, "127.64.0.9") == ["127.64.0.2"] * 2
    assert picks(table, 2, "127.64.1.9") == ["127.64.1.2"] * 2
    assert table.local_endpoints(WEB, "127.64.0.1") == 0
    assert table.local_endpoints(WEB, "127.64.1.1") == 1


HINTS = {
    "node first": ([{"forNodes": "n1"}, {"forNodes": "n2"}], "127.64.0.2"),
    "zone": ([{"forZones": "a"}, {"forZones": "b"}], "127.64.0.2"),
    "none for this place": ([{"forZones": "b"}, {"forZones": "b"}], "127.64.0.2 127.64.0.3"),
    "one without": ([{"forZones": "a"}, {}], "127.64.0.2 127.64.0.3"),
}


@pytest.mark.parametrize("case", list(HINTS))
def test_hints_keep_connections_near(case: str) -> None:
    """Of a client on n1, which is in zone a."""
    hints, wanted = HINTS[case]
    endpoints = [
        make_endpoint(f"127.64.0.{n}", hints={kind: [{"name": name}] for kind, name in hint.items()})
        for n, hint in enumerate(hints, 2)
    ]
    table = table_of(make_service(), make_slice(*endpoints))
    assert sorted(set(picks(table, 4, "127.64.0.9"))) == wanted.split()


def test_a_client_that_was_silent_too_long_is_free_again() -> None:
    """Its endpoint stays the same while it asks, whatever endpoints are added, and until the time-out."""
    clock = [0.0]
    where = Whereabouts()
    where.join("n1", "127.64.0.1", "127.64.0.0/24")
    table = ServiceTable(where, lambda: clock[0])
    table.set_service(
        make_service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10}})
    )
    table.set_slice(make_slice(*(make_endpoint(f"127.64.0.{n}") for n in range(2, 4))))
    (first,) = picks(table, 1, "127.64.0.9")
    table.set_slice(make_slice(*(make_endpoint(f"127.64.0.{n}") for n in range(2, 60))))
    for clock[0] in (9.0, 18.0, 27.0):
        assert picks(table, 1, "127.64.0.9") == [first]
    seen = {first}
    for clock[0] in (40.0, 60.0, 80.0):
        seen |= set(picks(table, 2, "127.64.0.9"))
    assert len(seen) > 1
    table.set_slice(make_slice(make_endpoint("127.64.0.70")))
    assert picks(table, 1, "127.64.0.9") == ["127.64.0.70"]


def test_a_slice_can_change_its_service() -> None:
    table = table_of(make_service(), make_slice(make_endpoint("127.64.0.2")))
    table.set_slice(make_slice(make_endpoint("127.64.0.2"), service="other"))
    assert picks(table, 1) == [""]
    assert table.drop_slice("default", "web-1") == Key("default", "other")


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
    found = table.frontends(WEB)
    assert [(f.entry.name, f.address.protocol, f.address.ip, f.address.port, f.refuses) for f in found] == [
        ("CLUSTER_IP", "TCP", "127.200.0.1", 80, False),
        ("EXTERNAL_IP", "TCP", "192.0.2.7", 80, False),
        ("LOAD_BALANCER", "TCP", "127.201.0.2", 80, False),
        ("NODE_PORT", "TCP", "127.64.0.1", 30080, False),
        ("NODE_PORT", "TCP", "127.64.1.1", 30080, False),
        ("NODE_PORT", "TCP", "127.0.0.1", 30080, False),
        ("CLUSTER_IP", "UDP", "127.200.0.1", 53, True),
        ("EXTERNAL_IP", "UDP", "192.0.2.7", 53, True),
        ("LOAD_BALANCER", "UDP", "127.201.0.2", 53, True),
    ]
    assert table.choices(WEB, "http", "TCP").every == [Backend("127.64.0.2", 8080, "n1")]


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
    assert table.frontends(WEB) == []


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

"""What sig-network's conformance specs ask of a running cluster, seen from its pods.

Each test names its specs; those that are about objects alone are in tests/conformance.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_real_network import KUBECTL, Cluster, eventually

pytestmark = pytest.mark.services

AGNHOST = "agnhost:2.53"
NETEXEC = ["netexec", "--http-port=8080", "--udp-port=8081"]
PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "dns", "port": 80, "protocol": "UDP", "targetPort": 8081},
]


def pod(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Any:
    container = {
        "name": "c",
        "image": AGNHOST,
        "args": spec.pop("args", NETEXEC),
        **spec.pop("container", {}),
    }
    meta = {"name": name, "labels": labels or {}}
    body = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body}


def service(name: str, **spec: Any) -> Any:
    body = {"selector": {"app": "net"}, "ports": PORTS, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def endpoints(name: str, port: int, *ips: str) -> Any:
    subset = {"addresses": [{"ip": ip} for ip in ips], "ports": [{"name": "http", "port": port}]}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": [subset]}


class Net:
    """The cluster, with three pods that serve, one on node-1, two on node-2, and one to ask from."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.apply(
            pod("client", nodeName="node-1"),
            *(pod(f"net-{n}", {"app": "net"}, nodeName=f"node-{min(n, 2)}") for n in (1, 2, 3)),
            service("net", type="NodePort"),
        )
        names = ("client", "net-1", "net-2", "net-3")
        cluster.kubectl("wait", "pods", *names, "--for=condition=Ready", "--timeout", "60s")
        self.ips = {name: cluster.get("pod", name)["status"]["podIP"] for name in names}

    def apply(self, *objects: Any) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.cluster.kubectl("apply", "-f", "-", text=json.dumps(items))

    def delete(self, *names: str) -> None:
        self.cluster.kubectl("delete", *names, "--wait=false")

    def patch(self, name: str, **spec: Any) -> None:
        self.cluster.kubectl("patch", "service", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def spec(self, name: str) -> Any:
        return self.cluster.get("service", name)["spec"]

    def sh(self, script: str, *, of: str = "client") -> str:
        return self.cluster.kubectl("exec", of, "--", "sh", "-c", script)

    def hostnames(self, address: str, times: int = 6) -> list[str]:
        """Who answers that many requests one after another; asked from the client."""
        ask = f"curl -s -S -f --max-time 5 http://{address}/hostname"
        return self.sh(f"set -e; for i in {' '.join(map(str, range(times)))}; do {ask}; echo; done").split()

    def expect_all(self, address: str, wanted: Sequence[str] = ("net-1", "net-2", "net-3")) -> None:
        def look() -> None:
            assert set(self.hostnames(address)) == set(wanted)

        eventually(look)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        cluster = Cluster(Path(folder))
        try:
            yield Net(cluster)
        finally:
            cluster.kubemu("down")


def test_granular_checks(net: Net) -> None:
    """Networking Granular Checks: Pods should function for intra-pod and node-pod communication: http, udp.
    Services should serve endpoints on same port and different protocols, and multiport endpoints."""
    net.expect_all("net")
    address = net.spec("net")["clusterIP"]
    for protocol in ("http", "udp"):
        query = f"request=hostname&protocol={protocol}&host={address}&port=80&tries=9"
        told = json.loads(net.sh(f"curl -s 'http://{net.ips['client']}:8080/dial?{query}'"))
        assert set(told["responses"]) == {"net-1", "net-2", "net-3"}
    for name in ("net-1", "net-3"):
        assert net.cluster.curl(f"http://{net.ips[name]}:8080/hostname") == name


def test_names(net: Net) -> None:
    """DNS should provide DNS for the cluster, for services, for pods for Hostname and Subdomain, for
    /etc/hosts entries, and resolve partial qualified names."""
    net.apply(
        service("sub", clusterIP="None", selector={"app": "sub"}),
        pod("named", {"app": "sub"}, hostname="querier", subdomain="sub"),
    )
    net.cluster.kubectl("wait", "pod", "named", "--for=condition=Ready", "--timeout", "60s")
    ip = net.cluster.get("pod", "named")["status"]["podIP"]
    full = "querier.sub.default.svc.cluster.local"

    def look() -> None:
        script = f"getent hosts {full}; getent hosts querier.sub; dig +short sub.default.svc.cluster.local"
        assert [line.split()[0] for line in net.sh(script).splitlines()] == [ip] * 3

    eventually(look)
    assert f"{ip}\t{full}\tquerier" in net.sh("cat /etc/hosts; hostname", of="named")
    assert net.sh("hostname -f", of="named").strip() in (full, "querier")
    address = net.spec("net")["clusterIP"]
    for name in ("net", "net.default", "net.default.svc", "net.default.svc.cluster.local"):
        assert net.sh(f"dig +short +search {name}").strip() == address
        assert net.sh(f"dig +short +search +tcp {name}").strip() == address
    assert net.sh("dig +short +search kubernetes.default").strip() == net.spec("kubernetes")["clusterIP"]
    assert "80 net.default" in net.sh("dig +short _http._tcp.net.default.svc.cluster.local SRV")
    net.delete("service/sub", "pod/named")


def test_a_pod_with_name_servers_of_its_own(net: Net) -> None:
    """DNS should support configurable pod DNS nameservers."""
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    net.apply(pod("own", dnsPolicy="None", dnsConfig=config))
    net.cluster.kubectl("wait", "pod", "own", "--for=condition=Ready", "--timeout", "60s")
    wanted = "search resolv.conf.local\nnameserver 1.1.1.1\noptions ndots:2\n"
    assert net.sh("cat /etc/resolv.conf", of="own") == wanted
    net.delete("pod/own")


def test_a_service_changes_its_type(net: Net) -> None:
    """Services should be able to change the type from ExternalName to ClusterIP, to NodePort, from NodePort
    and ClusterIP to ExternalName; DNS should provide DNS for ExternalName services."""
    net.apply(
        service("moving", type="ExternalName", externalName="foo.example.com", selector=None, ports=None)
    )

    def alias(name: str) -> None:
        answer = net.sh("dig +short moving.default.svc.cluster.local CNAME").strip()
        assert answer == f"{name}."

    eventually(lambda: alias("foo.example.com"))
    net.patch("moving", externalName="bar.example.com")
    eventually(lambda: alias("bar.example.com"))
    plain: Any = {"selector": {"app": "net"}, "ports": PORTS}
    net.patch("moving", type="ClusterIP", externalName=None, **plain)
    net.expect_all("moving")
    net.patch("moving", type="NodePort")
    port = net.spec("moving")["ports"][0]["nodePort"]
    node = net.cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    net.expect_all(f"{node}:{port}")
    net.patch("moving", type="ClusterIP")
    assert "nodePort" not in net.spec("moving")["ports"][0]
    net.patch("moving", type="ExternalName", externalName="net.default.svc.cluster.local", clusterIP=None)
    assert "clusterIP" not in net.spec("moving")
    eventually(lambda: alias("net.default.svc.cluster.local"))
    net.expect_all("moving")
    net.delete("service/moving")


def test_session_affinity(net: Net) -> None:
    """Services should have session affinity work for service with type clusterIP and NodePort service, and be
    able to switch it; its time-out ends it."""
    net.apply(service("sticky", type="NodePort", sessionAffinity="ClientIP"))
    port = net.spec("sticky")["ports"][0]["nodePort"]
    node = net.cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    for address in ("sticky", f"{node}:{port}"):

        def one(address: str = address) -> None:
            assert len(set(net.hostnames(address, 10))) == 1

        eventually(one)
        net.patch("sticky", sessionAffinity="None")
        net.expect_all(address)
        net.patch("sticky", sessionAffinity="ClientIP")
        eventually(one)
    net.patch("sticky", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}})

    def several() -> None:
        ask = "curl -s http://sticky/hostname; echo; sleep 1.2"
        assert len(set(net.sh(f"for i in 1 2 3 4 5; do {ask}; done").split())) > 1

    eventually(several)
    net.delete("service/sticky")


def test_traffic_stays_local(net: Net) -> None:
    """internalTrafficPolicy and externalTrafficPolicy Local; healthCheckNodePort says where pods are."""
    net.apply(
        service("near", internalTrafficPolicy="Local"),
        service("door", type="LoadBalancer", externalTrafficPolicy="Local"),
    )
    net.expect_all("near", ["net-1"])
    port = net.spec("door")["healthCheckNodePort"]
    nodes = net.cluster.get("nodes")["items"]
    counts = {}
    for node in nodes:
        ip = node["status"]["addresses"][0]["address"]
        told = eventually(lambda ip=ip: json.loads(net.cluster.curl(f"http://{ip}:{port}/healthz")))
        counts[node["metadata"]["name"]] = told["localEndpoints"]
    assert counts == {"node-1": 1, "node-2": 2}
    node_port = net.spec("door")["ports"][0]["nodePort"]
    ip = nodes[0]["status"]["addresses"][0]["address"]
    seen = {net.cluster.curl(f"http://{ip}:{node_port}/hostname") for _ in range(4)}
    assert seen == {"net-1"}
    net.delete("service/near", "service/door")


def test_endpoints_by_hand(net: Net) -> None:
    """EndpointSliceMirroring should mirror a custom Endpoints resource; EndpointSlice should support a Service
    with multiple ports, and with multiple endpoint IPs, specified in multiple EndpointSlices; Services should
    test the lifecycle of an Endpoint."""
    ports = [{"name": "http", "port": 80}, {"name": "other", "port": 81}]
    net.apply(service("hand", selector=None, ports=ports[:1]), endpoints("hand", 8080, net.ips["net-1"]))
    net.expect_all("hand", ["net-1"])
    net.apply(endpoints("hand", 8080, net.ips["net-2"], net.ips["net-3"]))
    net.expect_all("hand", ["net-2", "net-3"])
    net.delete("endpoints/hand")

    def refused() -> None:
        with pytest.raises(AssertionError, match="code 7"):
            net.sh("curl -s --max-time 5 http://hand/hostname")

    eventually(refused)
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"hand-{n}", "labels": {"kubernetes.io/service-name": "hand"}},
            "addressType": "IPv4",
            "ports": [{"name": name, "port": 8080}],
            "endpoints": [{"addresses": [net.ips[f"net-{n}"]]}],
        }
        for n, name in ((1, "http"), (2, "http"), (3, "other"))
    ]
    net.apply(service("hand", selector=None, ports=ports), *slices)
    net.expect_all("hand", ["net-1", "net-2"])
    net.expect_all("hand:81", ["net-3"])
    net.delete("service/hand", *(f"endpointslice/hand-{n}" for n in (1, 2, 3)))


def test_pods_that_are_not_ready(net: Net) -> None:
    """They get nothing from a Service, unless it publishes them."""
    probe = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    net.apply(
        pod("late", {"app": "late"}, container=probe),
        service("late", selector={"app": "late"}),
        service("early", selector={"app": "late"}, publishNotReadyAddresses=True),
    )
    net.expect_all("early", ["late"])
    with pytest.raises(AssertionError, match="code 7"):
        net.sh("curl -s --max-time 5 http://late/hostname")
    net.delete("pod/late", "service/late", "service/early")


def test_host_ports(net: Net) -> None:
    """HostPort validates that there is no conflict between pods with same hostPort but different hostIP and
    protocol."""
    node = net.cluster.get("nodes")["items"][0]
    ip, port = node["status"]["addresses"][0]["address"], 54321
    wanted = {"host-1": ("127.0.0.1", "TCP", 8080), "host-2": (ip, "TCP", 8080), "host-3": (ip, "UDP", 8081)}
    for name, (host, protocol, inside) in wanted.items():
        given = {"hostIP": host, "hostPort": port, "protocol": protocol, "containerPort": inside}
        net.apply(pod(name, container={"ports": [given]}, nodeName=node["metadata"]["name"]))
    net.cluster.kubectl("wait", "pods", *wanted, "--for=condition=Ready", "--timeout", "60s")
    for name in ("host-1", "host-2"):
        address = wanted[name][0]
        told = eventually(lambda address=address: net.cluster.curl(f"http://{address}:{port}/hostname"))
        assert told == name
    query = f"request=hostname&protocol=udp&host={ip}&port={port}&tries=1"
    told = json.loads(net.sh(f"curl -s 'http://{net.ips['client']}:8080/dial?{query}'"))
    assert told["responses"] == ["host-3"]
    net.delete(*(f"pod/{name}" for name in wanted))


def test_proxies(net: Net) -> None:
    """Proxy version v1 should proxy through a service and a pod, by name and number, plain and with TLS."""
    served = {"SERVE_PORT_80": '<a href="/rewriteme">test</a>', "SERVE_PORT_1080": "test"}
    variables = [{"name": name, "value": value} for name, value in served.items()]
    variables.append({"name": "SERVE_TLS_PORT_443", "value": "tls"})
    ports = [{"name": "tls", "containerPort": 443}, {"name": "plain", "containerPort": 1080}]
    net.apply(
        pod("porter", {"app": "porter"}, args=["porter"], container={"env": variables, "ports": ports}),
        service(
            "porter",
            selector={"app": "porter"},
            ports=[{"name": "plain", "port": 80, "targetPort": 1080}, {"name": "tls", "port": 443}],
        ),
    )
    net.cluster.kubectl("wait", "pod", "porter", "--for=condition=Ready", "--timeout", "60s")
    base = "/api/v1/namespaces/default"

    def ask(path: str) -> str:
        return net.cluster.kubectl("get", "--raw", f"{base}/{path}")

    for path in (
        "services/porter:plain",
        "services/porter:80",
        "services/http:porter:plain",
        "pods/porter:1080",
    ):
        assert eventually(lambda path=path: ask(f"{path}/proxy/")) == "test"
    for path in ("services/https:porter:443", "services/https:porter:tls", "pods/https:porter:443"):
        assert eventually(lambda path=path: ask(f"{path}/proxy/")) == "tls"
    assert ask("pods/porter:80/proxy/") == f'<a href="{base}/pods/porter:80/proxy/rewriteme">test</a>'
    net.delete("pod/porter", "service/porter")


def test_endpoints_come_quickly(net: Net) -> None:
    """Service endpoints latency should not be very high: twenty Services, each reachable soon after."""
    names = [f"quick-{n}" for n in range(20)]
    net.apply(*(service(name) for name in names))
    loop = "until curl -s -f --max-time 2 http://$n/hostname >/dev/null; do sleep 0.05; done"
    net.sh(f"for n in {' '.join(names)}; do {loop}; done")
    net.delete(*(f"service/{name}" for name in names))


def test_the_api_is_a_service_too(net: Net) -> None:
    """Services should provide secure master service; EndpointSlice should have Endpoints and EndpointSlices
    pointing to API Server."""
    spec = net.spec("kubernetes")
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("https", 443)]
    addresses = net.cluster.get("endpoints", "kubernetes")["subsets"][0]["addresses"]
    piece = net.cluster.get("endpointslice", "kubernetes")
    assert [e["addresses"][0] for e in piece["endpoints"]] == [address["ip"] for address in addresses]
    done = subprocess.run(
        [KUBECTL, "delete", "service", "kubernetes"],
        env=net.cluster.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0

    def back() -> None:
        assert net.spec("kubernetes")["clusterIP"] == spec["clusterIP"]

    eventually(back)

"""Connections through Services, on real loopback sockets and in memory: the same promises on both."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from selfsigned import make_certificate
from service_objects import Told, make_endpoint, make_service, make_slice

from agents import http
from agents.loopback import LoopbackNetwork, reachable_port
from agents.memorynetwork import MemoryNetwork
from agents.network import Network
from agents.services.dataplane import Dataplane
from broker.chance import Chance
from broker.virtualtime import run_virtual
from cluster.api.objects import Object

N = os.getpid() % 250
"""Test processes that run side by side keep to addresses of their own."""
NODE_IP, POD_A, POD_B, CLIENT = (f"127.230.{N}.{host}" for host in (1, 2, 3, 9))
CLUSTER_IP, DNS_IP = f"127.231.{N}.1", f"127.231.{N}.10"
BALANCER, INGRESS_IP = f"127.232.{N}.1", f"127.232.{N}.2"
PORT, NODE_PORT = 18480, 30400 + N


@dataclass
class Machine:
    """One agent process' part in the network, told what a test wants."""

    network: Network
    plane: Dataplane
    told: Told = field(default_factory=Told)

    def tell(self, *objects: Object) -> None:
        self.plane.take(self.told, self.told.put(*objects))

    async def serve(self, ip: str, text: str = "", port: int = 8080) -> None:
        """An HTTP server on a pod that answers its address and its client's."""

        async def answer(request: http.Request) -> http.Response:
            return http.Response(status=200, body=f"{text or ip} {request.peer} {request.target}".encode())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await http.serve(reader, writer, answer)

        await self.plane.network.attach(ip)
        await self.plane.network.listen(ip, port, serve)

    async def ask(
        self, ip: str = CLUSTER_IP, port: int = PORT, *, inside: bool = False, source_ip: str = ""
    ) -> list[str]:
        network = self.plane.network if inside else self.network
        request = http.Request(method="GET", target="/", headers=[("Host", "web")])
        async with asyncio.timeout(5):
            answer = await http.fetch(network, ip, port, request, source_ip=source_ip)
        return answer.body.decode().split(" ")


Story = Callable[[Machine], Awaitable[None]]


@asynccontextmanager
async def machine(network: Network) -> AsyncIterator[Machine]:
    plane = Dataplane(network, log=structlog.get_logger())
    plane.join("n1", NODE_IP, f"127.230.{N}.0/24")
    try:
        yield Machine(network, plane)
    finally:
        await plane.close()
        for ip in (POD_A, POD_B):
            await network.detach(ip)


def on_loopback(story: Story) -> None:
    async def main() -> None:
        async with machine(LoopbackNetwork()) as one:
            await story(one)

    asyncio.run(main())


def in_memory(story: Story) -> None:
    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        async with machine(network) as one:
            await story(one)
        await network.close()

    run_virtual(main())


networks = pytest.mark.parametrize("run", [on_loopback, in_memory])


async def until(look: Callable[[], Awaitable[Any]], *, wanted: type[Exception] | None = None) -> Any:
    """The result as soon as `look` comes through (or raises what is wanted)."""
    for _ in range(200):
        try:
            found = await look()
            if wanted is None:
                return found
        except OSError as error:
            if wanted is not None and isinstance(error, wanted):
                return error
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


def web(**spec: Any) -> Object:
    return make_service(clusterIP=CLUSTER_IP, ports=[{"port": PORT, "nodePort": NODE_PORT}], **spec)


@networks
def test_connections_take_turns_and_keep_their_source(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        await one.serve(POD_B)
        one.tell(web(), make_slice(make_endpoint(POD_A), make_endpoint(POD_B)))
        await until(one.ask)
        answers = [await one.ask(source_ip=CLIENT) for _ in range(4)]
        assert sorted(pod for pod, _, _ in answers) == [POD_A, POD_A, POD_B, POD_B]
        assert {source for _, source, _ in answers} == {CLIENT}
        inside = [await one.ask(inside=True, source_ip=CLIENT) for _ in range(2)]
        assert sorted(inside) == [[POD_A, CLIENT, "/"], [POD_B, CLIENT, "/"]]

    run(story)


@networks
def test_a_node_itself_does_not_ask_as_the_service(run: Callable[[Story], None]) -> None:
    """To an address of its own the kernel connects from that address; no other node would answer there."""

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        one.tell(web(), make_slice(make_endpoint(POD_A)))
        await until(one.ask)
        pod, source, _ = await one.ask(source_ip=CLUSTER_IP)
        assert pod == POD_A
        assert source != CLUSTER_IP

    run(story)


@networks
def test_without_endpoints_connections_are_refused(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        one.tell(web(), make_slice(make_endpoint(POD_A)))
        await until(one.ask)
        one.tell(make_slice(make_endpoint(POD_A, ready=False)))
        await until(one.ask, wanted=ConnectionRefusedError)
        with pytest.raises(ConnectionRefusedError):
            await one.ask(inside=True, source_ip=CLIENT)
        one.tell(make_slice(make_endpoint(POD_A)))
        assert (await until(one.ask))[0] == POD_A

    run(story)


@networks
def test_a_deleted_service_is_gone(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        service = web()
        one.tell(service, make_slice(make_endpoint(POD_A)))
        await until(one.ask)
        one.plane.take(one.told, one.told.drop(service))

        async def look() -> None:
            async with asyncio.timeout(0.2):
                await one.ask()

        await until(look, wanted=OSError)

    run(story)


@networks
def test_node_ports_and_balancers_answer(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        status = {"loadBalancer": {"ingress": [{"ip": BALANCER, "ipMode": "VIP"}]}}
        one.tell(web(type="LoadBalancer", status=status), make_slice(make_endpoint(POD_A)))
        for ip, port in ((NODE_IP, NODE_PORT), (BALANCER, PORT), ("127.0.0.1", NODE_PORT)):
            assert (await until(lambda ip=ip, port=port: one.ask(ip, port)))[0] == POD_A  # type: ignore[misc]

    run(story)


@networks
def test_two_agents_share_an_address(run: Callable[[Story], None]) -> None:
    """The death of one leaves the other's listener: everything is answered again at once."""

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        objects = [web(), make_slice(make_endpoint(POD_A))]
        one.tell(*objects)
        other = Machine(one.network, Dataplane(one.network, log=structlog.get_logger()))
        other.plane.join("n2", f"127.229.{N}.1", f"127.229.{N}.0/24")
        other.tell(*objects)
        await until(one.ask)
        await asyncio.sleep(0.1)
        assert {(await one.ask())[0] for _ in range(8)} == {POD_A}
        await one.plane.close()
        assert {(await until(one.ask))[0] for _ in range(4)} == {POD_A}
        await other.plane.close()

    in_memory(story) if run is in_memory else on_loopback(_separately(story))


def _separately(story: Story) -> Story:
    """Two networks, as two processes have: what one closes the other still has."""

    async def wrapped(one: Machine) -> None:
        await story(Machine(LoopbackNetwork(), one.plane, one.told))

    return wrapped


@networks
def test_a_connection_survives_the_end_of_its_endpoint(run: Callable[[Story], None]) -> None:
    """Draining: what stands goes on, only new connections go elsewhere."""

    async def story(one: Machine) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)

        await one.plane.network.attach(POD_A)
        await one.plane.network.listen(POD_A, 8080, echo)
        await one.serve(POD_B)
        one.tell(web(), make_slice(make_endpoint(POD_A)))
        reader, writer = await until(lambda: one.network.connect(CLUSTER_IP, PORT))
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        one.tell(make_slice(make_endpoint(POD_A, ready=False, terminating=True), make_endpoint(POD_B)))
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        assert (await one.ask())[0] == POD_B
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    run(story)


@networks
def test_datagrams_reach_an_endpoint_and_come_back(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        def answer(data: bytes, sender: tuple[str, int]) -> None:
            pod.send(data.upper(), sender)

        await one.plane.network.attach(POD_A)
        pod = await one.plane.network.datagrams(POD_A, 8053, answer)
        udp = [{"name": "u", "port": 18453, "protocol": "UDP"}]
        service = make_service("u", clusterIP=CLUSTER_IP, ports=udp)
        one.tell(
            service,
            make_slice(
                make_endpoint(POD_A), service="u", name="u-1", port=8053, port_name="u", protocol="UDP"
            ),
        )
        got: list[bytes] = []
        client = await one.network.datagrams(CLIENT, 0, lambda data, sender: got.append(data))

        async def look() -> bytes:
            client.send(b"hello", (CLUSTER_IP, 18453))
            await asyncio.sleep(0.05)
            if not got:
                raise OSError("nothing yet")
            return got[0]

        assert await until(look) == b"HELLO"
        await client.close()

    run(story)


DENY_ALL = {
    "kind": "TrafficRules",
    "metadata": {"namespace": "default", "name": "deny"},
    "pods": "set",
    "ingress": [],
    "egress": None,
}
DENIED = {"kind": "PodSet", "metadata": {"namespace": "set", "name": "a"}, "pods": {POD_A: {}}}


@networks
def test_what_a_policy_forbids_is_not_answered(run: Callable[[Story], None]) -> None:
    """From a pod: no answer, as from a dropped packet. Through a socket: broken. The node itself: let in."""

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        one.tell(web(), make_slice(make_endpoint(POD_A)))
        await until(one.ask)
        one.tell(DENIED, DENY_ALL)
        for ip, port in ((CLUSTER_IP, PORT), (POD_A, 8080)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await one.ask(ip, port, inside=True, source_ip=CLIENT)
        with pytest.raises((OSError, http.BadAnswer)):
            await one.ask(POD_A, 8080, source_ip=CLIENT)
        assert (await one.ask(POD_A, 8080))[0] == POD_A

    run(story)


# --- DNS and TLS on real sockets


def dns_service(ip: str) -> Object:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    service = make_service("kube-dns", clusterIP=ip, ports=ports)
    return {**service, "metadata": {"name": "kube-dns", "namespace": "kube-system"}}


def test_dns_answers_over_both_transports() -> None:
    import dns.flags
    import dns.message
    import dns.rcode

    async def ask_udp(one: Machine, question: dns.message.Message) -> dns.message.Message:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        client = await one.network.datagrams(CLIENT, 0, lambda data, _: got.done() or got.set_result(data))
        try:
            for _ in range(100):
                client.send(question.to_wire(), (DNS_IP, 53))
                done, _ = await asyncio.wait([got], timeout=0.05)
                if done:
                    return dns.message.from_wire(got.result())
        finally:
            await client.close()
        raise AssertionError("no answer")

    async def ask_tcp(one: Machine, question: dns.message.Message) -> dns.message.Message:
        reader, writer = await until(lambda: one.network.connect(DNS_IP, 53))
        data = question.to_wire()
        writer.write(len(data).to_bytes(2) + data)
        size = int.from_bytes(await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(size))
        writer.close()
        return answer

    async def story(one: Machine) -> None:
        endpoints = [make_endpoint(f"127.230.9.{n}") for n in range(1, 120)]
        many = make_service("many", clusterIP="None")
        one.tell(dns_service(DNS_IP), web(), many, make_slice(*endpoints, service="many", name="many-1"))
        question = dns.message.make_query("web.default.svc.cluster.local", "A")
        for ask in (ask_udp, ask_tcp):
            answer = await ask(one, question)
            assert answer.id == question.id
            assert answer.answer[0][0].to_text() == CLUSTER_IP
            assert answer.flags & dns.flags.AA
        missing = await ask_udp(one, dns.message.make_query("nope.default.svc.cluster.local", "A"))
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert missing.authority[0][0].to_text().startswith("ns.dns.cluster.local.")
        big = dns.message.make_query("many.default.svc.cluster.local", "A")
        assert (await ask_udp(one, big)).flags & dns.flags.TC
        assert len((await ask_tcp(one, big)).answer[0]) == 119
        assert (await ask_udp(one, dns.message.make_query("example.com", "A"))).rcode() == dns.rcode.REFUSED

    on_loopback(story)


def test_ingress_ends_tls_by_name() -> None:
    """Each host gets its own certificate, requests reach the Service, HTTP is sent on to HTTPS."""
    pairs = {host: make_certificate(host) for host in ("a.example", "b.example")}

    def secret(host: str) -> Object:
        data = {"tls.crt": b64encode(pairs[host][0]).decode(), "tls.key": b64encode(pairs[host][1]).decode()}
        return {"kind": "Secret", "metadata": {"namespace": "default", "name": host}, "data": data}

    backend = {"service": {"name": "web", "port": {"number": PORT}}}
    ingress = {
        "kind": "Ingress",
        "metadata": {"namespace": "default", "name": "site"},
        "spec": {
            "ingressClassName": "kubemu",
            "tls": [{"hosts": [host], "secretName": host} for host in pairs],
            "rules": [
                {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
                for host in pairs
            ],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": INGRESS_IP}]}},
    }
    ingress_class = {
        "kind": "IngressClass",
        "metadata": {"name": "kubemu"},
        "spec": {"controller": "kubemu.dev/ingress"},
    }

    async def get(host: str) -> bytes:
        context = ssl.create_default_context(cadata=pairs[host][0].decode())
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                INGRESS_IP, reachable_port(443), ssl=context, server_hostname=host
            )
        writer.write(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        one.tell(
            web(),
            make_slice(make_endpoint(POD_A)),
            ingress_class,
            secret("a.example"),
            secret("b.example"),
            ingress,
        )
        for host in pairs:
            answer = await until(lambda host=host: get(host))  # type: ignore[misc]
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert POD_A.encode() in answer
        request = http.Request(method="GET", target="/x?y=1", headers=[("Host", "a.example")])
        answer = await http.fetch(one.network, INGRESS_IP, 80, request)
        assert (answer.status, answer.header("location")) == (308, "https://a.example/x?y=1")
        request = http.Request(method="GET", target="/", headers=[("Host", "c.example")])
        assert (await http.fetch(one.network, INGRESS_IP, 80, request)).status == 404

    on_loopback(story)


def test_a_busy_local_port_is_taken_when_it_is_free() -> None:
    """127.0.0.1 belongs to whoever has it first: another cluster's node port is left alone."""

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", NODE_PORT))
            other.listen()
            one.tell(web(type="NodePort"), make_slice(make_endpoint(POD_A)))
            assert (await until(lambda: one.ask(NODE_IP, NODE_PORT)))[0] == POD_A
        one.plane._frontends._soon()
        assert (await until(lambda: one.ask("127.0.0.1", NODE_PORT)))[0] == POD_A

    on_loopback(story)

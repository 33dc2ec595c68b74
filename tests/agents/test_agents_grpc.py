"""gRPC health: both ends of the protocol, probes with the kubelet's words, and images that answer them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import h2.config
import h2.connection
import pytest
from agents_harness import World, make_container, make_pod, simulate

from agents.grpchealth import CallFailed, Health, check, serve
from agents.memorynetwork import MemoryNetwork
from agents.network import StreamHandler
from agents.prober import probe
from agents.runtime import Answer
from broker.chance import Chance
from broker.virtualtime import run_virtual
from cluster.api.objects import Object

IP = "127.5.0.9"


def answering(health: Health | None) -> StreamHandler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer, lambda service: health if service in ("", "known") else None)

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1000)


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def without_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    while data := await reader.read(1000):
        for event in connection.receive_data(data):
            if type(event).__name__ == "StreamEnded":
                outcome = [("grpc-status", "12"), ("grpc-message", "unknown service grpc.health.v1.Health")]
                connection.send_headers(1, [(":status", "200"), *outcome], end_stream=True)
        writer.write(connection.data_to_send())


def on_network(handler: StreamHandler, story: Callable[[MemoryNetwork], Awaitable[None]]) -> None:
    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        await network.attach(IP)
        listener = await network.listen(IP, 5000, handler)
        await story(network)
        await listener.close()
        await network.close()

    run_virtual(main())


@pytest.mark.parametrize("health", [Health.SERVING, Health.NOT_SERVING, Health.UNKNOWN])
def test_a_health_arrives_as_it_was_told(health: Health) -> None:
    async def story(network: MemoryNetwork) -> None:
        assert await check(network, IP, 5000, "known", "t") is health

    on_network(answering(health), story)


def test_a_service_that_is_not_there() -> None:
    async def story(network: MemoryNetwork) -> None:
        with pytest.raises(CallFailed, match=r"rpc error: code = NotFound desc = unknown service"):
            await check(network, IP, 5000, "x" * 300, "t")

    on_network(answering(Health.SERVING), story)


class Willing:
    """A container whose behaviour leaves probes to the network."""

    def probe_answer(self, kind: str) -> Answer | None:
        return None


@pytest.mark.parametrize(
    ("handler", "service", "output"),
    [
        pytest.param(answering(Health.SERVING), "", None, id="well"),
        pytest.param(answering(Health.SERVING), "known", None, id="a service that is well"),
        pytest.param(
            answering(Health.NOT_SERVING),
            "",
            'service unhealthy (responded with "NOT_SERVING")',
            id="unwell",
        ),
        pytest.param(
            answering(Health.SERVING),
            "other",
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
            id="no such service",
        ),
        pytest.param(
            without_health,
            "",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            "unknown service grpc.health.v1.Health",
            id="no health protocol",
        ),
        pytest.param(silent, "", "timeout: health rpc did not complete within 2s", id="silence"),
        pytest.param(
            hanging_up,
            "",
            "error: health rpc probe failed: rpc error: code = Unavailable desc = connection error: "
            "the server closed the connection",
            id="hangs up",
        ),
    ],
)
def test_what_a_probe_says(handler: StreamHandler, service: str, output: str | None) -> None:
    async def story(network: MemoryNetwork) -> None:
        spec = {"grpc": {"port": 5000, "service": service}}
        result = await probe(network, Willing(), "readiness", {}, spec, IP, 2.0)  # type: ignore[arg-type]
        assert result.success is (output is None)
        assert result.output == (output or "service healthy")

    on_network(handler, story)


def test_a_refused_connection() -> None:
    async def story(network: MemoryNetwork) -> None:
        result = await probe(network, Willing(), "liveness", {}, {"grpc": {"port": 1}}, IP, 1.0)  # type: ignore[arg-type]
        why = f'timeout: failed to connect service "{IP}:1" within 1s: context deadline exceeded'
        assert (result.success, result.output) == (False, why)

    on_network(silent, story)


def test_an_emulated_server_answers_the_probes_that_its_pod_declares() -> None:
    async def story(world: World) -> None:
        spec = {"readinessProbe": {"grpc": {"port": 2379, "service": "readiness"}, "periodSeconds": 1}}
        world.want(make_pod(containers=[make_container(image="etcd:3.6", **spec)]))
        await world.expect_ready()

    simulate(story)


def test_agnhost_can_be_made_unwell() -> None:
    def pod() -> Object:
        grpc = {"grpc": {"port": 5000}, "periodSeconds": 1, "failureThreshold": 1}
        container = make_container(
            image="registry.k8s.io/e2e-test-images/agnhost:2.53",
            args=["grpc-health-checking", "--delay-unhealthy-sec", "5"],
            livenessProbe=grpc,
        )
        return make_pod(containers=[container])

    async def story(world: World) -> None:
        world.want(pod())
        await world.expect(lambda: world.container()["restartCount"] == 1)
        unhealthy = [e.message for e in world.events if e.reason == "Unhealthy"]
        assert unhealthy == ['Liveness probe failed: service unhealthy (responded with "NOT_SERVING")']

    simulate(story)

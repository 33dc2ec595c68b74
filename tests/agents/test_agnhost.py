"""What the image agnhost does, each command as a container's own process or as a command in one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from agents import http
from agents.behaviour import load_library
from agents.emulated.agnhost.localhost import localhost
from agents.emulated.agnhost.signatures import is_signed_by
from agents.emulated.container import EmulatedContainer
from agents.emulated.program import seconds_of, server_context
from agents.emulated.runtime import EmulatedRuntime
from agents.environment import Place
from agents.memorynetwork import MemoryNetwork
from agents.runtime import Exit, Launch
from broker.chance import Chance
from broker.clock import LoopClock
from broker.supervision import settled
from broker.virtualtime import run_virtual

IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"


@dataclass
class Bench:
    """Agnhost containers, each in a pod of its own, on one network."""

    network: MemoryNetwork
    runtime: EmulatedRuntime
    exits: dict[str, Exit] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, *args: str, ip: str = "10.0.0.1", **spec: Any) -> EmulatedContainer:
        await self.network.attach(ip)
        name = f"p-{ip.rpartition('.')[2]}"
        pod = {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"containers": [], "nodeName": "n1"},
        }
        environment: Mapping[str, str] = spec.pop("environment", {})
        launch = Launch(
            pod=pod,
            container={"name": "c", "image": IMAGE, **({"args": list(args)} if args else {}), **spec},
            pod_ip=ip,
            environment=environment,
            restart_count=0,
            behaviour={},
            place=Place(pod_ip=ip, host_ip="10.9.9.9", allocatable={}),
        )

        def ended(exit: Exit) -> None:
            self.exits[name] = exit
            self.gone.set()

        container = await self.runtime.start(launch, ended)
        await asyncio.sleep(0.01)
        return container

    async def get(self, target: str, *, ip: str = "10.0.0.1", port: int = 8080, **more: Any) -> http.Response:
        wanted = http.Request(method="GET", target=target, headers=[("Host", ip)], **more)
        return await http.fetch(self.network, ip, port, wanted, source_ip="10.0.0.77")

    async def post(self, target: str, document: Any, *, port: int = 8080) -> Any:
        headers = [("Host", "x"), ("Content-Type", "application/json")]
        body = json.dumps(document).encode()
        wanted = http.Request(method="POST", target=target, headers=headers, body=body)
        return json.loads((await http.fetch(self.network, "10.0.0.1", port, wanted)).body)

    async def exit(self) -> Exit:
        await self.gone.wait()
        return next(iter(self.exits.values()))


Story = Callable[[Bench], Awaitable[None]]


def play(story: Story) -> None:
    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        clock = LoopClock(asyncio.get_running_loop())
        runtime = EmulatedRuntime(network, load_library(), clock=clock, chance=Chance(2))
        await story(Bench(network, runtime))
        await runtime.close()
        await network.close()

    run_virtual(main())


def said(container: EmulatedContainer) -> str:
    return "".join(f"{line.text}\n" for line in container.logs())


def test_without_arguments_it_pauses_and_ends_as_a_program_without_a_handler() -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start()
        assert said(container) == "Paused\n"
        await container.stop(30)
        assert bench.exits["p-1"].code == 2

    play(story)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"args": ["entrypoint-tester", "a", "b"]}, "[/agnhost entrypoint-tester a b]\n"),
        (
            {"command": ["/agnhost-2", "entrypoint-tester"], "args": ["x"]},
            "[/agnhost-2 entrypoint-tester x]\n",
        ),
    ],
)
def test_entrypoint_tester_prints_its_own_words(spec: dict[str, list[str]], line: str) -> None:
    async def story(bench: Bench) -> None:
        more: dict[str, Any] = {"command": spec["command"]} if "command" in spec else {}
        container = await bench.start(*spec["args"], **more)
        assert (await bench.exit()).code == 0
        assert said(container) == line

    play(story)


def test_netexec_tells_who_asks_and_who_answers() -> None:
    """The client's address has its port; errors of a caller are told in the answer."""

    async def story(bench: Bench) -> None:
        container = await bench.start("netexec")
        assert (await bench.get("/hostname")).body == b"p-1"
        host, _, port = (await bench.get("/clientip")).body.decode().rpartition(":")
        assert host == "10.0.0.77"
        assert port.isdigit()
        echo = await bench.get("/echo?msg=hi%20there&code=418")
        assert (echo.status, echo.body) == (418, b"hi there")
        assert (await bench.get("/healthz")).status == 200
        moved = await bench.get("/redirect?location=/echo%3Fmsg%3Dx&code=307")
        assert (moved.status, moved.header("location")) == (307, "/echo?msg=x")
        assert (await bench.get("/dial?host=10.0.0.1&port=8080")).status == 400
        assert "GET /hostname" in said(container)

    play(story)


def test_netexec_dials_others_over_http_and_udp() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("netexec")
        await bench.start("netexec", "--http-port=80", "--udp-port", "90", ip="10.0.0.2")
        over_http = await bench.get("/dial?host=10.0.0.2&port=80&request=hostname&tries=2")
        assert json.loads(over_http.body) == {"responses": ["p-2", "p-2"]}
        over_udp = await bench.get("/dial?host=10.0.0.2&port=90&request=hostname&protocol=udp")
        assert json.loads(over_udp.body) == {"responses": ["p-2"]}
        nobody = await bench.get("/dial?host=10.0.0.3&port=80&request=hostname")
        assert list(json.loads(nobody.body)) == ["errors"]

    play(story)


def test_netexec_runs_commands_and_ends_when_told() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("netexec")
        answer = json.loads((await bench.get("/shell?cmd=echo%20hello;exit%203")).body)
        assert answer == {"error": "exit status 3", "output": "hello\n"}
        with pytest.raises((OSError, http.BadAnswer)):
            await bench.get("/exit?code=7")
        assert (await bench.exit()).code == 7
        with pytest.raises(OSError):
            await bench.get("/")

    play(story)


def test_what_a_killed_program_served_is_free_for_the_next() -> None:
    async def story(bench: Bench) -> None:
        first = await bench.start("netexec")
        await first.stop(0)
        assert first.ended is not None
        await settled(first.ended)
        await bench.start("netexec")
        assert (await bench.get("/hostname")).status == 200

    play(story)


def test_a_port_in_use_ends_the_program() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("netexec")
        second = await bench.start("netexec")
        await asyncio.sleep(1)
        assert bench.exits["p-1"].code == 1
        assert "address already in use" in said(second)

    play(story)


def test_liveness_is_well_for_ten_seconds() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("liveness")
        assert (await bench.get("/healthz")).status == 200
        await asyncio.sleep(11)
        assert (await bench.get("/healthz")).status == 500

    play(story)


def test_guestbook_replicas_follow_the_primary() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("guestbook", "--http-port", "6379")
        await bench.start("guestbook", "--replicaof=10.0.0.1", "--http-port", "6379", ip="10.0.0.2")
        await asyncio.sleep(2)
        assert json.loads((await bench.get("/set?key=k&value=v", port=6379)).body) == {"message": "Updated"}
        found = await bench.get("/get?key=k", ip="10.0.0.2", port=6379)
        assert json.loads(found.body) == {"data": "v"}

    play(story)


def test_serve_hostname_goes_on_for_a_minute_after_sigterm() -> None:
    """Until it is deregistered everywhere, connections to it are to be answered."""

    async def story(bench: Bench) -> None:
        container = await bench.start("serve-hostname", "--port", "9376")
        stopping = asyncio.get_running_loop().create_task(container.stop(100))
        await asyncio.sleep(30)
        assert (await bench.get("/", port=9376)).body == b"p-1"
        await stopping
        assert bench.exits["p-1"].code == 0

    play(story)


def test_porter_serves_what_the_environment_names() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("porter", environment={"SERVE_PORT_81": "foo", "SERVE_PORT_1234": "bar"})
        assert (await bench.get("/", port=81)).body == b"foo"
        assert (await bench.get("/any", port=1234)).body == b"bar"
        environment = {"SERVE_TCP_PORT_82": "foo"}
        await bench.start("porter", "--json-response", environment=environment, ip="10.0.0.2")
        for method in ("GET", "DELETE", "PATCH"):
            wanted = http.Request(method=method, target="/", headers=[("Host", "x")])
            told = await http.fetch(bench.network, "10.0.0.2", 82, wanted)
            assert json.loads(told.body) == {"Method": method, "Body": "foo"}

    play(story)


def test_webserver_serves_the_container_s_files() -> None:
    async def story(bench: Bench) -> None:
        script = "mkdir -p /data; echo here > /data/f; agnhost test-webserver --port=80"
        await bench.start(command=["sh", "-c", script])
        assert (await bench.get("/data/f", port=80)).body == b"here\n"
        assert (await bench.get("/data/missing", port=80)).status == 404
        assert (await bench.get("/data", port=80)).status == 301

    play(story)


def test_logs_generator_writes_numbered_lines_in_its_time() -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start("logs-generator", "--log-lines-total", "5", "--run-duration", "10s")
        before = asyncio.get_running_loop().time()
        assert (await bench.exit()).code == 0
        assert 9 < asyncio.get_running_loop().time() - before < 11
        numbers = [line.text.split("] ")[1].split()[0] for line in container.logs()]
        assert numbers == ["0", "1", "2", "3", "4"]

    play(story)


def _review(path_object: dict[str, Any], operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    side = "oldObject" if operation == "DELETE" else "object"
    request = {"uid": "u-1", "operation": operation, side: path_object, **more}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _patch(response: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(response["patch"]))


def test_the_webhook_judges_in_the_version_it_is_asked_in() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("webhook", "--port=8080")
        denied = await bench.post("/always-deny", _review({}))
        assert (denied["apiVersion"], denied["response"]["uid"]) == ("admission.k8s.io/v1", "u-1")
        assert denied["response"]["allowed"] is False
        kept = _review({"data": {"webhook-e2e-test": "webhook-nondeletable"}}, "DELETE")
        assert "cannot be deleted" in (await bench.post("/configmaps", kept))["response"]["status"]["reason"]
        assert (await bench.post("/configmaps", _review({"data": {"a": "b"}})))["response"]["allowed"] is True
        mutated = await bench.post("/mutating-configmaps", _review({"data": {"mutation-start": "yes"}}))
        assert _patch(mutated["response"])[0]["path"] == "/data/mutation-stage-1"
        labelled = await bench.post("/add-label", _review({"metadata": {}}))
        assert _patch(labelled["response"])[0]["value"] == {"added-label": "yes"}

    play(story)


def test_the_example_resource_is_converted_both_ways() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("crd-conversion-webhook", "--port=8080")
        old = {"apiVersion": "stable.example.com/v1", "kind": "E", "hostPort": "localhost:8080"}
        new = {"apiVersion": "stable.example.com/v2", "kind": "E", "host": "localhost", "port": "8080"}
        for given, wanted in ((old, new), (new, old)):
            request = {"uid": "u", "desiredAPIVersion": wanted["apiVersion"], "objects": [given]}
            review = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request}
            response = (await bench.post("/crdconvert", review))["response"]
            assert response["convertedObjects"] == [wanted]
            assert response["result"]["status"] == "Success"

    play(story)


def test_mounttest_writes_then_looks() -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start(
            "mounttest", "--file_perm=/tmp/new", "--new_file_0660=/tmp/new", "--file_mode=/tmp"
        )
        assert (await bench.exit()).code == 0
        assert said(container) == (
            'content of file "/tmp/new": mount-tester new file\n\n'
            'mode of file "/tmp": dtrwxrwxrwx\n'
            'perms of file "/tmp/new": -rw-rw----\n'
        )

    play(story)


def test_the_profile_s_latency_holds_for_programs() -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start("netexec")
        container.behave({"latency_s": 5.0})
        before = asyncio.get_running_loop().time()
        await bench.get("/hostname")
        assert asyncio.get_running_loop().time() - before >= 5

    play(story)


@pytest.mark.parametrize("args", [["netexec", "--http-port=x"], ["logs-generator", "-t", "5", "-d", "5"]])
def test_nonsense_in_a_flag_ends_the_program(args: list[str]) -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start(*args)
        assert (await bench.exit()).code == 1
        assert "Error: invalid argument" in said(container)

    play(story)


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10.0), ("1m30s", 90.0), ("250ms", 0.25), ("0", 0.0)])
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "5 s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        seconds_of(text)


def test_the_image_has_a_certificate_of_its_own() -> None:
    """On real sockets: it is what porter and netexec serve TLS with where nothing else is mounted."""
    context = server_context(*localhost())
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    trusting = ssl.create_default_context(cadata=localhost()[0].decode())
    ours, theirs = (ssl.MemoryBIO() for _ in range(2)), (ssl.MemoryBIO() for _ in range(2))
    to_server, to_client = next(ours), next(theirs)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert client.version() == "TLSv1.3"


def test_the_resource_consumer_uses_what_it_is_told_for_its_time() -> None:
    async def story(bench: Bench) -> None:
        container = await bench.start(image="registry.k8s.io/e2e-test-images/resource-consumer:1.13")
        idle = container.usage()
        order = http.Request(
            method="POST", target="/ConsumeCPU?millicores=300&durationSec=30", headers=[("Host", "x")]
        )
        answer = await http.fetch(bench.network, "10.0.0.1", 8080, order)
        assert answer.body == b"ConsumeCPU\n300 millicores\n30 durationSec\n"
        assert container.usage().cpu_cores == pytest.approx(idle.cpu_cores + 0.3)
        await asyncio.sleep(31)
        assert container.usage().cpu_cores == pytest.approx(idle.cpu_cores)
        bump = http.Request(
            method="POST", target="/BumpMetric?metric=q&delta=5&durationSec=9", headers=[("Host", "x")]
        )
        await http.fetch(bench.network, "10.0.0.1", 8080, bump)
        assert b"\nq 5.000000\n" in (await bench.get("/metrics")).body
        assert (await bench.get("/ConsumeCPU")).status == 400

    play(story)


def test_a_token_is_checked_with_the_issuer_s_key() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(part.to_bytes(32)).decode().rstrip("=") for part in (numbers.x, numbers.y)
    )
    r, s = decode_dss_signature(private.sign(b"head.claims", ec.ECDSA(hashes.SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).decode().rstrip("=")
    assert is_signed_by({"x": x, "y": y}, f"head.claims.{signature}")
    assert not is_signed_by({"x": x, "y": y}, f"head.others.{signature}")

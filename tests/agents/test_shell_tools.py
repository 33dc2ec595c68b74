"""The small shell's tools for text, names and sockets, as test suites and manifests use them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agents.behaviour import load_library
from agents.emulated.runtime import EmulatedRuntime
from agents.environment import Place
from agents.memorynetwork import MemoryNetwork
from agents.runtime import Launch
from broker.chance import Chance
from broker.clock import LoopClock
from broker.supervision import settled
from broker.virtualtime import run_virtual

IP = "10.0.0.1"
RECORDS = {
    ("web.shop.svc.cluster.local", "A"): ["10.96.0.7"],
    ("_http._tcp.web.shop.svc.cluster.local", "SRV"): ["0 100 80 web.shop.svc.cluster.local"],
    ("7.0.96.10.in-addr.arpa", "PTR"): ["web.shop.svc.cluster.local"],
}


def said(script: str, *, image: str = "busybox:1.36", serve: Sequence[str] = (), **spec: Any) -> str:
    """All that a container prints; `serve`: what agnhost runs beside it, at 10.0.0.2."""
    lines: list[str] = []

    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        clock = LoopClock(asyncio.get_running_loop())
        runtime = EmulatedRuntime(network, load_library(), clock=clock, chance=Chance(2))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def launch(ip: str, container: dict[str, Any]) -> Launch:
            return Launch(
                pod={"metadata": {"name": "p", "namespace": "shop", "uid": ip}, "spec": {"containers": []}},
                container={"name": "c", **container},
                pod_ip=ip,
                environment={"HOME": "/root"},
                restart_count=0,
                behaviour={},
                place=Place(pod_ip=ip, host_ip="10.9.9.9", allocatable={}, cluster_dns="10.96.0.10"),
                resolve=lambda name, type: RECORDS.get((name, type), []),
            )

        for ip in (IP, "10.0.0.2"):
            await network.attach(ip)
        if serve:
            await runtime.start(
                launch("10.0.0.2", {"image": "agnhost:2", "args": list(serve)}), lambda exit: None
            )
        command = {"command": ["sh", "-c", script]} if script else {}
        container = await runtime.start(
            launch(IP, {"image": image, **command, **spec}), lambda exit: ended.set_result(None)
        )
        await settled(ended)
        lines.extend(f"{line.text}\n" for line in container.logs())
        await runtime.close()
        await network.close()

    run_virtual(main())
    return "".join(lines)


@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("""echo 1.2.3.4 | awk -F. '{print $1"-"$2"-"$3"-"$4".x.pod"}'""", "1-2-3-4.x.pod\n"),
        ("""printf 'a b\\nc d\\n' | awk 'NR==2 {print $2, NF}'""", "d 2\n"),
        ("""printf 'one\\ntwo\\n' | awk '/w/'""", "two\n"),
        ("""printf '5 x\\n50 y\\n' | awk '$1 > 9 {print $NF} END {print NR}'""", "y\n2\n"),
        ("""echo x | awk '{while(1)}' 2>&1 | head -c 4""", "awk:\n"),
        ("""[[ "a" == "a" ]] && echo same""", "same\n"),
        ("printf 'AB' | hexdump -C", "00000000  41 42                                             |AB|\n00000002\n"),
        ("echo x | gzip | gunzip", "x\n"),
        ("echo x > /tmp/f; gzip /tmp/f; ls /tmp; zcat /tmp/f.gz", "f.gz\nx\n"),
        ("dd if=/dev/zero of=/tmp/f bs=1K count=3 status=none; stat -c %s /tmp/f", "3072\n"),
        ("echo -n abc | sha256sum | cut -c 1-8", "ba7816bf\n"),
        ("date foo || echo $?", "date: invalid date 'foo'\n1\n"),
        ("f=$(mktemp); test -f $f && echo made", "made\n"),
        ("touch /tmp/f; chown 5:6 /tmp/f; stat -c '%u %g' /tmp/f", "5 6\n"),
        ("sysctl kernel.shm_rmid_forced", "kernel.shm_rmid_forced = 0\n"),
        ("ip link add dummy0 type dummy || true", "ip: RTNETLINK answers: Operation not permitted\n"),
        ("ip addr | grep -c 10.0.0.1/32", "1\n"),
    ],
)  # fmt: skip
def test_tools(script: str, output: str) -> None:
    assert said(script) == output


def test_who_is_privileged_may_add_links() -> None:
    assert (
        said("ip link add dummy0 type dummy && echo done", securityContext={"privileged": True}) == "done\n"
    )


@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("dig +short web.shop.svc.cluster.local", "10.96.0.7\n"),
        ("dig +notcp +noall +answer web.shop.svc.cluster.local A", "web.shop.svc.cluster.local.\t\t30\tIN\tA\t10.96.0.7\n"),
        ("dig +short _http._tcp.web.shop.svc.cluster.local SRV", "0 100 80 web.shop.svc.cluster.local.\n"),
        ("dig +short -x 10.96.0.7", "web.shop.svc.cluster.local.\n"),
        ("dig +short nothing.example.com", ""),
        ("dig +search nothing | grep -o 'status: [A-Z]*'", "status: NXDOMAIN\n"),
    ],
)  # fmt: skip
def test_dig(script: str, output: str) -> None:
    assert said(script) == output


def test_datagrams_are_sent_and_their_answers_printed() -> None:
    script = "echo hostName | nc -w 1 -u 10.0.0.2 8081 | grep -v '^ *$'"
    assert said(script, serve=["netexec"]) == "p\n"


def test_a_connection_is_tried() -> None:
    assert said("agnhost connect 10.0.0.2:8080 && echo yes", serve=["netexec"]) == "yes\n"
    assert said("agnhost connect --timeout=2s 10.0.0.2:81", serve=["netexec"]) == "REFUSED\n"
    assert said("agnhost connect nowhere:81") == "DNS: lookup nowhere: no such host\n"


@pytest.mark.parametrize(("allowed", "user"), [(None, 0), (True, 0), (False, 1000)])
def test_privileges_are_gained_unless_that_is_forbidden(allowed: bool | None, user: int) -> None:
    security: dict[str, Any] = {"runAsUser": 1000}
    if allowed is not None:
        security["allowPrivilegeEscalation"] = allowed
    assert said("", image="nonewprivs:1.3", securityContext=security) == f"Effective uid: {user}\n"


def test_the_image_mounttest_looks_at_files() -> None:
    assert said("", image="mounttest:1.0", args=["--file_mode=/tmp"]) == 'mode of file "/tmp": dtrwxrwxrwx\n'


def test_errors_of_a_shell_begin_with_how_it_was_called() -> None:
    spec = {"securityContext": {"readOnlyRootFilesystem": True}}
    output = said("", command=["/bin/sh", "-c", "echo test > /file"], **spec)
    assert output == "/bin/sh: can't create /file: Read-only file system\n"

"""Web servers' images serve the files of their document root, once those matter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agents import http
from agents.behaviour import load_library
from agents.emulated.runtime import EmulatedRuntime
from agents.environment import Place
from agents.files import MemoryFiles
from agents.memorynetwork import MemoryNetwork
from agents.runtime import Launch, Mount, NoVolumes
from broker.chance import Chance
from broker.clock import LoopClock
from broker.virtualtime import run_virtual

IP = "10.0.0.1"


@dataclass
class Mounts(NoVolumes):
    found: Sequence[Mount] = ()

    def mounts(self) -> Sequence[Mount]:
        return self.found


def answers(
    image: str, targets: list[str], *, script: str = "", mounted: MemoryFiles | None = None
) -> list[str]:
    """Status and body of each request, after a script has run in the container."""
    found: list[str] = []

    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        await network.attach(IP)
        clock = LoopClock(asyncio.get_running_loop())
        runtime = EmulatedRuntime(network, load_library(), clock=clock, chance=Chance(2))
        root = "/usr/share/nginx/html"
        launch = Launch(
            pod={"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": []}},
            container={
                "name": "c",
                "image": image,
                "volumeMounts": [] if mounted is None else [{"name": "v", "mountPath": root}],
            },
            pod_ip=IP,
            environment={},
            restart_count=0,
            behaviour={},
            volumes=Mounts(found=() if mounted is None else [Mount(path=root, files=mounted)]),
            place=Place(pod_ip=IP, host_ip="", allocatable={}),
        )
        assert runtime.needs_files(launch) is (mounted is not None)
        container = await runtime.start(launch, lambda exit: None)
        await asyncio.sleep(0.01)
        if script:
            await container.execute(["sh", "-c", script], timeout_s=5)
        for target in targets:
            answer = await http.fetch(
                network, IP, 80, http.Request(method="GET", target=target, headers=[("Host", IP)])
            )
            found.append(f"{answer.status} {answer.body.decode().strip()}")
        await runtime.close()
        await network.close()

    run_virtual(main())
    return found


def test_an_untouched_server_answers_with_its_index() -> None:
    assert answers("httpd:2.4", ["/"]) == ["200 <html><body><h1>It works!</h1></body></html>"]


def test_a_page_that_was_moved_away_is_not_found() -> None:
    """As a StatefulSet's pod is made unready and ready again."""
    away = "mv /usr/local/apache2/htdocs/index.html /tmp/"
    assert answers("httpd:2.4", ["/index.html"], script=away) == ["404 404 Not Found"]
    back = f"{away}; mv /tmp/index.html /usr/local/apache2/htdocs/"
    assert answers("httpd:2.4", ["/index.html"], script=back)[0].startswith("200 ")


def test_a_volume_over_the_document_root_is_served() -> None:
    files = MemoryFiles()
    files.write("/hello.txt", b"from a volume")
    assert answers("nginx:1.27", ["/hello.txt", "/nothing"], mounted=files) == [
        "200 from a volume",
        "404 404 Not Found",
    ]


def test_the_update_demo_names_its_picture() -> None:
    image = "gcr.io/kubernetes-e2e-test-images/nautilus:1.0"
    assert answers(image, ["/data.json"]) == ['200 {"image": "nautilus.jpg"}']

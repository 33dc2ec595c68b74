"""What both runtimes promise: the same containers, once emulated on virtual time, once as real processes."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.behaviour import load_library
from agents.disk import Disk
from agents.emulated.runtime import EmulatedRuntime
from agents.environment import Place
from agents.memorynetwork import MemoryNetwork
from agents.process.isolation import unsharing
from agents.process.runtime import ProcessRuntime
from agents.runtime import Container, Exit, Launch, Mount, NoVolumes, Runtime
from broker.chance import Chance
from broker.clock import LoopClock
from broker.supervision import settled
from broker.virtualtime import run_virtual
from cluster.api.objects import Object

WAIT_S = 20.0


@dataclass
class Mounts(NoVolumes):
    """Volumes that are there from the start."""

    found: Sequence[Mount] = ()

    def mounts(self) -> Sequence[Mount]:
        return self.found


@dataclass
class Box:
    runtime: Runtime
    exits: list[Exit] = field(default_factory=list)

    def disk(self) -> Disk:
        return self.runtime.disk(_pod())

    async def start(self, *command: str, mounts: Sequence[Mount] = (), **spec: Any) -> Container:
        """A container that runs the command."""
        environment = {entry["name"]: entry["value"] for entry in spec.pop("env", ())}
        launch = Launch(
            pod=_pod(),
            container={"name": "c", "image": "busybox:1.36", "command": list(command), **spec},
            pod_ip="127.9.9.9",
            environment=environment,
            restart_count=0,
            behaviour={},
            volumes=Mounts(found=mounts),
            place=Place(pod_ip="127.9.9.9", host_ip="127.0.0.1", allocatable={}),
        )
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_exit(exit: Exit) -> None:
            self.exits.append(exit)
            self.ended.set_result(None)

        return await self.runtime.start(launch, on_exit)

    async def exit(self) -> Exit:
        async with asyncio.timeout(WAIT_S):
            await settled(self.ended)
        return self.exits[-1]

    async def output(self, *command: str, **more: Any) -> tuple[str, Exit]:
        """What the command prints, and how it ends."""
        container = await self.start(*command, **more)
        exit = await self.exit()
        return "".join(f"{line.text}\n" for line in container.logs()), exit


Story = Callable[[Box], Awaitable[None]]


def _pod() -> Object:
    meta = {"name": "p-1", "namespace": "default", "uid": "uid-1"}
    return {"metadata": meta, "spec": {"containers": [], "nodeName": "n1"}}


def _emulated(story: Story) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        network = MemoryNetwork(Chance(1))
        await network.attach("127.9.9.9")
        runtime = EmulatedRuntime(network, load_library(), clock=clock, chance=Chance(2))
        await story(Box(runtime))
        await runtime.close()
        await network.close()

    run_virtual(main())


def _process(story: Story) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        runtime = ProcessRuntime(load_library(), clock=clock, chance=Chance(2))
        try:
            await story(Box(runtime))
        finally:
            await runtime.close()

    asyncio.run(main())


@pytest.fixture(
    params=[
        pytest.param(_emulated, id="emulated"),
        pytest.param(_process, id="process", marks=pytest.mark.services),
    ]
)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Box], Coroutine[Any, Any, None]]], None]:
    return request.param  # type: ignore[no-any-return]


Run = Callable[[Story], None]


def test_output_and_exit_code(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sh", "-c", "echo out; echo err >&2; exit 3")
        exit = await box.exit()
        assert (exit.code, exit.reason) == (3, "Error")
        assert sorted((line.stream, line.text) for line in container.logs()) == [
            ("stderr", "err"),
            ("stdout", "out"),
        ]

    run(story)


def test_success_is_completed(run: Run) -> None:
    async def story(box: Box) -> None:
        assert await box.output("true") == ("", Exit(code=0, reason="Completed"))

    run(story)


def test_environment_and_working_directory(run: Run) -> None:
    async def story(box: Box) -> None:
        env = [{"name": "GREETING", "value": "hello world"}]
        text, _ = await box.output(
            "sh", "-c", 'echo "$GREETING"; pwd; cat /etc/hostname', env=env, workingDir="/tmp"
        )
        assert text == "hello world\n/tmp\np-1\n"

    run(story)


def test_volumes_are_files(run: Run) -> None:
    async def story(box: Box) -> None:
        conf = box.disk().volume("uid-1", "conf")
        conf.make_directory("/sub")
        conf.write("/colour", b"blue\n")
        conf.write("/sub/shape", b"round\n")
        mounts = [
            Mount(path="/etc/conf", files=conf, read_only=True),
            Mount(path="/etc/shape", files=conf, sub_path="sub/shape", read_only=True),
            Mount(path="/data", files=box.disk().volume("uid-1", "data")),
        ]
        script = (
            "cat /etc/conf/colour /etc/shape; echo kept > /data/f; echo no > /etc/conf/new || echo refused"
        )
        text, _ = await box.output("sh", "-c", f"({script}) 2>/dev/null", mounts=mounts)
        assert text == "blue\nround\nrefused\n"
        text, _ = await box.output("cat", "/data/f", mounts=mounts)
        assert text == "kept\n"

    run(story)


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hosts", "/etc/resolv.conf"])
def test_a_file_of_a_volume_lies_over_one_that_is_there(run: Run, path: str) -> None:
    """Over the image's as over those that the kubelet makes."""

    async def story(box: Box) -> None:
        conf = box.disk().volume("uid-1", "conf")
        conf.write("/data", b"mine\n")
        mounts = [Mount(path=path, files=conf, sub_path="data", read_only=True)]
        assert (await box.output("cat", path, mounts=mounts))[0] == "mine\n"

    run(story)


def test_exec_has_its_own_output_input_and_exit_code(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sleep", "1000", env=[{"name": "A", "value": "1"}])
        assert await container.execute(["sh", "-c", "echo $A; exit 7"], timeout_s=10) == (7, b"1\n")
        execution = await container.begin(["cat"], stdin=True, tty=False)
        await execution.write(b"to and ")
        await execution.write(b"fro\n")
        await execution.end_input()
        assert await _all(execution) == b"to and fro\n"
        assert await execution.wait() == 0
        await container.stop(0)
        assert (await box.exit()).code == 137

    run(story)


async def _all(execution: Any) -> bytes:
    data = b""
    async with asyncio.timeout(WAIT_S):
        while (written := await execution.read()) is not None:
            data += written[1]
    return data


async def _until(execution: Any, wanted: bytes) -> bytes:
    data = b""
    async with asyncio.timeout(WAIT_S):
        while wanted not in data:
            written = await execution.read()
            assert written is not None, data
            data += written[1]
    return data


def test_a_terminal_echoes_and_is_resized(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sleep", "1000")
        execution = await container.begin(["sh"], stdin=True, tty=True)
        execution.resize(101, 37)
        await execution.write(b"stty size\r")
        assert b"stty size" in await _until(execution, b"37 101\r\n")
        await execution.write(b"exit 4\r")
        await _all(execution)
        assert await execution.wait() == 4
        await container.stop(0)

    run(story)


def test_exec_timeouts_end_the_command(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sleep", "1000")
        with pytest.raises(TimeoutError):
            await container.execute(["sleep", "100"], timeout_s=0.2)
        await container.stop(0)

    run(story)


def test_sigterm_is_for_those_who_handle_it(run: Run) -> None:
    async def story(box: Box) -> None:
        script = "trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.1; done"
        container = await box.start("sh", "-c", script)
        async with asyncio.timeout(WAIT_S):
            while not container.logs():  # noqa: ASYNC110 - nothing tells of the first line
                await asyncio.sleep(0.05)
        await container.stop(10)
        assert (await box.exit()).code == 4
        assert [line.text for line in container.logs()] == ["up", "bye"]

    run(story)


def test_who_ignores_sigterm_is_killed_after_the_grace(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sh", "-c", "trap '' TERM; echo set; while true; do sleep 0.1; done")
        await anext(container.follow())
        await container.stop(0.5)
        assert await box.exit() == Exit(code=137, reason="Error")

    run(story)


def test_the_termination_message_is_read(run: Run) -> None:
    async def story(box: Box) -> None:
        _, exit = await box.output("sh", "-c", "printf DONE > /dev/termination-log")
        assert exit.message == "DONE"
        _, exit = await box.output(
            "sh", "-c", "echo why; exit 1", terminationMessagePolicy="FallbackToLogsOnError"
        )
        assert exit.message == "why\n"

    run(story)


def test_attach_sees_output_and_gives_input(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sh", "-c", "read line; echo got $line", stdin=True)
        attached = container.attach(stdin=True, tty=False)
        await attached.write(b"hello\n")
        assert await _until(attached, b"got hello\n") == b"got hello\n"
        assert (await box.exit()).code == 0

    run(story)


def test_tar_goes_both_ways_as_kubectl_cp_does(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sleep", "1000")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as writer:
            entry = tarfile.TarInfo("greeting")
            entry.size = 5
            writer.addfile(entry, io.BytesIO(b"hello"))
        execution = await container.begin(["tar", "-xmf", "-", "-C", "/tmp"], stdin=True, tty=False)
        await execution.write(archive.getvalue())
        await execution.end_input()
        assert await _all(execution) == b""
        assert await execution.wait() == 0
        execution = await container.begin(["tar", "cf", "-", "/tmp/greeting"], stdin=False, tty=False)
        data, said = b"", b""
        while (written := await execution.read()) is not None:
            if written[0] == "stdout":
                data += written[1]
            else:
                said += written[1]
        assert data, said
        with tarfile.open(fileobj=io.BytesIO(data)) as reader:
            assert reader.getnames() == ["tmp/greeting"]
            content = reader.extractfile("tmp/greeting")
            assert content is not None
            assert content.read() == b"hello"
        await container.stop(0)

    run(story)


def test_stopping_twice_hurries(run: Run) -> None:
    async def story(box: Box) -> None:
        container = await box.start("sleep", "1000")
        await asyncio.sleep(0.1)
        slow = asyncio.ensure_future(container.stop(1000))
        await asyncio.sleep(0.1)
        await container.stop(0.1)
        await slow
        assert (await box.exit()).code == 137

    run(story)


@pytest.mark.services
def test_a_process_that_outgrows_its_limit_is_killed() -> None:
    async def story(box: Box) -> None:
        greedy = "x = b'x' * (200 << 20); import time; time.sleep(60)"
        limits = {"limits": {"memory": "60Mi"}}
        container = await box.start("python3", "-c", greedy, resources=limits)
        exit = await box.exit()
        assert (exit.code, exit.reason) == (137, "OOMKilled")
        assert container.usage().memory_bytes == 0

    _process(story)


@pytest.mark.services
@pytest.mark.skipif(os.geteuid() != 0 or not unsharing(), reason="users need root and namespaces")
def test_a_process_has_its_user_and_sees_only_itself() -> None:
    async def story(box: Box) -> None:
        security = {"runAsUser": 1234, "runAsGroup": 2345}
        text, _ = await box.output("sh", "-c", "id -u; id -g; echo $$", securityContext=security)
        assert text == "1234\n2345\n1\n"

    _process(story)


@pytest.mark.services
def test_a_program_that_is_not_there_can_not_be_started() -> None:
    async def story(box: Box) -> None:
        with pytest.raises(RuntimeError, match=r'exec: "nosuch": executable file not found in \$PATH'):
            await box.start("nosuch")

    _process(story)


@pytest.mark.services
def test_a_volume_that_can_not_be_mounted_is_told() -> None:
    """A file is in the way; the container is refused, and the runtime goes on."""

    async def story(box: Box) -> None:
        files = box.disk().volume("uid-1", "v")
        in_the_way = Mount(path="/etc/hosts/v", files=files)
        with pytest.raises(RuntimeError, match=r"error during container init: error mounting .*: "):
            await box.start("true", mounts=[in_the_way])
        assert (await box.output("echo", "on"))[0] == "on\n"

    _process(story)

"""The controller manager as a process: ready soon, nothing lost, a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from cluster import settings
from cluster.api import kinds
from cluster.server.remote import RemoteClient
from cluster.settings import CONTROL_USER

pytestmark = pytest.mark.services
READY_WITHIN_S = 15.0


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    log = tmp_path / "broker.log"
    embedded = EmbeddedBroker(
        tmp_path / "broker", cluster="test", passwords={CONTROL_USER: "pw"}, log=log, preexec=None
    )
    await embedded.start()
    yield embedded
    await embedded.stop()


async def start(broker: EmbeddedBroker, folder: Path, password: str = "pw") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cluster", "--cluster", "test", "--broker", broker.url,
        "--data", str(folder / "data"), "--port", "0", "--kubeconfig", str(folder / "kubeconfig"),
        env={**os.environ, "KUBEMU_BROKER_PASSWORD": password},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def ready(process: asyncio.subprocess.Process, kubeconfig: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN_S
    while not os.path.exists(kubeconfig):  # noqa: ASYNC240  (one look at a file, no wait)
        assert process.returncode is None, (await process.communicate())[0].decode()
        assert loop.time() < deadline, "not ready in time"
        await asyncio.sleep(0.01)


async def test_what_was_acknowledged_survives_a_kill(broker: EmbeddedBroker, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    process = await start(broker, tmp_path)
    await ready(process, kubeconfig)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}
    async with RemoteClient.from_kubeconfig(kubeconfig) as client:
        made = await client.create(kinds.CONFIG_MAPS, body)
    process.kill()
    await process.communicate()
    os.unlink(kubeconfig)
    process = await start(broker, tmp_path)
    await ready(process, kubeconfig)
    async with RemoteClient.from_kubeconfig(kubeconfig) as client:
        assert await client.get(kinds.CONFIG_MAPS, "kept", namespace="default") == made
    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert '"event": "stopped"' in output.decode()


async def test_a_refused_password_ends_the_process(broker: EmbeddedBroker, tmp_path: Path) -> None:
    process = await start(broker, tmp_path, password="wrong")
    output, _ = await asyncio.wait_for(process.communicate(), READY_WITHIN_S)
    assert process.returncode == 1
    assert "can't go on" in output.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--service-cidr", "10.96.0.0"), "--service-cidr"),
        (("--service-cidr", "10.96.0.1/16"), "--service-cidr"),
        (("--profile", "slow"), "--profile"),
        (("--port", "http"), "--port"),
    ],
)
async def test_wrong_settings_are_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        settings.parse(arguments, {})
    assert ended.value.code == 2
    assert message in capsys.readouterr().err

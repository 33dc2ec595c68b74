"""The agent process: `python -m agents --node n1 --broker mqtt://127.0.0.1:1883 …`; see `agents.settings`.

SIGTERM and SIGINT end it cleanly, SIGHUP makes it read its link rules again. Exit code 0 after a clean end,
1 after a failure, 2 for settings that make no sense. It imports as little as it can, for a hundred of these
processes may start at once.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvloop

from agents.app import AgentNode, build_node, build_view, follow
from agents.behaviour import BehaviourError, Library, load_library
from agents.loopback import LoopbackNetwork
from agents.routed import RoutedNetwork
from agents.runtime import Runtime
from agents.services.dataplane import Dataplane
from agents.settings import AgentSettings, SettingsError, parse_settings
from agents.shelf import Shelf
from broker import garbage
from broker import log as logging
from broker.chance import Chance
from broker.clock import Clock, SystemClock
from broker.rules import LinkRules, RulesError, load_rules
from broker.supervision import Tasks, settled, start_task
from broker.transport.link import AccessDenied
from broker.transport.mqtt import MqttTransport

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

CONNECTING = 50
"""Nodes of one process that connect at the same time."""
STOP_S = 1.5
"""How long putting everything away may take, beyond the shutdown's own grace. Afterwards the process ends
like a machine that is switched off: the broker publishes the nodes' wills, the kernel closes what is open,
and processes of containers die with it."""


def main() -> int:
    try:
        settings = parse_settings(sys.argv[1:])
        library = load_library(settings.behaviours)
        rules = LinkRules(load_rules(settings.links) if settings.links is not None else ())
    except (SettingsError, BehaviourError, RulesError, OSError) as error:
        print(f"agents: {error}", file=sys.stderr)
        return 2
    _raise_file_limit()
    clock = SystemClock()
    log = logging.configure("agent", json=not sys.stdout.isatty(), level=settings.log_level, clock=clock)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, library, rules, clock, log))


async def _run(
    settings: AgentSettings, library: Library, rules: LinkRules, clock: Clock, log: FilteringBoundLogger
) -> int:
    services = _dataplane(settings, log)
    shelf = Shelf(settings.volumes)
    nodes = _build(settings, library, rules, clock, log, services, shelf)
    garbage.settle()
    stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(*_: object) -> None:
        if not stopping.done():
            stopping.set_result(None)

    _handle_signals(stop, settings, rules, log)
    tasks = Tasks()
    tasks.start("services", services.failed())
    slots = asyncio.Semaphore(CONNECTING)
    for node in nodes:
        tasks.start(f"node {node.name}", _live(node, slots))
    failure = start_task("failures", tasks.failed())
    failure.add_done_callback(stop)
    await stopping
    error = failure.exception() if failure.done() else None
    await tasks.close()
    await settled(failure)
    try:
        async with asyncio.timeout(STOP_S + settings.machine.shutdown_grace_s):
            await _put_away(nodes, services)
            shelf.close()
    except TimeoutError:
        log.warning("switched off before everything was put away", after_s=STOP_S)
        sys.stdout.flush()
        os._exit(0 if error is None else 1)
    if error is not None:
        log.error("stopped by an error", why=str(error), exc_info=_trace(error))
        return 1
    return 0


async def _put_away(nodes: list[AgentNode], services: Dataplane) -> None:
    await services.close()
    for stop_of_node in [start_task(f"stop {node.name}", node.stop()) for node in reversed(nodes)]:
        await settled(stop_of_node)


def _trace(error: BaseException) -> BaseException | None:
    """What is the user's to mend needs no trace."""
    return None if isinstance(error, AccessDenied) else error


def _dataplane(settings: AgentSettings, log: FilteringBoundLogger) -> Dataplane:
    if settings.network == "routed":
        network = RoutedNetwork(log)
        return Dataplane(network, log=log, routes=network)
    return Dataplane(LoopbackNetwork(), log=log)


def _build(
    settings: AgentSettings,
    library: Library,
    rules: LinkRules,
    clock: Clock,
    log: FilteringBoundLogger,
    services: Dataplane,
    shelf: Shelf,
) -> list[AgentNode]:
    chance = Chance.from_entropy()
    view = build_view(settings.cluster, timings=settings.timings, clock=clock, chance=chance, log=log)
    follow(services, view)
    nodes = []
    for name in settings.nodes:
        link = MqttTransport(
            settings.broker,
            client_id=f"{settings.cluster}-{name}",
            username=name,
            password=settings.passwords[name],
            chance=chance.fork(f"link/{name}"),
            rules=rules,
            reading_qos=0,
            log=log.bind(node=name),
        )
        nodes.append(
            build_node(
                name,
                cluster=settings.cluster,
                transport=link,
                network=services.plain,
                services=services,
                view=view,
                processes=_processes(settings, library, clock, chance),
                library=library,
                machine=settings.machine,
                timings=settings.timings,
                clock=clock,
                chance=chance,
                log=log,
                shelf=shelf,
            )
        )
    return nodes


def _processes(
    settings: AgentSettings, library: Library, clock: Clock, chance: Chance
) -> Callable[[], Runtime]:
    def make() -> Runtime:
        # imported when a pod first wants it: it doubles what an agent loads
        from agents.process.runtime import ProcessRuntime

        own = chance.fork("processes")
        return ProcessRuntime(library, clock=clock, chance=own, volumes=settings.volumes)

    return make


async def _live(node: AgentNode, slots: asyncio.Semaphore) -> None:
    async with slots:
        await node.start()
    await node.failed()


def _handle_signals(
    stop: Callable[..., None], settings: AgentSettings, rules: LinkRules, log: FilteringBoundLogger
) -> None:
    def reread() -> None:
        if settings.links is None:
            return
        try:
            rules.replace(load_rules(settings.links))
            log.info("link rules read", file=str(settings.links))
        except RulesError as error:
            log.error("link rules not read", why=str(error))

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, reread)
    reread()  # they may have changed since this process began to start


def _raise_file_limit() -> None:
    """Each pod's port is a socket: take as many files as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())

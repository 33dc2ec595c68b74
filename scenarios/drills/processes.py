"""The drill on real processes: the same client and the same promises, with SIGKILL, SIGSTOP and real brokers.

What a simulation can't have (sockets, journals on a disk, half-written messages, brokers of others) is hit
here, at the price of real time and of chance that no seed repeats. Judged is what the API shows in the end:
acknowledged writes are there, everything has converged, every ready pod answers, and then nothing is written
any more.
"""

from __future__ import annotations

import asyncio

import aiohttp

from broker.chance import Chance
from broker.clock import Clock, SystemClock
from broker.supervision import Tasks
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, ServiceUnavailable
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store
from scenarios.drill import Drill
from scenarios.drills.checkers import Broken, Promise
from scenarios.drills.convergence import difference_of_store
from scenarios.drills.drill import CONVERGE_S, Outcome
from scenarios.drills.ledger import Ledger
from scenarios.drills.options import draw
from scenarios.drills.storm import Storm
from scenarios.drills.workload import Workload
from scenarios.expectation import is_ready
from scenarios.faults import CentralProcess, FaultError
from scenarios.launch.testing import running_cluster

LOOK_S = 1.0
SETTLE_S = 5.0
QUIET_S = 10.0
JUDGED = (
    kinds.NODES,
    kinds.PODS,
    kinds.SERVICES,
    kinds.ENDPOINT_SLICES,
    kinds.REPLICA_SETS,
    kinds.DEPLOYMENTS,
    kinds.STATEFUL_SETS,
)
RESTLESS = (kinds.NODES,)
UNREACHABLE = (OSError, ServiceUnavailable)


async def drill_processes(seed: int) -> Outcome:
    """Plays the drill of this seed on a cluster of its own; the seed draws options, faults and writes."""
    options = draw(Chance(seed).fork("options"))
    async with running_cluster(nodes=options.nodes, profile=options.profile) as drill:
        return await play(drill, seed, pods_reachable=True)


async def play(drill: Drill, seed: int, *, pods_reachable: bool) -> Outcome:
    """On a running cluster without workloads, whose nodes are Ready. `pods_reachable`: from here, by IP."""
    chance = Chance(seed)
    options = draw(chance.fork("options"))
    clock = SystemClock()
    began = clock.monotonic()
    broken: Broken | None = None
    ledger = Ledger()
    workload = Workload(drill.client, ledger, chance.fork("workload"))

    async def outage(which: CentralProcess, length_s: float) -> None:
        await drill.faults.bounce(which)  # its start is the outage

    storm = Storm(
        drill.faults, outage, drill.client, clock=clock, options=options, chance=chance.fork("storm")
    )
    try:
        await workload.create(replicas=4, stateful=False)
        await _until_converged(drill.client, "the first rollout", clock)
        await _rage(storm, workload, options.pause_s)
        await _until_converged(drill.client, "the storm", clock)
        await _acknowledged(drill.client, ledger)
        if pods_reachable:
            await _answers(drill.client)
        await _quiet(drill.client)
    except Broken as error:
        broken = error
    except FaultError as error:
        broken = Broken(Promise.SOUND, str(error))
    took_s = clock.monotonic() - began
    return Outcome(seed=seed, options=options, broken=broken, story=tuple(storm.story), virtual_s=took_s)


async def _rage(storm: Storm, workload: Workload, pause_s: float) -> None:
    tasks = Tasks()
    raging = tasks.start("storm", storm.rage())
    tasks.start("workload", workload.run(pause_s))
    try:
        await raging
    finally:
        await tasks.close()
    await tasks.failed()
    await storm.heal()


async def _seen(client: ApiClient) -> Store:
    """What the API shows, as a store that can be judged like the simulation's own."""
    store = Store(MemoryJournal(), clock=SystemClock())
    for resource in JUDGED:
        for obj in (await client.list(resource)).items:
            meta = obj["metadata"]
            store.put(resource.qualified, Key(meta.get("namespace", ""), meta["name"]), obj, None)
    return store


async def _until_converged(client: ApiClient, after: str, clock: Clock) -> None:
    deadline = clock.monotonic() + CONVERGE_S
    while True:
        try:
            why = difference_of_store(await _seen(client))
        except UNREACHABLE as error:
            why = f"the API can't be reached: {error}"
        if not why:
            return
        if clock.monotonic() > deadline:
            raise Broken(Promise.CONVERGED, f"{CONVERGE_S:g} s after {after}: {why}")
        await asyncio.sleep(LOOK_S)


async def _acknowledged(client: ApiClient, ledger: Ledger) -> None:
    resources: dict[str, Resource] = {
        each.plural: each for each in (kinds.DEPLOYMENTS, kinds.STATEFUL_SETS, kinds.SERVICES)
    }
    for plural, key in ledger.entries():
        found: Object | None
        try:
            found = await client.get(resources[plural], key.name, namespace=key.namespace)
        except ApiError:
            found = None
        if why := ledger.contradiction(plural, key, found):
            raise Broken(Promise.ACKNOWLEDGED, why)


async def _answers(client: ApiClient) -> None:
    """A ready pod is there for whoever asks at its address."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for pod in (await client.list(kinds.PODS)).items:
            address = pod["status"].get("podIP", "")
            if not is_ready(pod) or "deletionTimestamp" in pod["metadata"]:
                continue
            try:
                async with session.get(f"http://{address}:8080/") as answer:
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                what = f"{pod['metadata']['name']} is ready, but at {address}: {error!r}"
                raise Broken(Promise.CONVERGED, what) from error


async def _versions(client: ApiClient) -> dict[str, str]:
    found = {}
    for resource in JUDGED:
        if resource not in RESTLESS:
            for obj in (await client.list(resource)).items:
                found[f"{resource.plural}/{obj['metadata']['name']}"] = obj["metadata"]["resourceVersion"]
    return found


async def _quiet(client: ApiClient) -> None:
    await asyncio.sleep(SETTLE_S)
    before = await _versions(client)
    await asyncio.sleep(QUIET_S)
    after = await _versions(client)
    changed = [name for name, version in after.items() if before.get(name) != version]
    if changed:
        raise Broken(Promise.QUIET, f"{len(changed)} objects: {', '.join(changed[:5])}")

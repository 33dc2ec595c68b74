"""Addresses of load balancers and Ingresses, given by their controllers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network
from typing import Any

import pytest
import structlog

from broker.chance import Chance
from broker.clock import LoopClock
from broker.system import ActorSystem
from broker.virtualtime import run_virtual
from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.timings import STANDARD
from cluster.controllers import load_balancer
from cluster.reconcile.world import Background, World
from cluster.server.bootstrap import bootstrap_objects
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

POOL = IPv4Network("127.201.0.0/28")


def play(story: Callable[[LocalClient], Awaitable[None]]) -> None:
    """With the two controllers and nothing else."""

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        store = Store(MemoryJournal(), clock=clock)
        registry, log = Registry(), structlog.get_logger()
        verbs = Verbs(
            store, registry, clock=clock, chance=Chance(1), timings=STANDARD, service_cidr="127.200.0.0/16"
        )
        client = LocalClient(verbs, "admin")
        await bootstrap_objects(client, service_cidr="127.200.0.0/16")
        world = World(
            client, clock=clock, chance=Chance(2), timings=STANDARD, log=log, registry=registry,
            load_balancer_cidr=str(POOL),
        )  # fmt: skip
        system = ActorSystem(clock=clock, chance=Chance(3), log=log)
        system.spawn("informers", lambda: Background(world))
        system.spawn("balancers", lambda: load_balancer.controller(world))
        system.spawn("ingresses", lambda: load_balancer.ingress_controller(world))
        await story(client)
        await system.stop()
        verbs.close()
        store.close()

    run_virtual(main())


def make(name: str, **spec: Any) -> Object:
    fields = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": fields}


async def balancers(client: LocalClient) -> dict[str, str]:
    await asyncio.sleep(5)
    found = (await client.list(kinds.SERVICES, namespace="default")).items
    entries = {s["metadata"]["name"]: s["status"]["loadBalancer"].get("ingress") or [{}] for s in found}
    return {name: entry[0].get("ip", "") for name, entry in entries.items() if name != "kubernetes"}


def test_each_gets_an_address_of_its_own_and_gives_it_back() -> None:
    async def story(client: LocalClient) -> None:
        for name in ("a", "b"):
            await client.create(kinds.SERVICES, make(name), namespace="default")
        await client.create(kinds.SERVICES, make("c", loadBalancerIP="127.201.0.9"), namespace="default")
        await client.create(kinds.SERVICES, make("d", loadBalancerClass="example.com/x"), namespace="default")
        await client.create(kinds.SERVICES, make("e", type="ClusterIP"), namespace="default")
        assert await balancers(client) == {
            "a": "127.201.0.2",
            "b": "127.201.0.3",
            "c": "127.201.0.9",
            "d": "",
            "e": "",
        }
        entry = (await client.get(kinds.SERVICES, "a", namespace="default"))["status"]["loadBalancer"][
            "ingress"
        ][0]
        assert entry == {"ip": "127.201.0.2", "ipMode": "VIP", "hostname": "a.default.lb.kubemu.test"}
        reasons = {e["reason"] for e in (await client.list(kinds.EVENTS, namespace="default")).items}
        assert reasons == {"EnsuringLoadBalancer", "EnsuredLoadBalancer"}
        await client.delete(kinds.SERVICES, "a", namespace="default")
        await asyncio.sleep(1)
        await client.create(kinds.SERVICES, make("f"), namespace="default")
        assert (await balancers(client))["f"] == "127.201.0.2"

    play(story)


def test_a_finalizer_holds_a_service_as_long_as_it_has_a_balancer() -> None:
    """It comes with the address, and goes with it when the type changes; other finalizers are left alone."""

    async def story(client: LocalClient) -> None:
        body = make("a")
        body["metadata"]["finalizers"] = ["example.com/mine"]
        await client.create(kinds.SERVICES, body, namespace="default")
        await client.create(kinds.SERVICES, make("b"), namespace="default")
        assert all((await balancers(client)).values())
        held = (await client.get(kinds.SERVICES, "a", namespace="default"))["metadata"]["finalizers"]
        assert held == ["example.com/mine", load_balancer.FINALIZER]
        patch = {"spec": {"type": "ClusterIP"}}
        await client.patch(kinds.SERVICES, "a", patch, namespace="default")
        await client.delete(kinds.SERVICES, "b", namespace="default")
        assert await balancers(client) == {"a": ""}
        found = await client.get(kinds.SERVICES, "a", namespace="default")
        assert found["metadata"]["finalizers"] == ["example.com/mine"]
        assert found["status"] == {"loadBalancer": {}}
        reasons = [e["reason"] for e in (await client.list(kinds.EVENTS, namespace="default")).items]
        assert reasons.count("DeletedLoadBalancer") == 2

    play(story)


def test_an_empty_pool_keeps_services_waiting_until_one_goes() -> None:
    async def story(client: LocalClient) -> None:
        for number in range(POOL.num_addresses - 3 + 1):
            await client.create(kinds.SERVICES, make(f"s{number}"), namespace="default")
        seen = await balancers(client)
        assert list(seen.values()).count("") == 1
        await client.delete(
            kinds.SERVICES, next(name for name, ip in seen.items() if ip), namespace="default"
        )
        await asyncio.sleep(load_balancer.RETRY_S)
        assert "" not in (await balancers(client)).values()

    play(story)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({}, True), ({"ingressClassName": "other"}, False)],
    ids=["default", "another class"],
)
def test_ingresses_show_the_proxys_address(fields: dict[str, str], shown: bool) -> None:
    """The default class is ours; another class' Ingress is left alone."""

    async def story(client: LocalClient) -> None:
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        body = {
            "metadata": {"name": "i", "namespace": "default"},
            "spec": {"defaultBackend": backend, **fields},
        }
        await client.create(kinds.INGRESSES, body, namespace="default")
        await asyncio.sleep(1)
        found = await client.get(kinds.INGRESSES, "i", namespace="default")
        entries = (found.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        wanted = [{"ip": "127.201.0.1", "hostname": "ingress-controller.lb.kubemu.test"}] if shown else []
        assert entries == wanted

    play(story)

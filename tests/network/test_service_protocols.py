"""One port number of a Service for TCP and UDP: each is served while the Service lists it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service_objects import make_endpoint, make_service, make_slice
from test_service_connections import CLIENT, CLUSTER_IP, POD_A, PORT, Machine, Story, networks, until


@networks
def test_each_protocol_of_a_port_comes_and_goes_by_itself(run: Callable[[Story], None]) -> None:
    async def story(one: Machine) -> None:
        def answer(data: bytes, sender: tuple[str, int]) -> None:
            pod.send(data.upper(), sender)

        await one.serve(POD_A)
        pod = await one.plane.network.datagrams(POD_A, 8080, answer)
        got: list[bytes] = []
        client = await one.network.datagrams(CLIENT, 0, lambda data, sender: got.append(data))

        def offer(*protocols: str) -> None:
            ports = [{"name": p.lower(), "port": PORT, "protocol": p} for p in protocols]
            one.tell(make_service(clusterIP=CLUSTER_IP, ports=ports))

        async def datagram() -> None:
            got.clear()
            client.send(b"hello", (CLUSTER_IP, PORT))
            await asyncio.sleep(0.05)
            if not got:
                raise OSError("nothing yet")

        async def connection() -> None:
            async with asyncio.timeout(0.2):
                await one.ask()

        one.tell(
            *(
                make_slice(make_endpoint(POD_A), name=f"web-{p}", port_name=p.lower(), protocol=p)
                for p in ("TCP", "UDP")
            )
        )
        offer("TCP", "UDP")
        await until(connection)
        await until(datagram)
        offer("TCP")
        await until(datagram, wanted=OSError)
        await until(connection)
        offer("UDP")
        await until(connection, wanted=OSError)
        await until(datagram)
        await client.close()

    run(story)

"""The cluster's DNS server, one in each agent process, at the kube-dns Service's address.

All agents of a machine listen at the same address (SO_REUSEPORT, as for Services, see `frontends`); each
answers from what it knows itself. It is only there while the kube-dns Service has no selector: with one, its
pods are the DNS. Where port 53 may not be bound the usual rule holds (`agents.loopback`): 60053.

A NetworkPolicy that keeps a pod from the DNS pods (labels k8s-app=kube-dns in kube-system) keeps it from
this server.

Divergence: names outside the cluster are refused, there is no forwarding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from agents.network import AddressInUse, Datagrams, Listener, Network
from agents.services.names import TTL_S, Names, Record, Verdict
from broker.supervision import Tasks
from cluster.api.objects import Key

if TYPE_CHECKING:
    import dns.message

SERVICE = Key("kube-system", "kube-dns")
PORT = 53
PLAIN_UDP_BYTES = 512
IDLE_S = 30.0


Permits = Callable[[str, str, str, int], bool]
"""Of source, target, protocol and port."""


class DnsServer:
    def __init__(
        self,
        network: Network,
        names: Names,
        permits: Permits,
        tasks: Tasks,
        log: FilteringBoundLogger,
    ) -> None:
        self._network = network
        self._names = names
        self._permits = permits
        self._tasks = tasks
        self._log = log
        self._ip = ""
        self._attached = ""
        self._udp: Datagrams | None = None
        self._tcp: Listener | None = None
        self._turn = 0

    def serve_at(self, ip: str) -> None:
        """Listens there from now on, and nowhere else; empty: not at all."""
        if ip != self._ip:
            self._ip = ip
            self._tasks.start("dns", self._move(ip))

    async def _move(self, ip: str) -> None:
        await self.close()
        if not ip or ip != self._ip:
            return
        await self._network.attach(ip)
        self._attached = ip
        try:
            self._udp = await self._network.datagrams(ip, PORT, self._take, shared=True)
            self._tcp = await self._network.listen(ip, PORT, self._serve, shared=True)
        except (AddressInUse, OSError) as error:
            self._log.warning("no DNS", address=ip, why=str(error))

    async def close(self) -> None:
        if self._udp is not None:
            await self._udp.close()
        if self._tcp is not None:
            await self._tcp.close()
        self._udp = self._tcp = None
        if self._attached:
            await self._network.detach(self._attached)
            self._attached = ""

    # --- questions

    def _take(self, data: bytes, client: tuple[str, int]) -> None:
        if not self._permits(client[0], self._ip, "UDP", PORT):
            return
        answer = self.respond(data, limit=True)
        if answer and self._udp is not None:
            self._udp.send(answer, client)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if not self._permits(str(peer[0]) if peer else "", self._ip, "TCP", PORT):
            writer.transport.abort()
            return
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2))
                    question = await reader.readexactly(size)
                answer = self.respond(question, limit=False)
                if not answer:
                    return
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return

    def respond(self, data: bytes, *, limit: bool) -> bytes:
        """The answer to a message; empty for what is no question. `limit`: it has to fit a datagram."""
        import dns.exception
        import dns.flags
        import dns.message

        try:
            question = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return b""
        if question.flags & dns.flags.QR or len(question.question) != 1:
            return b""
        response = self._answered(question)
        if not limit:
            return response.to_wire()
        payload = max(question.payload, PLAIN_UDP_BYTES) if question.edns >= 0 else PLAIN_UDP_BYTES
        return _fitting(response, payload)

    def _answered(self, question: dns.message.Message) -> dns.message.Message:
        import dns.flags
        import dns.message
        import dns.rcode
        import dns.rdatatype
        import dns.rrset

        asked = question.question[0]
        response = dns.message.make_response(question)
        answer = self._names.answer(asked.name.to_text(True), dns.rdatatype.to_text(asked.rdtype))
        if answer.verdict is Verdict.FOREIGN:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA

        def add(section: list[dns.rrset.RRset], record: Record) -> None:
            one = dns.rrset.from_text(f"{record.name}.", TTL_S, "IN", record.type, record.data)
            same = next((s for s in section if s.name == one.name and s.rdtype == one.rdtype), None)
            if same is None:
                section.append(one)
            else:
                same.add(one[0])

        for record in self._rotated(list(answer.records)):
            add(response.answer, record)
        for record in answer.additional:
            add(response.additional, record)
        if answer.verdict is Verdict.NO_NAME:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not answer.records:
            add(response.authority, Record(answer.zone, "SOA", self._names.authority(answer.zone)))
        return response

    def _rotated(self, records: list[Record]) -> list[Record]:
        """Addresses take turns at the front; an alias stays there."""
        if len(records) < 2 or records[0].type == "CNAME":
            return records
        self._turn += 1
        at = self._turn % len(records)
        return records[at:] + records[:at]


def _fitting(response: dns.message.Message, payload: int) -> bytes:
    import dns.exception
    import dns.flags

    try:
        return response.to_wire(max_size=payload)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.additional.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()

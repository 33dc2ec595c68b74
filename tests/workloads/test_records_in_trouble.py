"""Events and signing requests over many seeds of trouble: what is old goes, what is approved is signed, once.

While it lasts no certificate changes that was once given; afterwards nothing is written until the next
record is an hour (a pending request: a day) old.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from controlled_cluster import Cluster, simulate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from storms import RESTARTS, Storm, at_every_change, attempt

from cluster.api import kinds
from cluster.api.objects import Object, condition_of, timestamp
from cluster.controllers.certificates import SETTLED_LIFE
from cluster.controllers.event_expiry import last_seen

SEEDS = range(10)
REQUESTS = kinds.CERTIFICATE_SIGNING_REQUESTS
EVENT_TTL = timedelta(hours=1)


KEY = ec.generate_private_key(ec.SECP256R1())
SUBJECT = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])


def _request_text() -> str:
    made = x509.CertificateSigningRequestBuilder().subject_name(SUBJECT).sign(KEY, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


REQUEST = _request_text()


def sign(request: bytes, usages: Sequence[str], life: timedelta, now: datetime) -> bytes:
    """Another certificate each time, as an authority gives it."""
    made = (
        x509.CertificateBuilder()
        .subject_name(SUBJECT)
        .issuer_name(SUBJECT)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + life)
    )
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Office:
    """A client that leaves events, asks for certificates, and decides on what was asked."""

    def __init__(self, cluster: Cluster, storm: Storm) -> None:
        self.cluster, self.chance = cluster, storm.chance.fork("office")
        self.client = cluster.client

    async def act(self, number: int) -> None:
        deeds = (self._event, self._event, self._ask, self._decide, self._decide, self._withdraw)
        await attempt(self.chance.choice(deeds)(number))

    async def _event(self, number: int) -> None:
        ago_s = self.chance.choice([0, 1800, 3590, 3700])
        seen = timestamp(self.cluster.world.clock.now() - timedelta(seconds=ago_s))
        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        body = {"metadata": {"name": f"e-{number}"}, "involvedObject": about, "reason": "R", "type": "Normal"}
        times = {"firstTimestamp": seen, "lastTimestamp": seen}
        await self.client.create(kinds.EVENTS, {**body, **times}, namespace="default")

    async def _ask(self, number: int) -> None:
        usages = self.chance.choice([["client auth"], ["client auth"], ["server auth"]])
        spec = {"request": REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": usages}
        await self.client.create(REQUESTS, {"metadata": {"name": f"r-{number}"}, "spec": spec})

    async def _decide(self, number: int) -> None:
        found = (await self.client.list(REQUESTS)).items
        open_ones = [each for each in found if not each.get("status", {}).get("conditions")]
        if not open_ones:
            return
        request = self.chance.choice(open_ones)
        now = timestamp(self.cluster.world.clock.now())
        decided = {"type": self.chance.choice(["Approved", "Approved", "Denied"]), "status": "True"}
        decided |= {"reason": "Test", "lastUpdateTime": now, "lastTransitionTime": now}
        body = {**request, "status": {**request.get("status", {}), "conditions": [decided]}}
        await self.client.update(REQUESTS, body, subresource="approval")

    async def _withdraw(self, number: int) -> None:
        found = (await self.client.list(REQUESTS)).items
        if found:
            await self.client.delete(REQUESTS, self.chance.choice(found)["metadata"]["name"])


@pytest.mark.parametrize("seed", SEEDS)
def test_records_are_settled_and_forgotten(seed: int) -> None:
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        office = Office(cluster, storm)
        given: dict[str, str] = {}

        def check(requests: list[Object]) -> None:
            for request in requests:
                certificate = request.get("status", {}).get("certificate")
                if certificate:
                    assert given.setdefault(request["metadata"]["uid"], certificate) == certificate

        at_every_change(cluster, REQUESTS, check)
        await storm.rage(cluster, 40, office.act, restarts=RESTARTS)
        await cluster.settle(60)
        requests = (await cluster.client.list(REQUESTS)).items
        for request in requests:
            _expect_settled(request)
        assert {r["metadata"]["uid"] for r in requests if r.get("status", {}).get("certificate")} <= set(
            given
        )
        await _expect_no_old_events(cluster)
        await cluster.settle((SETTLED_LIFE + timedelta(minutes=5)).total_seconds())
        assert [e["metadata"]["name"] for e in await cluster.list(kinds.EVENTS)] == []
        left = (await cluster.client.list(REQUESTS)).items
        assert not any(each.get("status", {}).get("conditions") for each in left)
        pending = [each for each in requests if not each.get("status", {}).get("conditions")]
        assert [each["metadata"]["uid"] for each in left] == [each["metadata"]["uid"] for each in pending]
        await cluster.expect_quiet(60)

    simulate(scenario, seed, through=storm.client, sign=sign)


def _expect_settled(request: Object) -> None:
    status = request.get("status", {})
    approved = condition_of(request, "Approved") is not None
    wrong = request["spec"]["usages"] == ["server auth"]
    assert bool(status.get("certificate")) == (approved and not wrong)
    assert (condition_of(request, "Failed") is not None) == (approved and wrong)


async def _expect_no_old_events(cluster: Cluster) -> None:
    now = cluster.world.clock.now()
    old = [e["metadata"]["name"] for e in await cluster.list(kinds.EVENTS) if now - last_seen(e) > EVENT_TTL]
    assert old == []

"""CertificateSigningRequests: approved ones get their certificate, old ones go.

Two of Kubernetes' controllers in one. The signer serves the kubernetes.io signer names with the cluster's
one authority: a request that its rules forbid, or that can't be signed, gets the condition Failed. The
cleaner deletes what nobody needs any more: issued, denied and failed requests after an hour, pending ones
after a day.

Divergence: nothing is approved automatically; the agents have no certificates.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, timestamp
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "certificate-controller"
LIFE = timedelta(days=365)
SETTLED_LIFE = timedelta(hours=1)
PENDING_LIFE = timedelta(hours=24)

_BASIC = frozenset({"digital signature", "key encipherment"})
_CLIENT, _SERVER = "client auth", "server auth"
_SIGNERS: dict[str, tuple[frozenset[str], str]] = {
    "kubernetes.io/kube-apiserver-client": (_BASIC | {_CLIENT}, _CLIENT),
    "kubernetes.io/kube-apiserver-client-kubelet": (_BASIC | {_CLIENT}, _CLIENT),
    "kubernetes.io/kubelet-serving": (_BASIC | {_SERVER}, _SERVER),
    "kubernetes.io/legacy-unknown": (frozenset(), ""),
}
"""Per signer: the usages it knows (any if empty) and the one it needs."""


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    requests = world.informers.of(kinds.CERTIFICATE_SIGNING_REQUESTS)
    return Controller(SigningRequests(world), queue, watches=[(requests, enqueue(queue))])


def condition_at(request: Object, *types: str) -> datetime | None:
    """Since when one of these conditions holds, for one that says so."""
    for condition in _conditions(request, *types):
        if condition.get("lastUpdateTime"):
            return moment(condition["lastUpdateTime"])
    return None


def _conditions(request: Object, *types: str) -> list[Object]:
    conditions = request.get("status", {}).get("conditions") or ()
    return [condition for condition in conditions if condition["type"] in types]


def expires_at(request: Object) -> datetime:
    settled = condition_at(request, "Denied", "Failed", "Approved")
    if settled is not None:
        return settled + SETTLED_LIFE
    return moment(request["metadata"]["creationTimestamp"]) + PENDING_LIFE


def objection(signer: str, usages: Sequence[str]) -> str:
    """Why this signer does not sign for these usages; empty if it does."""
    known, needed = _SIGNERS[signer]
    if known and (needed not in usages or not known.issuperset(usages)):
        return f"invalid usages for {signer} certificate: {list(usages)!r}"
    return ""


class SigningRequests:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._requests = world.informers.of(kinds.CERTIFICATE_SIGNING_REQUESTS)
        self._sign = world.sign

    async def reconcile(self, key: Key) -> float | None:
        request = self._requests.get(key)
        if request is None or "deletionTimestamp" in request["metadata"]:
            return None
        if self._to_sign(request):
            await self._settle(request)
            return None
        left_s = (expires_at(request) - self._clock.now()).total_seconds()
        if left_s > 0:
            return left_s
        meta = request["metadata"]
        try:
            await self._client.delete(kinds.CERTIFICATE_SIGNING_REQUESTS, key.name, uid=meta["uid"])
        except NotFound:
            return None
        return None

    def _to_sign(self, request: Object) -> bool:
        return (
            self._sign is not None
            and request["spec"]["signerName"] in _SIGNERS
            and not request.get("status", {}).get("certificate")
            and bool(_conditions(request, "Approved"))
            and not _conditions(request, "Denied", "Failed")
        )

    async def _settle(self, request: Object) -> None:
        """Adds the certificate, or the condition that says why there is none."""
        spec, status = request["spec"], dict(request["status"])
        refused = objection(spec["signerName"], spec.get("usages") or ())
        try:
            if not refused:
                status["certificate"] = base64.b64encode(self._signed(spec)).decode()
        except (ValueError, binascii.Error) as error:
            refused = f"unable to sign: {error}"
        if refused:
            now = timestamp(self._clock.now())
            failed = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure"}
            failed |= {"message": refused, "lastUpdateTime": now, "lastTransitionTime": now}
            status["conditions"] = [*status["conditions"], failed]
        body = {**request, "status": status}
        await self._client.update(kinds.CERTIFICATE_SIGNING_REQUESTS, body, subresource="status")

    def _signed(self, spec: Object) -> bytes:
        assert self._sign is not None
        asked_s = spec.get("expirationSeconds")
        life = min(timedelta(seconds=asked_s), LIFE) if asked_s else LIFE
        request = base64.b64decode(spec["request"])
        return self._sign(request, spec.get("usages") or (), life, self._clock.now())

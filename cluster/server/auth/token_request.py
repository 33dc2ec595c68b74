"""`serviceaccounts/token`: gives out a token for a service account.

Divergence: tokens are signed with ES256 where Kubernetes' usual key is RSA.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cluster.api import kinds
from cluster.api.errors import Cause, Conflict, NotFound, conflict, invalid, not_found
from cluster.api.objects import Key, Object, timestamp
from cluster.api.resource import Resource
from cluster.server.auth.tokens import (
    DEFAULT_LIFE_S,
    MAXIMUM_LIFE_S,
    MINIMUM_LIFE_S,
    Bound,
    Lookup,
    ServiceAccountTokens,
)
from cluster.server.call import Call

_BINDABLE: dict[str, Resource] = {"Pod": kinds.PODS, "Secret": kinds.SECRETS, "Node": kinds.NODES}


class TokenRequests:
    def __init__(self, tokens: ServiceAccountTokens, lookup: Lookup) -> None:
        self._tokens = tokens
        self._lookup = lookup

    def answer(self, call: Call, account: Object, body: Object) -> Object:
        """The TokenRequest with its status. Raises Invalid, NotFound, Conflict."""
        spec = body.get("spec") or {}
        life_s = spec.get("expirationSeconds")
        life_s = DEFAULT_LIFE_S if life_s is None else life_s
        self._check_life(call, life_s)
        bound, node = self._bound(call, account, spec.get("boundObjectRef"))
        token, expires = self._tokens.issue(
            account, audiences=spec.get("audiences") or (), life_s=life_s, bound=bound, node=node
        )
        filled = {**spec, "audiences": spec.get("audiences") or list(self._tokens.audiences)}
        filled["expirationSeconds"] = life_s
        status = {"token": token, "expirationTimestamp": timestamp(datetime.fromtimestamp(expires, UTC))}
        meta = account["metadata"]
        named = {"name": meta["name"], "namespace": meta["namespace"]}
        named["creationTimestamp"] = timestamp(datetime.fromtimestamp(expires - life_s, UTC))
        return {**body, "metadata": named, "spec": filled, "status": status}

    def _check_life(self, call: Call, life_s: int) -> None:
        if life_s < MINIMUM_LIFE_S:
            why = "may not specify a duration less than 10 minutes"
        elif life_s > MAXIMUM_LIFE_S:
            why = "may not specify a duration larger than 2^32 seconds"
        else:
            return
        resource = Resource(
            group="authentication.k8s.io",
            version="v1",
            kind="TokenRequest",
            plural="tokenrequests",
            singular="tokenrequest",
            namespaced=True,
        )
        cause = Cause("FieldValueInvalid", f"Invalid value: {life_s}: {why}", "spec.expirationSeconds")
        raise invalid(resource, "", [cause])

    def _bound(
        self, call: Call, account: Object, reference: Object | None
    ) -> tuple[Bound | None, Bound | None]:
        """The bound object and, for a pod that is scheduled, its node."""
        if not reference:
            return None, None
        kind, name = reference.get("kind", ""), reference.get("name", "")
        resource = _BINDABLE.get(kind)
        if resource is None:
            message = f"cannot bind token for serviceaccount to object of kind {kind}"
            raise NotFound(message)
        namespace = account["metadata"]["namespace"] if resource.namespaced else ""
        found = self._lookup(resource.qualified, Key(namespace, name))
        if found is None:
            raise not_found(resource, name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            raise _other_uid(resource, name, reference["uid"], uid)
        node = None
        if kind == "Pod":
            _check_account(resource, found, account)
            node = self._node_of(found)
        return Bound(kind=kind, name=name, uid=uid), node

    def _node_of(self, pod: Object) -> Bound | None:
        name = pod["spec"].get("nodeName")
        if not name:
            return None
        node = self._lookup("nodes", Key("", name))
        return Bound(kind="Node", name=name, uid=node["metadata"]["uid"] if node else "")


def _other_uid(resource: Resource, name: str, wanted: str, uid: str) -> Conflict:
    why = f"the UID in the bound object reference ({wanted}) does not match the UID in record. "
    why += "The object might have been deleted and then recreated"
    return conflict(resource, name, why)


def _check_account(resource: Resource, pod: Object, account: Object) -> None:
    name = account["metadata"]["name"]
    if pod["spec"].get("serviceAccountName", "default") != name:
        cause = Cause(
            "FieldValueInvalid",
            f'Invalid value: "{pod["metadata"]["name"]}": cannot bind token for serviceaccount '
            f'"{name}" to pod running with different serviceaccount name.',
            "spec.boundObjectRef",
        )
        raise invalid(resource, pod["metadata"]["name"], [cause])

"""NetworkPolicies resolved for the nodes, and kept resolved while pods and namespaces change.

A policy speaks in selectors over pods and namespaces. Each different selector (`Selection`) is kept once with
the pods that it selects, whoever uses it; nodes get the policies' rules in terms of selections, and the
members of selections in pieces, one for each /24 of addresses (which is about a node's pods). A pod that
changes is looked at by the selections that reach into its namespace, and what is sent is the pieces that
differ; policies are only sent when they change themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from cluster.api.objects import Key, Object
from cluster.api.selectors import LabelSelector, of_object_form

NamedPorts = dict[str, int]
Told = tuple[str, Key]
"""Kind and key of an object for the nodes."""

ALL: Object = {}


@dataclass(frozen=True, slots=True)
class Pod:
    """What policies see of a pod."""

    ip: str
    labels: Mapping[str, str]
    ports: NamedPorts
    """As "TCP/http"."""


@dataclass(slots=True)
class Selection:
    """The pods of some namespaces with some labels."""

    name: str
    namespace: str
    """Empty: those that `spaces` selects."""
    spaces: LabelSelector
    pods: LabelSelector
    tells_ports: bool
    users: int = 0
    pieces: dict[str, dict[str, Pod]] = field(default_factory=dict)
    """Pods by address."""

    def reaches(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return self.namespace == namespace if self.namespace else self.spaces.matches(labels)


class PolicyWorld:
    """`changed` takes the kind and key of what nodes have to be told, `told` gives the object then."""

    def __init__(self) -> None:
        self.changed: dict[Told, None] = {}
        self._policies: dict[Key, Object] = {}
        self._rules: dict[Key, Object] = {}
        self._uses: dict[Key, list[str]] = {}
        self._selections: dict[str, Selection] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._reaching: dict[str, dict[str, Selection]] = {}
        """Namespace → the selections that reach into it."""
        self._pods: dict[str, dict[str, Pod]] = {}
        """Namespace → pods by name."""

    def told(self, identity: Told) -> Object | None:
        """What nodes are to know under this name now."""
        kind, key = identity
        if kind == "TrafficRules":
            return self._rules.get(key)
        selection = self._selections.get(key.namespace)
        members = selection.pieces.get(key.name) if selection is not None else None
        if selection is None or not members:
            return None
        pods = {ip: pod.ports if selection.tells_ports else {} for ip, pod in members.items()}
        return _stamped("PodSet", key, "", {"pods": pods})

    # --- what there is

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Its labels; None: it is gone."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        before = self._reaching.pop(name, {})
        after = (
            {s.name: s for s in self._selections.values() if s.reaches(name, labels)}
            if labels is not None
            else {}
        )
        if after:
            self._reaching[name] = after
        for selection in before.values():
            if selection.name not in after:
                for pod in self._pods.get(name, {}).values():
                    self._take_out(selection, pod)
        for selection in after.values():
            if selection.name not in before:
                for pod in self._pods.get(name, {}).values():
                    self._put_in(selection, pod)

    def set_pod(self, namespace: str, name: str, pod: Pod | None) -> None:
        """None: it is gone, or nothing that policies are about."""
        pods = self._pods.setdefault(namespace, {})
        before = pods.pop(name, None)
        if before == pod:
            if pod is not None:
                pods[name] = pod
            return
        if pod is not None:
            pods[name] = pod
        for selection in self._reaching.get(namespace, {}).values():
            if before is not None:
                self._take_out(selection, before)
            if pod is not None:
                self._put_in(selection, pod)

    def set_policy(self, key: Key, policy: Object | None) -> None:
        uses = self._uses.pop(key, [])
        if policy is None:
            self._policies.pop(key, None)
            self._rules.pop(key, None)
        else:
            self._policies[key] = policy
            rules, selections = _resolved(policy)
            self._rules[key] = rules
            self._uses[key] = [selection.name for selection in selections]
            for selection in selections:
                self._use(selection)
        self.changed["TrafficRules", key] = None
        for name in uses:
            self._release(name)

    @property
    def empty(self) -> bool:
        return not self._policies

    # --- selections

    def _use(self, wanted: Selection) -> None:
        known = self._selections.get(wanted.name)
        if known is not None:
            known.users += 1
            return
        wanted.users = 1
        self._selections[wanted.name] = wanted
        for namespace, labels in self._namespaces.items():
            if wanted.reaches(namespace, labels):
                self._reaching.setdefault(namespace, {})[wanted.name] = wanted
                for pod in self._pods.get(namespace, {}).values():
                    self._put_in(wanted, pod)

    def _release(self, name: str) -> None:
        selection = self._selections[name]
        selection.users -= 1
        if selection.users:
            return
        del self._selections[name]
        for reaching in self._reaching.values():
            reaching.pop(name, None)
        for piece in selection.pieces:
            self.changed["PodSet", Key(name, piece)] = None

    def _put_in(self, selection: Selection, pod: Pod) -> None:
        if selection.pods.matches(pod.labels):
            piece = _piece_of(pod.ip)
            members = selection.pieces.setdefault(piece, {})
            members[pod.ip] = pod
            self.changed["PodSet", Key(selection.name, piece)] = None

    def _take_out(self, selection: Selection, pod: Pod) -> None:
        piece = _piece_of(pod.ip)
        members = selection.pieces.get(piece, {})
        if members.get(pod.ip) is pod:  # else the address has already gone on to another one
            del members[pod.ip]
            if not members:
                del selection.pieces[piece]
            self.changed["PodSet", Key(selection.name, piece)] = None


def _piece_of(ip: str) -> str:
    return ip.rpartition(".")[0]


# --- policies


def _resolved(policy: Object) -> tuple[Object, list[Selection]]:
    """The policy as nodes are told it, see `agents.services.policy`, and the selections it speaks of."""
    meta, spec = policy["metadata"], policy["spec"]
    namespace = meta["namespace"]
    used: dict[str, Selection] = {}

    def use(space: str, spaces: Object, pods: Object, ports: bool) -> str:
        selection = selection_of(space, spaces, pods, ports)
        used[selection.name] = selection
        return selection.name

    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    ingress = spec.get("ingress") or [] if "Ingress" in types else None
    egress = spec.get("egress") or [] if "Egress" in types else None
    named = any(_by_name(rule) for rule in ingress or ())
    body: Object = {"pods": use(namespace, ALL, spec.get("podSelector") or ALL, named), "ingress": None}
    if ingress is not None:
        body["ingress"] = [
            _rule(rule, [use(*of, False) for of in _peers(rule, "from", namespace)], "from")
            for rule in ingress
        ]
    body["egress"] = None
    if egress is not None:
        body["egress"] = []
        for rule in egress:
            peers = [use(*of, _by_name(rule)) for of in _peers(rule, "to", namespace)]
            if _by_name(rule) and not rule.get("to"):
                use("", ALL, ALL, True)
            body["egress"].append(_rule(rule, peers, "to"))
    return _stamped("TrafficRules", Key(namespace, meta["name"]), meta.get("uid", ""), body), list(
        used.values()
    )


def selection_of(namespace: str, spaces: Object, pods: Object, ports: bool) -> Selection:
    text = orjson.dumps([namespace, spaces, pods, ports], option=orjson.OPT_SORT_KEYS)
    name = hashlib.blake2b(text, digest_size=8).hexdigest()
    return Selection(name, namespace, of_object_form(spaces), of_object_form(pods), ports)


def _peers(rule: Object, side: str, namespace: str) -> Iterator[tuple[str, Object, Object]]:
    for peer in rule.get(side) or ():
        if "ipBlock" in peer:
            continue
        spaces = peer.get("namespaceSelector")
        pods = peer.get("podSelector") or ALL
        yield (namespace, ALL, pods) if spaces is None else ("", spaces, pods)


def _by_name(rule: Object) -> bool:
    return any(isinstance(port.get("port"), str) for port in rule.get("ports") or ())


def _rule(rule: Object, sets: list[str], side: str) -> Object:
    blocks = [peer["ipBlock"] for peer in rule.get(side) or () if "ipBlock" in peer]
    return {
        "anyone": not rule.get(side),
        "sets": sets,
        "blocks": [[block["cidr"], block.get("except") or []] for block in blocks],
        "ports": [_port(port) for port in rule.get("ports") or ()],
    }


def _port(port: Object) -> Object:
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    if isinstance(number, str):
        return {"protocol": protocol, "first": 0, "last": 0, "name": number}
    first = number or 0
    return {"protocol": protocol, "first": first, "last": port.get("endPort") or first}


def _stamped(kind: str, key: Key, uid: str, body: Object) -> Object:
    version = hashlib.blake2b(orjson.dumps(body), digest_size=8).hexdigest()
    meta = {"namespace": key.namespace, "name": key.name, "uid": uid, "resourceVersion": version}
    return {"apiVersion": "kubemu.dev/v1", "kind": kind, "metadata": meta, **body}


# --- from objects


def pod_of(obj: Object) -> Pod | None:
    """What policies see of a pod; None while it has no address of its own."""
    status = obj.get("status") or {}
    ip = status.get("podIP")
    if not ip or status.get("phase") in ("Succeeded", "Failed") or obj["spec"].get("hostNetwork"):
        return None
    return Pod(ip, obj["metadata"].get("labels") or {}, dict(_ports_of(obj)))


def _ports_of(pod: Object) -> Iterable[tuple[str, int]]:
    for container in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())):
        for port in container.get("ports") or ():
            if port.get("name"):
                yield f"{port.get('protocol', 'TCP')}/{port['name']}", port["containerPort"]

"""`…/nodes/NAME/proxy/…`: what a kubelet's own HTTP server answers, put together from what is known here.

An agent has no HTTP server of its own. Pods come from the store, usage from the agents' heartbeats, logs over
the node gateway; so a node that does not report is as unreachable here as its kubelet would be. `NAME:10250`
and `https:NAME:10250` mean the same node.

Divergence: no cumulative CPU time (agents tell rates), no cAdvisor metrics, no /configz, and exec, attach and
port-forward only through the pods' own subresources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from cluster.api.errors import ServiceUnavailable
from cluster.api.kinds import NODE_METRICS, POD_METRICS
from cluster.api.objects import Key, Object
from cluster.api.quantity import parse
from cluster.server.http.exchange import Exchange
from cluster.server.http.podlog import send_log
from cluster.server.streams import NodeStreams
from cluster.server.verbs import Verbs

KUBELET_PORTS = ("", "10250")
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class NodeProxy:
    def __init__(self, verbs: Verbs, nodes: NodeStreams) -> None:
        self._verbs = verbs
        self._nodes = nodes

    async def answer(self, exchange: Exchange, node: Object, port: str, path: str) -> web.StreamResponse:
        """`path` begins with a slash. Raises ServiceUnavailable for a node that nobody hears of."""
        name = node["metadata"]["name"]
        if port not in KUBELET_PORTS:
            raise ServiceUnavailable(
                f"error trying to reach service: dial tcp {name}:{port}: connect: connection refused"
            )
        if not _reports(node):
            raise ServiceUnavailable(
                f"error trying to reach service: dial tcp {name}:10250: connect: no route to host"
            )
        parts = [unquote(part) for part in path.partition("?")[0].strip("/").split("/")]
        if parts[0] == "containerLogs" and len(parts) == 4:
            return await self._log(exchange, name, *parts[1:])
        made = self._document(name, node, parts)
        if made is None:
            return web.Response(status=404, body=b"404 page not found\n", headers={"Content-Type": _TEXT})
        if exchange.method not in ("GET", "HEAD"):
            return web.Response(status=405, body=b"405: Method Not Allowed", headers={"Content-Type": _TEXT})
        content_type, body = made
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _log(
        self, exchange: Exchange, node: str, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        pod = self._verbs.store.get("pods", Key(namespace, name))
        if pod is None or pod.object["spec"].get("nodeName") != node:
            why = f'pod "{name}" does not exist\n'.encode()
            return web.Response(status=404, body=why, headers={"Content-Type": _TEXT})
        exchange.query = {**exchange.query, "container": container}
        return await send_log(exchange, pod.object, self._nodes)

    def _document(self, name: str, node: Object, parts: Sequence[str]) -> tuple[str, bytes] | None:
        match parts:
            case ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]:
                return _TEXT, b"ok"
            case ["pods"]:
                return _JSON, orjson.dumps(_pod_list(self._pods(name)))
            case ["runningpods"]:
                running = [pod for pod in self._pods(name) if _phase(pod) == "Running"]
                return _JSON, orjson.dumps(_pod_list(running))
            case ["stats", "summary"]:
                return _JSON, orjson.dumps(self._summary(name, node))
            case ["metrics"]:
                return _METRICS, self._own_metrics(name).encode()
            case ["metrics", "resource"]:
                return _METRICS, self._resource_metrics(name).encode()
            case ["logs"]:
                return "text/html; charset=utf-8", b"<!doctype html>\n<pre>\n</pre>\n"
        return None

    def _pods(self, node: str) -> list[Object]:
        return [entry.object for entry in self._verbs.store.by_index("pods", "node", node)]

    def _usage(self, node: str) -> tuple[Object | None, list[tuple[Object, Object]]]:
        """The node's figures, and each pod with its own."""
        computed = self._verbs.environment.computed
        nodes, pods = computed.get(NODE_METRICS.qualified), computed.get(POD_METRICS.qualified)
        own = next((one for one in nodes("") if one["metadata"]["name"] == node), None) if nodes else None
        measured = {_key(one): one for one in pods("")} if pods else {}
        return own, [(pod, measured[_key(pod)]) for pod in self._pods(node) if _key(pod) in measured]

    def _summary(self, name: str, node: Object) -> Object:
        own, pods = self._usage(name)
        stats: Object = {"nodeName": name, "startTime": node["metadata"]["creationTimestamp"]}
        if own is not None:
            stats |= _figures(own["usage"], own["timestamp"])
        return {"node": stats, "pods": [_pod_stats(pod, usage) for pod, usage in pods]}

    def _own_metrics(self, name: str) -> str:
        pods = self._pods(name)
        running = [pod for pod in pods if _phase(pod) == "Running"]
        states = [
            state
            for pod in pods
            for status in pod["status"].get("containerStatuses") or ()
            for state in status.get("state") or {}
        ]
        lines = [*_head("kubelet_node_name", "The node's name. The count is always 1."),
                 f'kubelet_node_name{{node="{name}"}} 1',
                 *_head("kubelet_running_pods", "Number of pods that have a running pod sandbox"),
                 f"kubelet_running_pods {len(running)}",
                 *_head("kubelet_running_containers", "Number of containers currently running")]  # fmt: skip
        for shown, state in (("running", "running"), ("exited", "terminated"), ("created", "waiting")):
            lines.append(f'kubelet_running_containers{{container_state="{shown}"}} {states.count(state)}')
        return "\n".join(lines) + "\n"

    def _resource_metrics(self, name: str) -> str:
        own, pods = self._usage(name)
        lines = _head("node_memory_working_set_bytes", "Current working set of the node in bytes")
        if own is not None:
            lines.append(f"node_memory_working_set_bytes {_bytes(own['usage'])}")
        lines += _head("container_memory_working_set_bytes", "Current working set of the container in bytes")
        lines += [
            f"container_memory_working_set_bytes{{{_labels(pod, one['name'])}}} {_bytes(one['usage'])}"
            for pod, usage in pods
            for one in usage["containers"]
        ]
        lines += _head("pod_memory_working_set_bytes", "Current working set of the pod in bytes")
        lines += [
            f"pod_memory_working_set_bytes{{{_labels(pod)}}} {_total(_bytes, usage)}" for pod, usage in pods
        ]
        return "\n".join(lines) + "\n"


def _reports(node: Object) -> bool:
    """Whether the control plane hears of the node: its condition Ready is not Unknown."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] != "Unknown" for one in conditions)


def _phase(pod: Object) -> str:
    phase: str = (pod.get("status") or {}).get("phase", "")
    return phase


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _pod_list(pods: Sequence[Object]) -> Object:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}


def _pod_stats(pod: Object, usage: Object) -> Object:
    metadata, at = pod["metadata"], usage["timestamp"]
    memory = _total(_bytes, usage)
    return {
        "podRef": {name: metadata[name] for name in ("name", "namespace", "uid")},
        "startTime": pod["status"].get("startTime"),
        "containers": [{"name": one["name"], **_figures(one["usage"], at)} for one in usage["containers"]],
        "cpu": {"time": at, "usageNanoCores": _total(_nano_cores, usage)},
        "memory": {"time": at, "usageBytes": memory, "workingSetBytes": memory},
    }


def _total(measure: Callable[[Mapping[str, Any]], int], usage: Object) -> int:
    return sum(measure(container["usage"]) for container in usage["containers"])


def _figures(usage: Mapping[str, Any], at: str) -> Object:
    memory = _bytes(usage)
    return {
        "cpu": {"time": at, "usageNanoCores": _nano_cores(usage)},
        "memory": {"time": at, "usageBytes": memory, "workingSetBytes": memory},
    }


def _nano_cores(usage: Mapping[str, Any]) -> int:
    return parse(usage["cpu"]).nanos


def _bytes(usage: Mapping[str, Any]) -> int:
    return parse(usage["memory"]).value()


def _head(name: str, describe: str) -> list[str]:
    return [f"# HELP {name} {describe}", f"# TYPE {name} gauge"]


def _labels(pod: Object, container: str = "") -> str:
    namespace, name = _key(pod)
    first = f'container="{container}",' if container else ""
    return f'{first}namespace="{namespace}",pod="{name}"'

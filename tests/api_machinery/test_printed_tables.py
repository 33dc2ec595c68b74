"""Server-side tables: durations, pod status words, golden rows, printer columns."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from cluster.api import kinds, tables
from cluster.api.jsonpath import JsonPathError, compile_path
from cluster.api.resource import Resource

NOW: Final = datetime(2026, 1, 10, 12, 0, 0, tzinfo=UTC)
Json = dict[str, Any]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
        (183600, "2d3h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert tables.human_duration(seconds) == text


def meta(**more: Any) -> Json:
    return {"name": "a", "namespace": "d", "creationTimestamp": "2026-01-10T11:55:00Z", **more}


def pod(status: Json, spec: Json | None = None, **metadata: Any) -> Json:
    made = {"containers": [{"name": "c"}], **(spec or {})}
    return {"metadata": meta(**metadata), "spec": made, "status": status}


def container(ready: bool = False, restarts: int = 0, last: str = "", **state: Any) -> Json:
    made: Json = {"name": "c", "ready": ready, "restartCount": restarts, "state": state}
    if last:
        made["lastState"] = {"terminated": {"finishedAt": last}}
    return made


READY: Final = [{"type": "Ready", "status": "True"}]
INIT: Final = {"initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR: Final = {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}
PODS: Final[dict[str, tuple[Json, list[str]]]] = {
    "pending": (pod({"phase": "Pending"}), ["0/1", "Pending", "0"]),
    "gated": (
        pod({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
        }),
        ["0/1", "SchedulingGated", "0"],
    ),
    "creating": (
        pod({"phase": "Pending", "containerStatuses": [container(waiting={"reason": "ContainerCreating"})]}),
        ["0/1", "ContainerCreating", "0"],
    ),
    "running": (
        pod({"phase": "Running", "conditions": READY, "containerStatuses": [container(True, running={})]}),
        ["1/1", "Running", "0"],
    ),
    "restarted": (
        pod({
            "phase": "Running",
            "containerStatuses": [container(True, 3, "2026-01-10T11:55:00Z", running={})],
        }),
        ["1/1", "Running", "3 (5m ago)"],
    ),
    "back-off": (
        pod({
            "phase": "Running",
            "containerStatuses": [container(False, 1, waiting={"reason": "CrashLoopBackOff"})],
        }),
        ["0/1", "CrashLoopBackOff", "1"],
    ),
    "completed": (
        pod({
            "phase": "Succeeded",
            "containerStatuses": [container(terminated={"reason": "Completed", "exitCode": 0})],
        }),
        ["0/1", "Completed", "0"],
    ),
    "exit code": (
        pod({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 3})]}),
        ["0/1", "ExitCode:3", "0"],
    ),
    "signal": (
        pod({"phase": "Failed", "containerStatuses": [container(terminated={"signal": 9})]}),
        ["0/1", "Signal:9", "0"],
    ),
    "init progress": (
        pod(
            {"phase": "Pending", "initContainerStatuses": [container(terminated={"exitCode": 0}), container()]},
            INIT,
        ),
        ["0/1", "Init:1/2", "0"],
    ),
    "init failed": (
        pod(
            {"phase": "Pending", "initContainerStatuses": [container(False, 2, terminated={"exitCode": 1})]},
            INIT,
        ),
        ["0/1", "Init:ExitCode:1", "2"],
    ),
    "init back-off": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [container(waiting={"reason": "CrashLoopBackOff"})],
            },
            INIT,
        ),
        ["0/1", "Init:CrashLoopBackOff", "0"],
    ),
    "sidecar counts": (
        pod(
            {
                "phase": "Running",
                "conditions": READY,
                "initContainerStatuses": [
                    {**container(True, 2, running={}), "name": "s", "started": True}
                ],
                "containerStatuses": [container(True, 1, running={})],
            },
            SIDECAR,
        ),
        ["2/2", "Running", "3"],
    ),
    "terminating": (
        pod({"phase": "Running"}, deletionTimestamp="2026-01-10T11:59:00Z"), ["0/1", "Terminating", "0"],
    ),
    "deleted but ended": (
        pod({"phase": "Succeeded"}, deletionTimestamp="2026-01-10T11:59:00Z"), ["0/1", "Succeeded", "0"],
    ),
    "lost": (
        pod({"phase": "Running", "reason": "NodeLost"}, deletionTimestamp="2026-01-10T11:59:00Z"),
        ["0/1", "Unknown", "0"],
    ),
    "evicted": (pod({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]),
}  # fmt: skip


@pytest.mark.parametrize(("obj", "cells"), PODS.values(), ids=PODS.keys())
def test_the_word_for_a_pod(obj: Json, cells: list[str]) -> None:
    made = tables.row(tables.layout_of(kinds.PODS), obj, now=NOW)
    assert made["cells"][1:4] == cells
    assert made["cells"][4:] == ["5m", "<none>", "<none>", "<none>", "<none>"]


def test_ended_pods_are_marked() -> None:
    made = tables.row(tables.layout_of(kinds.PODS), pod({"phase": "Failed"}), now=NOW)
    assert made["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}
    ]


TEMPLATE: Final = {"spec": {"containers": [{"name": "c", "image": "x:1"}, {"name": "d", "image": "y"}]}}
SELECTOR: Final = {"matchLabels": {"app": "a"}}
ROWS: Final[dict[str, tuple[Resource, Json, list[Any]]]] = {
    "deployment": (
        kinds.DEPLOYMENTS,
        {
            "spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
        },
        ["a", "2/3", 3, 1, "5m", "c,d", "x:1,y", "app=a"],
    ),
    "daemon set": (
        kinds.DAEMON_SETS,
        {"spec": {"template": TEMPLATE, "selector": SELECTOR}, "status": {"desiredNumberScheduled": 2}},
        ["a", 2, 0, 0, 0, 0, "<none>", "5m", "c,d", "x:1,y", "app=a"],
    ),
    "job": (
        kinds.JOBS,
        {
            "spec": {"completions": 5, "template": TEMPLATE, "selector": SELECTOR},
            "status": {"succeeded": 2, "startTime": "2026-01-10T11:57:30Z"},
        },
        ["a", "Running", "2/5", "2m30s", "5m", "c,d", "x:1,y", "app=a"],
    ),
    "node port": (
        kinds.SERVICES,
        {
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.0.0.1",
                "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}],
                "selector": {"b": "2", "a": "1"},
            }
        },
        ["a", "NodePort", "10.0.0.1", "<none>", "80:30000/TCP", "5m", "a=1,b=2"],
    ),
    "load balancer": (
        kinds.SERVICES,
        {"spec": {"type": "LoadBalancer"}},
        ["a", "LoadBalancer", "<none>", "<pending>", "<none>", "5m", "<none>"],
    ),
    "node": (
        kinds.NODES,
        {
            "metadata": meta(labels={"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "x"}),
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "Unknown"}],
                "nodeInfo": {"kubeletVersion": "v1"},
                "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
            },
        },
        ["a", "NotReady,SchedulingDisabled", "worker,x", "5m", "v1", "1.2.3.4", "<none>", *["<unknown>"] * 3],
    ),
    "endpoints": (
        kinds.ENDPOINTS,
        {"subsets": [{"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}]},
        ["a", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "5m"],
    ),
    "event": (
        kinds.EVENTS,
        {
            "type": "Warning",
            "reason": "BackOff",
            "message": "x\n",
            "count": 4,
            "involvedObject": {"kind": "Pod", "name": "p"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-10T11:00:00Z",
            "lastTimestamp": "2026-01-10T11:59:00Z",
        },
        ["60s", "Warning", "BackOff", "pod/p", "", "kubelet, n", "x", "60m", 4, "a"],
    ),
    "quota": (
        kinds.RESOURCE_QUOTAS,
        {"status": {"hard": {"pods": "4", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "1"}}},
        ["a", "cpu: 0/1, pods: 1/4", "limits.cpu: 0/2", "5m"],
    ),
    "autoscaler": (
        kinds.HORIZONTAL_POD_AUTOSCALERS,
        {
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "w"},
                "maxReplicas": 5,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
            }
        },
        ["a", "Deployment/w", "cpu: <unknown>/80%", "<unset>", 5, 0, "5m"],
    ),
    "role": (kinds.ROLES, {}, ["a", "2026-01-10T11:55:00Z"]),
    "limit range": (kinds.LIMIT_RANGES, {"spec": {}}, ["a", "2026-01-10T11:55:00Z"]),
    "lease": (kinds.LEASES, {"spec": {"holderIdentity": "n"}}, ["a", "n", "5m"]),
    "config map": (kinds.CONFIG_MAPS, {"data": {"a": ""}, "binaryData": {"b": ""}}, ["a", 2, "5m"]),
    "claim": (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        {
            "spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        },
        ["a", "Bound", "v", "1Gi", "RWO", "s", "<unset>", "5m", "Filesystem"],
    ),
}


@pytest.mark.parametrize(("resource", "obj", "cells"), ROWS.values(), ids=ROWS.keys())
def test_rows(resource: Resource, obj: Json, cells: list[Any]) -> None:
    made = tables.table(tables.layout_of(resource), [{"metadata": meta(), **obj}], now=NOW)
    assert made["rows"][0]["cells"] == cells
    assert len(made["columnDefinitions"]) == len(cells)


@pytest.mark.parametrize("resource", kinds.BUILT_IN, ids=lambda r: r.qualified + r.version)
def test_every_kind_prints_a_bare_object(resource: Resource) -> None:
    """No printer needs more than what validation guarantees: a spec with its required parts."""
    obj = {
        "metadata": meta(),
        "spec": {"template": {"spec": {"containers": []}}, "scaleTargetRef": {}, "source": {}, "rules": []},
    }
    layout = tables.layout_of(resource)
    assert len(tables.row(layout, obj, now=NOW)["cells"]) == len(layout.columns)


def test_what_rows_carry() -> None:
    layout = tables.layout_of(kinds.LEASES)
    obj = {"metadata": meta(), "spec": {"holderIdentity": "n"}}
    assert tables.row(layout, obj, now=NOW, include="None")["object"] is None
    assert tables.row(layout, obj, now=NOW)["object"]["kind"] == "PartialObjectMetadata"
    assert tables.row(layout, obj, now=NOW, include="Object")["object"] is obj
    later = tables.table(layout, [obj], now=NOW, columns=False, revision="7", continue_token="c", remaining=2)
    assert later["columnDefinitions"] == []
    assert later["metadata"] == {"resourceVersion": "7", "continue": "c", "remainingItemCount": 2}


def test_printer_columns_of_custom_resources() -> None:
    custom = Resource(group="x.io", version="v1", kind="Foo", plural="foos", singular="foo", namespaced=True)
    columns: list[Json] = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1},
        {"name": "None", "type": "string", "jsonPath": ".spec.none"},
        {"name": "Map", "type": "string", "jsonPath": ".spec.m"},
    ]
    obj = {
        "metadata": meta(),
        "spec": {"size": 3, "m": {"a": 1}},
        "status": {"conditions": [{"type": "X"}, {"type": "Ready", "status": "True"}]},
    }
    layout = tables.layout_of(custom, columns)
    assert tables.row(layout, obj, now=NOW)["cells"] == ["a", 3, "True", "5m", None, '{"a":1}']
    assert tables.row(tables.layout_of(custom, []), obj, now=NOW)["cells"] == ["a", "5m"]


DOCUMENT: Final = {
    "a": {"b.c": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}, {"n": "z"}]},
    "n": "top",
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".a['b.c']", [1]),
        (r".a.b\.c", [1]),
        ("{.n}", ["top"]),
        ("$.n", ["top"]),
        (".a.list[0].n", ["x"]),
        (".a.list[-1].n", ["z"]),
        (".a.list[*].n", ["x", "y", "z"]),
        (".a.list[0:2].v", [1, 2]),
        (".a.list[0,2].n", ["x", "z"]),
        ('.a.list[?(@.n=="y")].v', [2]),
        (".a.list[?(@.v>1)].n", ["y"]),
        (".a.list[?(@.v)].n", ["x", "y"]),
        ("..v", [1, 2]),
        (".missing.x", []),
        (".a.list[9]", []),
    ],
)
def test_paths(path: str, values: list[Any]) -> None:
    assert compile_path(path)(DOCUMENT) == values


@pytest.mark.parametrize("path", [".a[", ".a[x]", ".a[?(@.b=c)]", "a b"])
def test_wrong_paths(path: str) -> None:
    with pytest.raises(JsonPathError):
        compile_path(path)

"""The kubelet's promises to containers, with commands that really run: on a live cluster, each runtime in turn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_cases import CASES, OBJECTS
from process_pods import Case, Cluster, Object, status_of, volume

from agents.process.isolation import unsharing

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not unsharing(), reason="this machine grants no namespaces"),
]
PAIRS = [(case, runtime) for case in CASES for runtime in case.runtimes]
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1; done"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With all cases' pods under way."""
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        cluster = Cluster(Path(folder), "--nodes", "2")
        try:
            cluster.apply(*OBJECTS, *(case.pod(runtime) for case, runtime in PAIRS))
            yield cluster
        finally:
            cluster.down()


@pytest.mark.parametrize(("case", "runtime"), PAIRS, ids=[f"{c.name}-{r}" for c, r in PAIRS])
def test_what_a_container_sees(cluster: Cluster, case: Case, runtime: str) -> None:
    name = f"{case.name}-{runtime}"
    pod = cluster.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    log = cluster.log(name)
    expected = case.expected if isinstance(case.expected, str) else case.expected(pod)
    assert log == expected
    assert pod["status"]["phase"] == case.phase


def running(name: str, script: str = FOREVER, **more: Object) -> Case:
    spec = {"restartPolicy": "Always", **more.pop("spec", {})}
    return Case(name=name, script=script, spec=spec, **more)


def test_messages_of_the_end(cluster: Cluster) -> None:
    """By file, by log where nothing was written and the container failed, by path; none for one that did well."""
    written = {"terminationMessagePath": "/dev/there"}
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    cases = {
        "from-file": (Case(name="from-file", script="printf DONE > /dev/there", container=written), "DONE"),
        "from-log": (Case(name="from-log", script="printf DONE; exit 1", container=fallback), "DONE"),
        "no-log": (Case(name="no-log", script="printf DONE", container=fallback), None),
        "as-user": (
            Case(
                name="as-user",
                script="printf DONE > /dev/there",
                container={**written, "securityContext": {"runAsUser": 65534}},
            ),
            "DONE",
        ),
    }
    cluster.apply(*(case.pod("process") for case, _ in cases.values()))
    for name, (_, message) in cases.items():
        pod = cluster.until(f"{name}-process", lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
        assert status_of(pod)["state"]["terminated"].get("message") == message, name


def test_commands_that_are_not_there(cluster: Cluster) -> None:
    case = Case(name="missing", container={"command": ["/no/such/program"]})
    cluster.apply(case.pod("process"))
    pod = cluster.until("missing-process", lambda p: p["status"]["phase"] == "Failed")
    ended = status_of(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert 'exec: "/no/such/program": stat /no/such/program: no such file or directory' in ended["message"]


def test_changes_reach_the_files(cluster: Cluster) -> None:
    """ConfigMap, labels and an optional Secret that comes later; what is mounted by subPath stays."""
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "live"}, "data": {"a": "old"}}
    mounts = [
        {"name": "c", "mountPath": "/c"},
        {"name": "s", "mountPath": "/s"},
        {"name": "d", "mountPath": "/d"},
        {"name": "c", "mountPath": "/one", "subPath": "a"},
    ]
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volumes = [
        {"name": "c", "configMap": {"name": "live"}},
        {"name": "s", "secret": {"secretName": "later", "optional": True}},
        {"name": "d", "downwardAPI": {"items": items}},
    ]
    case = running(
        "live", container={"volumeMounts": mounts}, spec={"volumes": volumes}, metadata={"labels": {"v": "1"}}
    )
    cluster.apply(source, case.pod("process"))
    name = "live-process"
    cluster.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "later"},
        "stringData": {"k": "came"},
    }
    cluster.apply({**source, "data": {"a": "new", "b": "more"}}, secret)
    cluster.kubectl("label", "pod", name, "v=2", "--overwrite")
    look = "until [ -e /s/k ] && [ -e /c/b ] && grep -q 2 /d/labels; do sleep 0.1; done; cat /c/a /c/b /s/k /d/labels /one"
    assert cluster.kubectl("exec", name, "--", "sh", "-c", look) == 'newmorecamev="2"old'


def test_hooks_run_before_the_end_and_after_the_start(cluster: Cluster) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /v/started"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /v/stopping; sleep 0.5"]}},
    }
    watcher = {
        "name": "d",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            "trap '' TERM; until [ -e /v/stopping ]; do sleep 0.1; done; cat /v/started /v/stopping; sleep 1",
        ],
        **volume(),
    }
    case = running(
        "hooks",
        container={"lifecycle": hooks, **volume()},
        spec={
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 20,
            "containers": [watcher],
        },
    )
    cluster.apply(case.pod("process"))
    cluster.kubectl("wait", "pod/hooks-process", "--for=condition=Ready", "--timeout=60s")
    cluster.kubectl("delete", "pod", "hooks-process", "--wait=false")
    assert cluster.until_said("hooks-process", "stopping", "d") == "started\nstopping\n"


def test_a_liveness_probe_restarts_and_a_readiness_probe_holds_back(cluster: Cluster) -> None:
    probe = {"exec": {"command": ["cat", "/tmp/health"]}, "periodSeconds": 1, "failureThreshold": 1}
    dying = running(
        "dying",
        script=f"touch /tmp/health; (sleep 2; rm /tmp/health) & {FOREVER}",
        container={"livenessProbe": probe},
    )
    never = running("never", container={"readinessProbe": probe})
    cluster.apply(dying.pod("process"), never.pod("process"))
    cluster.until("dying-process", lambda pod: status_of(pod)["restartCount"] >= 1)
    pod = cluster.pod("never-process")
    assert (status_of(pod)["ready"], status_of(pod)["restartCount"]) == (False, 0)
    assert "Readiness probe failed: cat: /tmp/health: No such file" in cluster.kubectl(
        "describe", "pod", "never-process"
    )


def test_a_deadline_that_is_set_later_ends_the_pod(cluster: Cluster) -> None:
    cluster.apply(running("deadline").pod("process"))
    cluster.until("deadline-process", lambda pod: pod["status"]["phase"] == "Running")
    cluster.kubectl("patch", "pod", "deadline-process", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')
    pod = cluster.until("deadline-process", lambda pod: pod["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


def test_a_container_that_takes_too_much_memory_is_killed(cluster: Cluster) -> None:
    eats = "head -c 300m /dev/zero | tail"
    case = Case(name="eats", script=eats, container={"resources": {"limits": {"memory": "48Mi"}}})
    cluster.apply(case.pod("process"))
    pod = cluster.until("eats-process", lambda pod: pod["status"]["phase"] == "Failed")
    ended = status_of(pod)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_running_pod_is_resized(cluster: Cluster) -> None:
    amounts = {"cpu": "100m", "memory": "32Mi"}
    case = running("resized", container={"resources": {"requests": amounts, "limits": amounts}})
    cluster.apply(case.pod("process"))
    cluster.until("resized-process", lambda pod: pod["status"]["phase"] == "Running")
    wanted = {"cpu": "200m", "memory": "64Mi"}
    change = {"spec": {"containers": [{"name": "c", "resources": {"requests": wanted, "limits": wanted}}]}}
    cluster.kubectl("patch", "pod", "resized-process", "--subresource", "resize", "-p", json.dumps(change))
    pod = cluster.until("resized-process", lambda pod: status_of(pod)["resources"]["limits"] == wanted)
    assert status_of(pod)["restartCount"] == 0
    assert status_of(pod)["allocatedResources"] == wanted


def test_what_the_status_tells(cluster: Cluster) -> None:
    case = running(
        "told",
        container={"securityContext": {"runAsUser": 1000}, **volume(readOnly=True)},
        spec={"volumes": [{"name": "v", "emptyDir": {}}]},
    )
    cluster.apply(case.pod("process"))
    cluster.kubectl("wait", "pod/told-process", "--for=condition=Ready", "--timeout=60s")
    pod = cluster.pod("told-process")
    status = pod["status"]
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]
    assert status["qosClass"] == "BestEffort"
    generation = pod["metadata"]["generation"]
    assert status["observedGeneration"] == generation
    assert {c["observedGeneration"] for c in status["conditions"]} == {generation}
    assert "PodReadyToStartContainers" in [c["type"] for c in status["conditions"]]
    container = status_of(pod)
    assert container["started"] is True
    assert container["user"]["linux"]["uid"] == 1000
    mount = next(m for m in container["volumeMounts"] if m["name"] == "v")
    assert mount == {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Disabled"}


def test_a_runtime_class_chooses_by_its_handler(cluster: Cluster) -> None:
    """A handler that is not configured makes no sandbox; the class's overhead is the pod's."""
    classes = [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name},
            "handler": handler,
            **more,
        }
        for name, handler, more in (
            ("real", "process", {"overhead": {"podFixed": {"cpu": "10m"}}}),
            ("odd", "not-configured", {}),
        )
    ]
    chosen = Case(name="chosen", script="test -e /.host && echo real", spec={"runtimeClassName": "real"})
    odd = Case(name="odd", spec={"runtimeClassName": "odd"})
    pods = [case.pod("process") for case in (chosen, odd)]
    for pod in pods:
        del pod["metadata"]["annotations"]
    cluster.apply(*classes)
    cluster.apply(*pods)
    done = cluster.until("chosen-process", lambda pod: pod["status"]["phase"] == "Succeeded")
    assert done["spec"]["overhead"] == {"cpu": "10m"}
    assert cluster.log("chosen-process") == "real\n"
    cluster.until_event("odd-process", "FailedCreatePodSandBox")
    assert cluster.pod("odd-process")["status"]["phase"] == "Pending"


def test_sidecars_end_after_the_others_and_in_reverse(cluster: Cluster) -> None:
    def loop(name: str) -> str:
        return f"trap 'echo {name} >> /v/ends; exit 0' TERM; while true; do sleep 0.2; done"

    sidecars = [
        {
            "name": name,
            "image": "busybox",
            "restartPolicy": "Always",
            "command": ["sh", "-c", loop(name)],
            **volume(),
        }
        for name in ("one", "two")
    ]
    case = running(
        "ordered",
        script=loop("main"),
        container=volume(),
        spec={
            "volumes": [
                {"name": "v", "hostPath": {"path": str(cluster.folder / "ends"), "type": "DirectoryOrCreate"}}
            ],
            "terminationGracePeriodSeconds": 30,
            "initContainers": sidecars,
        },
    )
    cluster.apply(case.pod("process"))
    cluster.kubectl("wait", "pod/ordered-process", "--for=condition=Ready", "--timeout=60s")
    cluster.kubectl("delete", "pod", "ordered-process")
    assert (cluster.folder / "ends" / "ends").read_text() == "main\ntwo\none\n"


def test_a_debugger_joins_and_its_output_is_kept(cluster: Cluster) -> None:
    cluster.apply(running("debugged").pod("process"))
    cluster.kubectl("wait", "pod/debugged-process", "--for=condition=Ready", "--timeout=60s")
    cluster.kubectl("debug", "debugged-process", "--image=busybox", "-c", "dbg", "--", "echo", "looked")
    cluster.until_said("debugged-process", "looked", "dbg")
    cluster.until(
        "debugged-process",
        lambda pod: pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0,
    )


def test_pods_that_the_node_refuses_have_failed(cluster: Cluster) -> None:
    """Bound past the scheduler: by size, by selector, by a sysctl that is not safe."""
    refused = {
        "big": ({}, {"resources": {"requests": {"cpu": "100"}}}, "OutOfcpu"),
        "elsewhere": ({"nodeSelector": {"no": "such"}}, {}, "NodeAffinity"),
        "unsafe": (
            {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
            {},
            "SysctlForbidden",
        ),
    }
    for name, (spec, container, _) in refused.items():
        cluster.apply(
            Case(name=name, spec={"nodeName": "node-1", **spec}, container=container).pod("process")
        )
    for name, (_, _, reason) in refused.items():
        pod = cluster.until(f"{name}-process", lambda pod: pod["status"]["phase"] == "Failed")
        assert pod["status"]["reason"] == reason
        assert pod["status"]["message"].startswith("Pod was rejected: ")

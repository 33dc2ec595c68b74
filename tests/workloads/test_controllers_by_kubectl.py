"""The main path of each controller as a person walks it: one cluster of real processes, and kubectl.

Each test works in a namespace of its own and waits for states, never for times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from real_cluster import RealCluster

pytestmark = pytest.mark.services

POD = "containers: [{name: c, image: nginx}]"


class Space:
    """One namespace of the cluster."""

    def __init__(self, real: RealCluster, name: str) -> None:
        self.real, self.name = real, name
        self.kubectl("create", "namespace", name)

    def kubectl(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        return self.real.kubectl("-n", self.name, *arguments, stdin=stdin, code=code)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "-f", "-", stdin=manifest)

    def wait(self, condition: str, *what: str) -> None:
        self.real.wait(condition, "-n", self.name, *what)

    def rolled_out(self, what: str) -> None:
        self.kubectl("rollout", "status", what, "--timeout=120s")

    def pods(self, label: str = "") -> list[str]:
        return self.real.names("pods", "-n", self.name, *(["-l", label] if label else []))

    def value(self, what: str, path: str) -> str:
        return self.kubectl("get", what, "-o", f"jsonpath={{{path}}}")

    def expect(self, what: str, path: str, wanted: str) -> None:
        found = lambda: self.value(what, path)  # noqa: E731
        self.real.expect(lambda: found() == wanted, f"{what} {path}: {wanted!r} never came, but {found()!r}")


@pytest.fixture
def space(real: RealCluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    made = Space(real, request.node.name.replace("_", "-")[:50].strip("-"))
    yield made
    real.kubectl("delete", "namespace", made.name, "--wait=false")


def _template(app: str, spec: str = POD) -> str:
    return (
        f"selector: {{matchLabels: {{app: {app}}}}}\n"
        f"  template:\n    metadata: {{labels: {{app: {app}}}}}\n    spec: {{{spec}}}"
    )


def test_deployment_rolls_pauses_and_undoes(space: Space) -> None:
    """Deployment and ReplicaSet: scaled, rolled, taken back, paused, and left behind as orphans."""
    space.kubectl("create", "deployment", "web", "--image=nginx:1.27", "--replicas=2")
    space.rolled_out("deployment/web")
    space.kubectl("set", "image", "deployment/web", "nginx=nginx:1.28")
    space.rolled_out("deployment/web")
    assert space.kubectl("rollout", "history", "deployment/web").count("<none>") == 2
    space.kubectl("rollout", "undo", "deployment/web")
    space.rolled_out("deployment/web")
    assert space.value("deployment/web", ".spec.template.spec.containers[0].image") == "nginx:1.27"
    space.kubectl("rollout", "pause", "deployment/web")
    space.kubectl("scale", "deployment", "web", "--replicas=3")
    space.wait("jsonpath={.status.readyReplicas}=3", "deployment/web")
    assert "ScalingReplicaSet" in space.kubectl("describe", "deployment", "web")
    space.kubectl("delete", "deployment", "web", "--cascade=orphan")
    assert len(space.pods("app=web")) == 3


def test_replication_controller_meets_its_quota(space: Space) -> None:
    """ReplicationController, quota controller: what exceeds the quota is a condition until there is room."""
    space.kubectl("create", "quota", "two", "--hard=pods=2")
    space.wait("jsonpath={.status.hard.pods}=2", "quota/two")
    space.apply(
        "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {replicas: 3, "
        "selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {" + POD + "}}}}"
    )
    space.wait("jsonpath={.status.conditions[0].type}=ReplicaFailure", "rc/rc")
    assert "exceeded quota: two" in space.value("rc/rc", ".status.conditions[0].message")
    space.kubectl("scale", "rc", "rc", "--replicas=1")
    space.expect("quota/two", ".status.used.pods", "1")
    space.wait("jsonpath={.status.readyReplicas}=1", "rc/rc")


def test_stateful_set_keeps_names_and_claims(space: Space) -> None:
    claims = (
        "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], "
        "resources: {requests: {storage: 1Gi}}}}]"
    )
    space.apply(
        f"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  replicas: 2\n"
        f"  serviceName: db\n  {_template('db')}\n  {claims}"
    )
    space.rolled_out("statefulset/db")
    assert space.pods("app=db") == ["db-0", "db-1"]
    before = space.value("pvc/data-db-1", ".spec.volumeName")
    space.kubectl("delete", "pod", "db-1")
    space.wait("condition=Ready", "pod/db-1")
    assert space.value("pvc/data-db-1", ".spec.volumeName") == before
    space.kubectl("scale", "statefulset", "db", "--replicas=1")
    space.wait("delete", "pod/db-1")
    assert space.value("pvc/data-db-1", ".status.phase") == "Bound"
    space.kubectl("rollout", "restart", "statefulset/db")
    space.rolled_out("statefulset/db")


def test_daemon_set_is_on_every_node_it_may(space: Space) -> None:
    """DaemonSet, taint eviction, taints from kubectl: a pod that does not tolerate leaves, the daemon stays."""
    tolerant = POD + ", tolerations: [{operator: Exists}]"
    space.apply(
        f"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  {_template('agent', tolerant)}"
    )
    space.rolled_out("daemonset/agent")
    space.apply("{apiVersion: v1, kind: Pod, metadata: {name: guest}, spec: {nodeName: node-2, " + POD + "}}")
    space.wait("condition=Ready", "pod/guest")
    space.kubectl("taint", "node", "node-2", "example.com/out=now:NoExecute")
    try:
        space.wait("delete", "pod/guest")
        assert len(space.pods("app=agent")) == 2
    finally:
        space.kubectl("taint", "node", "node-2", "example.com/out-")
    space.kubectl("set", "image", "daemonset/agent", "c=nginx:1.28")
    space.rolled_out("daemonset/agent")
    space.kubectl("rollout", "undo", "daemonset/agent")
    space.rolled_out("daemonset/agent")
    assert len(space.real.names("controllerrevisions", "-n", space.name)) == 2


BRIEF = "restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh, -c, 'echo done']}]"


def test_jobs_by_hand_by_index_and_by_the_clock(space: Space) -> None:
    """Job, CronJob, TTL after finished."""
    space.apply(
        "{apiVersion: batch/v1, kind: Job, metadata: {name: each}, spec: {completionMode: Indexed, "
        "completions: 3, parallelism: 2, template: {spec: {" + BRIEF + "}}}}"
    )
    space.wait("condition=Complete", "job/each")
    assert space.value("job/each", ".status.completedIndexes") == "0-2"
    space.apply(
        "{apiVersion: batch/v1, kind: Job, metadata: {name: brief}, spec: {ttlSecondsAfterFinished: 0, "
        "template: {spec: {" + BRIEF + "}}}}"
    )
    space.wait("delete", "job/brief")
    space.kubectl("create", "cronjob", "tick", "--image=busybox", "--schedule=0 0 1 1 *", "--", "true")
    space.kubectl("create", "job", "now", "--from=cronjob/tick")
    space.wait("condition=Complete", "job/now")
    assert space.value("job/now", ".metadata.ownerReferences[0].kind") == "CronJob"
    space.kubectl("delete", "cronjob", "tick")
    space.wait("delete", "job/now")


def test_services_have_endpoints_and_addresses(space: Space) -> None:
    """Endpoints, EndpointSlices, mirroring, load balancers, ingresses, IPAddresses."""
    space.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2", "--port=80")
    space.rolled_out("deployment/web")
    space.kubectl("expose", "deployment", "web", "--type=LoadBalancer", "--port=80")
    space.wait("jsonpath={.status.loadBalancer.ingress[0].ip}", "service/web")
    pods = sorted(space.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.podIP}").split())
    piece = "endpointslices -l kubernetes.io/service-name=web"

    def ready() -> list[str]:
        found = space.real.kubectl(
            "-n", space.name, "get", *piece.split(), "-o", "jsonpath={.items[*].endpoints[*].addresses[0]}"
        )
        return sorted(found.split())

    space.real.expect(lambda: ready() == pods, "slices name the pods")
    space.expect("endpoints/web", ".subsets[0].addresses[*].ip", " ".join(pods))
    address = space.value("service/web", ".spec.clusterIP")
    space.expect(f"ipaddress/{address}", ".spec.parentRef.name", "web")
    space.kubectl("create", "service", "externalname", "far", "--external-name=example.com")
    space.kubectl("create", "ingress", "front", "--class=kubemu", "--rule=a.example/*=web:80")
    space.wait("jsonpath={.status.loadBalancer.ingress[0].ip}", "ingress/front")
    space.kubectl("scale", "deployment", "web", "--replicas=0")
    space.real.expect(lambda: ready() == [], "no endpoint is left")
    space.kubectl("delete", "service", "web")
    space.real.expect(lambda: address not in space.real.names("ipaddresses"), "the address is free")


def test_a_budget_holds_back_evictions(space: Space) -> None:
    """PodDisruptionBudget and drain: what may not go stays, and kubectl says why."""
    space.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    space.rolled_out("deployment/web")
    space.kubectl("create", "poddisruptionbudget", "all", "--selector=app=web", "--min-available=2")
    space.wait("jsonpath={.status.currentHealthy}=2", "pdb/all")
    node = space.kubectl("get", "pods", "-o", "jsonpath={.items[0].spec.nodeName}")
    try:
        told = space.real.kubectl(
            "drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=3s",
            "--pod-selector=app=web", code=1,
        )  # fmt: skip
        assert "would violate the pod's disruption budget" in told
        assert len(space.pods("app=web")) == 2
        space.kubectl("patch", "pdb", "all", "-p", '{"spec":{"minAvailable":1}}')
        space.wait("jsonpath={.status.disruptionsAllowed}=1", "pdb/all")
        space.real.kubectl("drain", node, "--force", "--timeout=120s", "--pod-selector=app=web")
    finally:
        space.real.kubectl("uncordon", node)
    space.rolled_out("deployment/web")


def test_a_namespace_is_furnished_and_emptied(space: Space) -> None:
    """Service accounts, root CA, namespace controller, garbage collector, role aggregation."""
    space.real.expect(
        lambda: "default" in space.real.names("serviceaccounts", "-n", space.name), "a default account"
    )
    space.wait("jsonpath={.data.ca\\.crt}", "configmap/kube-root-ca.crt")
    space.kubectl("delete", "serviceaccount", "default")
    space.wait("create", "serviceaccount/default")
    space.kubectl("create", "deployment", "web", "--image=nginx")
    space.rolled_out("deployment/web")
    space.kubectl("delete", "deployment", "web", "--cascade=foreground")
    assert space.pods() == []
    label = "aggregate-to-kubectl-test=true"
    space.kubectl("create", "clusterrole", "kubectl-sum", f"--aggregation-rule={label}")
    space.kubectl("create", "clusterrole", "kubectl-part", "--verb=get", "--resource=pods")
    try:
        space.kubectl("label", "clusterrole", "kubectl-part", label)
        space.expect("clusterrole/kubectl-sum", ".rules[0].resources[0]", "pods")
    finally:
        space.kubectl("delete", "clusterrole", "kubectl-sum", "kubectl-part")
    space.real.kubectl("delete", "namespace", space.name, "--timeout=120s")
    space.real.kubectl("create", "namespace", space.name)


def test_volumes_are_attached_where_they_are_used(space: Space) -> None:
    """Attaching, ephemeral volumes, protection; what nodes are given: ranges, CSINodes, notes."""
    space.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: attached}, "
        "provisioner: kubemu.dev/emulated, parameters: {csi: 'true'}, volumeBindingMode: WaitForFirstConsumer}"
    )
    template = "{spec: {storageClassName: attached, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
    space.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: nginx, "
        "volumeMounts: [{name: scratch, mountPath: /scratch}]}], volumes: [{name: scratch, ephemeral: "
        "{volumeClaimTemplate: " + template + "}}]}}"
    )
    space.wait("condition=Ready", "pod/p")
    node, volume = space.value("pod/p", ".spec.nodeName"), space.value("pvc/p-scratch", ".spec.volumeName")
    attached = "{.items[*].spec.source.persistentVolumeName}"
    space.real.expect(
        lambda: volume in space.kubectl("get", "volumeattachments", "-o", f"jsonpath={attached}"), "attached"
    )
    space.real.expect(
        lambda: volume in space.value(f"node/{node}", ".status.volumesAttached[*].name"), "the node says so"
    )
    space.real.expect(
        lambda: "SuccessfulAttachVolume" in space.kubectl("describe", "pod", "p"), "the pod is told"
    )
    space.kubectl("delete", "pvc", "p-scratch", "--wait=false")
    assert space.value("pvc/p-scratch", ".metadata.deletionTimestamp")
    space.kubectl("delete", "pod", "p")
    space.wait("delete", "pvc/p-scratch")
    space.wait("delete", f"pv/{volume}")
    assert sorted(space.real.names("csinodes")) == ["node-1", "node-2"]
    space.expect(f"node/{node}", ".metadata.annotations.node\\.alpha\\.kubernetes\\.io/ttl", "0")
    assert space.value(f"node/{node}", ".spec.podCIDR").endswith("/24")
    space.kubectl("delete", "storageclass", "attached")


def _ago(**since: float) -> str:
    return (datetime.now(UTC) - timedelta(**since)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_mark_of_an_eviction_that_never_came_is_taken_back(space: Space) -> None:
    """Two minutes after it was made; a younger mark stays."""
    for name, marked in (("old", _ago(minutes=3)), ("young", _ago(seconds=1))):
        space.apply(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{{POD}}}\n")
        space.wait("condition=Ready", f"pod/{name}")
        mark = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        patch = {"status": {"conditions": [mark | {"lastTransitionTime": marked}]}}
        space.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(patch))
    mark_of = '.status.conditions[?(@.type=="DisruptionTarget")].status'
    space.expect("pod/old", mark_of, "False")
    assert space.value("pod/young", mark_of) == "True"


def test_endpoints_by_hand_are_mirrored(space: Space) -> None:
    space.apply("apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 5432}]}\n")
    space.apply(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db}\n"
        "subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 5432}]}]\n"
    )
    slices = ["endpointslices", "-l", "kubernetes.io/service-name=db"]
    path = "-o=jsonpath={.items[*].endpoints[*].addresses[*]}"
    mirrored = lambda: space.kubectl("get", *slices, path)  # noqa: E731
    space.real.expect(lambda: mirrored() == "192.0.2.7", "there is no mirror")
    patch = {"subsets": [{"addresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 5432}]}]}
    space.kubectl("patch", "endpoints", "db", "--type=merge", "-p", json.dumps(patch))
    space.real.expect(lambda: mirrored() == "192.0.2.8", "the mirror did not follow")
    space.kubectl("delete", "endpoints", "db")
    space.real.expect(lambda: not mirrored(), "the mirror stayed")

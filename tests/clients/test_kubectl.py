"""The daily vocabulary of kubectl, in the versions of the development dependencies and of the system."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from live_cluster import KUBECTL, Cluster

pytestmark = pytest.mark.services

SYSTEM = shutil.which("kubectl", path="/usr/local/bin:/usr/bin:/bin") or ""
VERSIONS = [
    pytest.param(KUBECTL, id="newest"),
    pytest.param(SYSTEM, id="system", marks=pytest.mark.skipif(not SYSTEM, reason="no kubectl installed")),
]
Kubectl = Callable[..., str]
"""Runs a command line in the test's namespace; its standard output."""

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: m, labels: {app: m}}
spec:
  replicas: 1
  selector: {matchLabels: {app: m}}
  template:
    metadata: {labels: {app: m}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: m, labels: {app: m}}
spec: {selector: {app: m}, ports: [{port: 80}]}
"""


@pytest.fixture(params=VERSIONS)
def binary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kubectl(cluster: Cluster, space: str, binary: str) -> Kubectl:
    def run(line: str, *more: str, stdin: str = "") -> str:
        return cluster.kubectl("-n", space, *line.split(), *more, binary=binary, stdin=stdin)

    return run


def test_workloads(kubectl: Kubectl) -> None:
    """A Deployment from creation over roll-outs to orphaned leftovers."""
    kubectl("create deployment web --image=nginx:1.25 --replicas=3 --port=80")
    kubectl("rollout status deploy/web --timeout=20s")
    assert re.search(r"^web +3/3 +3 +3 ", kubectl("get deploy web -o wide"), re.MULTILINE)
    kubectl("expose deployment web --port=8080 --target-port=80")
    kubectl("scale deploy/web --replicas=2")
    kubectl("set image deploy/web nginx=nginx:1.26")
    kubectl("rollout status deploy/web --timeout=20s")
    kubectl("rollout undo deploy/web")
    kubectl("rollout restart deploy/web")
    kubectl("rollout status deploy/web --timeout=20s")
    assert kubectl("rollout history deploy/web").split()[-4:] == ["3", "<none>", "4", "<none>"]
    kubectl("rollout pause deploy/web")
    kubectl("set env deploy/web A=B")
    kubectl("set resources deploy/web --limits=cpu=200m,memory=64Mi --requests=cpu=1m")
    kubectl("set serviceaccount deploy/web default")
    kubectl("rollout resume deploy/web")
    kubectl("rollout status deploy/web --timeout=20s")
    kubectl("autoscale deploy/web --min=2 --max=4 --cpu-percent=50")
    kubectl("label deploy/web tier=front")
    kubectl("annotate deploy/web why=test")
    kubectl("patch deploy/web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":3}]')
    kubectl("wait --for=jsonpath={.status.readyReplicas}=3 deploy/web --timeout=20s")
    kubectl("patch deploy/web --subresource=scale --type=merge", "-p", '{"spec":{"replicas":2}}')
    kubectl("wait --for=condition=Available deploy/web --timeout=20s")
    assert kubectl("get deploy -l tier=front -o name") == "deployment.apps/web\n"
    columns = kubectl(
        "get deploy -o custom-columns=N:.metadata.name,W:.metadata.annotations.why --no-headers"
    )
    assert columns.split() == ["web", "test"]
    assert "Welcome to nginx" in kubectl(
        "get --raw", f"/api/v1/namespaces/{_space(kubectl)}/services/web/proxy/"
    )
    described = kubectl("describe deploy web")
    assert "NewReplicaSetAvailable" in described
    assert "ScalingReplicaSet" in described
    kubectl("delete hpa web")
    kubectl("delete deploy web --cascade=orphan")
    assert kubectl("get rs -o name")
    kubectl("delete rs --all --cascade=foreground --timeout=20s")
    assert "No resources found" not in kubectl("get svc")


def _space(kubectl: Kubectl) -> str:
    return kubectl("get sa default -o jsonpath={.metadata.namespace}")


def test_manifests(kubectl: Kubectl, cluster: Cluster, space: str, binary: str, tmp_path: Path) -> None:
    """apply, diff, server-side apply with a conflict, replace, prune, delete from a file."""
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST)
    command = ("-n", space, "diff", "-f", str(file))
    assert cluster.run(*command, binary=binary).returncode == 1
    assert kubectl("apply -f", str(file)) == "deployment.apps/m created\nservice/m created\n"
    assert kubectl("apply -f", str(file)) == "deployment.apps/m unchanged\nservice/m unchanged\n"
    assert cluster.run(*command, binary=binary).returncode == 0
    kubectl("apply view-last-applied deploy/m")
    file.write_text(MANIFEST.split("---")[0])
    assert "service/m pruned" in kubectl("apply --prune -l app=m -f", str(file))
    file.write_text(MANIFEST)
    kubectl("apply --server-side --field-manager=team-a -f", str(file))
    file.write_text(MANIFEST.replace("replicas: 1", "replicas: 2"))
    conflict = cluster.run(
        "-n", space, "apply", "--server-side", "--field-manager=team-b", "-f", str(file), binary=binary
    )
    assert conflict.returncode == 1
    assert 'conflict with "team-a"' in conflict.stderr
    kubectl("apply --server-side --force-conflicts --field-manager=team-b -f", str(file))
    kubectl("replace -f", str(file))
    assert "deployment.apps" in kubectl(
        "create --dry-run=server -o name -f -", stdin=MANIFEST.replace("name: m", "name: other")
    )
    kubectl("delete --wait=false -f", str(file))


def test_pods(kubectl: Kubectl, cluster: Cluster, space: str, binary: str, tmp_path: Path) -> None:
    """run, logs, exec, cp, attach, debug, port-forward, top."""
    kubectl("run web --image=nginx --port=80")
    kubectl("wait --for=condition=Ready pod/web --timeout=20s")
    assert kubectl("exec web -- echo hi") == "hi\n"
    failed = cluster.run("-n", space, "exec", "web", "--", "sh", "-c", "exit 7", binary=binary)
    assert failed.returncode == 7
    assert kubectl("logs web --tail=1")
    (tmp_path / "f").write_text("hello")
    kubectl("cp", str(tmp_path / "f"), "web:/tmp/f")
    kubectl("cp", "web:/tmp/f", str(tmp_path / "g"))
    assert kubectl("run once --image=busybox -i --rm --restart=Never --command -- echo hello").startswith(
        "hello\n"
    )
    kubectl("debug web --image=busybox --container=look", "--", "sleep", "60")
    assert kubectl("get pod web -o jsonpath={.spec.ephemeralContainers[0].name}") == "look"
    kubectl("run done --image=busybox --restart=Never --command -- echo bye")
    kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/done --timeout=20s")
    assert kubectl("logs done") == "bye\n"
    _forward(cluster, space, binary)
    for _ in range(100):
        if "web" in cluster.run("-n", space, "top", "pods", binary=binary).stdout:
            break
        time.sleep(0.1)
    assert re.search(r"^web +\d+m +\d+Mi", kubectl("top pods"), re.MULTILINE)
    assert re.search(r"^node-1 +\d+m ", kubectl("top nodes"), re.MULTILINE)
    kubectl("delete pod web done --grace-period=0 --force")


def _forward(cluster: Cluster, space: str, binary: str) -> None:
    """An HTTP request through port-forward gets the pod's answer."""
    command = [binary, "--kubeconfig", str(cluster.kubeconfig), "-n", space, "port-forward", "pod/web", ":80"]
    forward = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{found[1]}/", timeout=10) as answer:
            assert b"Welcome to nginx" in answer.read()
    finally:
        forward.terminate()
        forward.communicate()


def test_attach(kubectl: Kubectl, cluster: Cluster, space: str, binary: str) -> None:
    """What a container prints after the attachment comes through, until the client leaves."""
    kubectl("run web --image=nginx --port=80")
    kubectl("wait --for=condition=Ready pod/web --timeout=20s")
    command = [binary, "--kubeconfig", str(cluster.kubeconfig), "-n", space, "attach", "web"]
    attached = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        assert attached.poll() is None
        assert attached.stdout is not None
        kubectl("get --raw", f"/api/v1/namespaces/{space}/pods/web/proxy/")
        assert "GET / HTTP/1.1" in attached.stdout.readline()
    finally:
        attached.kill()
        attached.communicate()


def test_nodes(kubectl: Kubectl, cluster: Cluster) -> None:
    """taint, label, cordon, drain, uncordon."""
    kubectl("create deployment web --image=nginx --replicas=2")
    kubectl("rollout status deploy/web --timeout=20s")
    kubectl("taint node node-2 a=b:PreferNoSchedule")
    kubectl("taint node node-2 a=b:PreferNoSchedule-")
    kubectl("label node node-2 disk=ssd --overwrite")
    try:
        kubectl("cordon node-2")
        assert "SchedulingDisabled" in kubectl("get node node-2")
        space = _space(kubectl)
        kubectl("drain node-2 --ignore-daemonsets --force --delete-emptydir-data --timeout=30s")
        kubectl("rollout status deploy/web --timeout=20s")
        nodes = kubectl("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}")
        assert set(nodes.split()) == {"node-1"}, space
    finally:
        kubectl("uncordon node-2")


CREATED = (
    "configmap cm --from-literal=a=b",
    "secret generic s --from-literal=a=b",
    "job j --image=busybox -- echo x",
    "cronjob cj --image=busybox --schedule=0/5,0,*,*,* -- echo x",
    "role r --verb=get --resource=pods",
    "rolebinding rb --role=r --serviceaccount=default:default",
    "serviceaccount robot",
    "quota q --hard=pods=50",
    "pdb p --selector=app=web --min-available=1",
    "ingress ing --rule=foo.com/=web:80",
    "service clusterip csvc --tcp=80:80",
    "service nodeport nsvc --tcp=80:80",
    "service loadbalancer lsvc --tcp=80:80",
    "service externalname esvc --external-name=example.com",
)


def test_every_create_command_and_description(kubectl: Kubectl) -> None:
    for line in CREATED:
        words = line.replace("0/5,0,*,*,*", "@").split()
        kubectl(
            "create",
            *("*/5 * * * *" if word == "@" else word.replace("=@", "=*/5 * * * *") for word in words),
        )
    kubectl("create job j2 --from=cronjob/cj")
    kubectl("wait --for=condition=Complete job/j --timeout=20s")
    assert kubectl("create token robot").count(".") == 2
    kinds = "node,ns,pod,svc,endpointslices,job,cronjob,ing,role,rolebinding,sa,quota,pdb,secret,cm,events,clusterrole,pc"
    for kind in kinds.split(","):
        described = kubectl(f"describe {kind}")
        assert "Name:" in described, kind
    assert "Completed" in kubectl("describe job j")
    assert kubectl("get all")
    assert kubectl("events")
    assert kubectl("get events --sort-by=.lastTimestamp")
    watched = kubectl("get pods -w --request-timeout=1s --output-watch-events")
    assert "ADDED" in watched


def test_the_cluster_tells_about_itself(kubectl: Kubectl) -> None:
    assert "Server Version: v1.37" in kubectl("version")
    assert "is running at" in kubectl("cluster-info")
    assert "apps/v1" in kubectl("api-versions").split()
    assert re.search(
        r"^deployments +deploy +apps/v1 +true +Deployment", kubectl("api-resources"), re.MULTILINE
    )
    assert "containers" in kubectl("explain pod.spec")
    assert "image" in kubectl("explain deployment.spec.template.spec.containers")
    assert kubectl("get --raw /readyz") == "ok"
    assert "readyz check passed" in kubectl("get --raw /readyz?verbose")


def test_access(kubectl: Kubectl, space: str) -> None:
    """Who am I, what may I, what may others; certificates on request."""
    assert "kubernetes-admin" in kubectl("auth whoami")
    assert kubectl("auth can-i create pods") == "yes\n"
    assert "*.*" in kubectl("auth can-i --list")
    kubectl("create role r --verb=get,list --resource=pods")
    kubectl("create rolebinding rb --role=r --user=jane")
    assert kubectl("auth can-i list pods --as=jane") == "yes\n"
    listed = kubectl("auth can-i --list --as=jane")
    assert re.search(r"^pods +\[\] +\[\] +\[get list\]", listed, re.MULTILINE)
    assert kubectl("get pods --as=jane") == ""


def test_certificates(kubectl: Kubectl, cluster: Cluster, binary: str, space: str, tmp_path: Path) -> None:
    """A key, a signing request, its approval, and a client that gets in with the certificate."""
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=jo/O=dev",
         "-keyout", tmp_path / "key", "-out", tmp_path / "csr"],
        check=True, capture_output=True,
    )  # fmt: skip
    request = base64.b64encode((tmp_path / "csr").read_bytes()).decode()
    manifest = f"""
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: jo-{space}}}
spec: {{request: {request}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}
"""
    kubectl("apply -f -", stdin=manifest)
    kubectl(f"certificate approve jo-{space}")
    kubectl("wait --for=jsonpath={.status.certificate}", f"csr/jo-{space}", "--timeout=10s")
    issued = kubectl(f"get csr jo-{space}", "-o", "jsonpath={.status.certificate}")
    (tmp_path / "crt").write_bytes(base64.b64decode(issued))
    own = tmp_path / "kubeconfig"
    own.write_bytes(cluster.kubeconfig.read_bytes())
    jo = Cluster(own, tmp_path)
    jo.kubectl(
        "config", "set-credentials", "jo",
        f"--client-certificate={tmp_path / 'crt'}", f"--client-key={tmp_path / 'key'}",
    )  # fmt: skip
    who = jo.kubectl(
        "--user=jo", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", binary=binary
    )
    assert who == "jo"
    kubectl(f"delete csr jo-{space}")

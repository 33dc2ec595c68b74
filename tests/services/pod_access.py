"""What a user does with a pod, by kubectl: the same promises for clusters of processes and in containers."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
WITHIN_S = 60.0
Run = Callable[..., str]
"""Runs a command to its end; an AssertionError where it fails."""

CLIENT = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: %(name)s}}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sleep, "100000"]}]
---
"""
TICKER = """
apiVersion: v1
kind: Pod
metadata: {name: ticker}
spec:
  containers:
    - name: c
      image: busybox
      command: [sh, -c, "echo begin; sleep 1; echo end; exit 1"]
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: steady}}, policyTypes: [Ingress], ingress: %s}
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /$2}}
spec:
  tls: [{hosts: [site.example.com], secretName: site-tls}]
  rules:
    - host: site.example.com
      http:
        paths:
          - path: /app(/|$)(.*)
            pathType: ImplementationSpecific
            backend: {service: {name: steady, port: {name: http}}}
"""


def expect_ports_forwarded(environment: Mapping[str, str], target: str, text: str) -> None:
    """An HTTP request through `kubectl port-forward` gets the pod's answer."""
    command = [KUBECTL, "port-forward", target, ":80"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            port = forwarding.stdout.readline().split(":")[1].split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WITHIN_S) as answer:
                assert text in answer.read().decode()
        finally:
            forwarding.terminate()


def expect_a_terminal(environment: Mapping[str, str], pod: str) -> None:
    """`kubectl exec -it … sh`: what is typed is echoed and carried out; `exit` ends it."""
    outer, inner = pty.openpty()
    command = [KUBECTL, "exec", "-it", pod, "--", "sh"]
    with subprocess.Popen(command, env=environment, stdin=inner, stdout=inner, stderr=inner) as shell:
        os.close(inner)
        try:
            os.write(outer, b"echo $((6 * 7))\n")
            _read_until(outer, b"42")
            os.write(outer, b"exit 3\n")
            assert shell.wait(WITHIN_S) == 3
        finally:
            shell.kill()
            os.close(outer)


def _read_until(terminal: int, wanted: bytes) -> None:
    seen, deadline = b"", time.monotonic() + WITHIN_S
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, seen
        seen += os.read(terminal, 4096)


def expect_files_copied(run: Run, pod: str, folder: Path) -> None:
    """`kubectl cp` into the pod and back, a file and a folder."""
    (folder / "there" / "deep").mkdir(parents=True)
    (folder / "there" / "deep" / "file").write_bytes(bytes(range(256)))
    run(KUBECTL, "cp", str(folder / "there"), f"{pod}:/tmp/there")
    run(KUBECTL, "cp", f"{pod}:/tmp/there", str(folder / "back"))
    assert (folder / "back" / "deep" / "file").read_bytes() == bytes(range(256))


def expect_logs_over_a_restart(run: Run, environment: Mapping[str, str]) -> None:
    """`kubectl logs -f` goes on with the container's next instance."""
    subprocess.run([KUBECTL, "apply", "-f", "-"], env=environment, input=TICKER, text=True, check=True)
    try:
        run(KUBECTL, "wait", "pod/ticker", "--for=jsonpath={.status.containerStatuses[0].state.running}")
        command = [KUBECTL, "logs", "-f", "ticker"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            lines = [following.stdout.readline().strip() for _ in range(3)]
            following.terminate()
        assert lines in (["begin", "end", "begin"], ["end", "begin", "end"]), lines
    finally:
        run(KUBECTL, "delete", "pod", "ticker", "--now")


def expect_a_policy_forbids_and_allows(run: Run, environment: Mapping[str, str], eventually: Run) -> None:
    """Default deny cuts both pods off; a rule for the client's label lets it, and only it, in again."""

    def ask(pod: str) -> str:
        return run(KUBECTL, "exec", pod, "--", "wget", "-qO-", "-T", "2", "http://steady")

    def cut_off(pod: str) -> str:
        with pytest.raises(AssertionError, match="timed out"):
            ask(pod)
        return ""

    def apply(rules: str) -> None:
        subprocess.run(
            [KUBECTL, "apply", "-f", "-"], env=environment, input=POLICY % rules, text=True, check=True
        )

    for pod in ("client", "stranger"):
        eventually(lambda pod=pod: ask(pod))
    apply("[]")
    for pod in ("client", "stranger"):
        eventually(lambda pod=pod: cut_off(pod))
    apply("[{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]")
    eventually(lambda: ask("client"))
    cut_off("stranger")
    run(KUBECTL, "delete", "networkpolicy", "closed")
    eventually(lambda: ask("stranger"))

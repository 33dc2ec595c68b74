"""What pods see of their configuration, volumes, users and limits, as tables: one case is one pod."""

from __future__ import annotations

from typing import Any

from process_pods import Case, Object, volume

RESOURCES = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
MAPPED = [{"key": "data-2", "path": "path/to/one", "mode": 0o440}]
SPACE = [{"path": "space", "fieldRef": {"fieldPath": "metadata.namespace"}}]
OBJECTS: list[Object] = [
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf"},
        "data": {"data-1": "value-1", "data-2": "value-2", "data-3": "value-3", "word": "said"},
        "binaryData": {"dump.bin": "3q2+7w=="},
    },
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"data-1": "secret-1", "data-2": "secret-2", "word": "whispered"},
    },
]


def field(path: str) -> Object:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def amount(resource: str, **more: str) -> Object:
    return {"resourceFieldRef": {"containerName": "c", "resource": resource, **more}}


def env(**entries: Any) -> Object:
    return {
        "env": [
            {"name": name, **(entry if isinstance(entry, dict) else {"value": entry})}
            for name, entry in entries.items()
        ]
    }


def on(*sources: Object) -> Object:
    """The pod's volume, from one source or several projected ones."""
    if len(sources) == 1:
        return {"volumes": [{"name": "v", **sources[0]}]}
    return {"volumes": [{"name": "v", "projected": {"sources": list(sources)}}]}


def user(uid: int, **more: Any) -> Object:
    return {"securityContext": {"runAsUser": uid, **more}}


def status_ip(pod: Object) -> str:
    return f"{pod['status']['podIP']} {pod['status']['hostIP']}\n"


ENVIRONMENT = [
    Case(
        name="variables-compose",
        script='echo "$FOOBAR" "$1" "$2"',
        container={
            **env(FOO="foo-value", BAR="bar-value", FOOBAR="$(FOO);;$(BAR) $$(BAR)"),
            "args": ["x", "$(FOO)", "$(NONE)"],
        },
        expected="foo-value;;bar-value $(BAR) foo-value $(NONE)\n",
    ),
    Case(
        name="downward-env",
        script='echo "$NAME $SPACE $NODE $ACCOUNT $LABEL"; test "$UID_" = "$(cat /v/uid)" && echo same',
        container={
            **env(
                NAME=field("metadata.name"),
                SPACE=field("metadata.namespace"),
                NODE=field("spec.nodeName"),
                ACCOUNT=field("spec.serviceAccountName"),
                LABEL=field("metadata.labels['app']"),
                UID_=field("metadata.uid"),
            ),
            **volume(),
        },
        spec=on({"downwardAPI": {"items": [{"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}}]}}),
        metadata={"labels": {"app": "demo"}},
        expected=lambda pod: (
            f"{pod['metadata']['name']} default {pod['spec']['nodeName']} default demo\nsame\n"
        ),
    ),
    Case(
        name="downward-ips",
        script='echo "$IP $HOST"',
        container=env(IP=field("status.podIP"), HOST=field("status.hostIP")),
        expected=status_ip,
    ),
    Case(
        name="downward-resources",
        script='echo "$A $B $C $D"',
        container={
            **env(
                A={"valueFrom": amount("limits.cpu")},
                B={"valueFrom": amount("limits.memory")},
                C={"valueFrom": amount("requests.cpu", divisor="1m")},
                D={"valueFrom": amount("requests.memory", divisor="1Mi")},
            ),
            "resources": RESOURCES,
        },
        expected="2 67108864 250 32\n",
    ),
    Case(
        name="downward-allocatable",
        script='echo "$A $B"',
        container=env(
            A={"valueFrom": amount("limits.cpu")}, B={"valueFrom": amount("limits.memory", divisor="1Gi")}
        ),
        expected="4 8\n",
    ),
    Case(
        name="configmap-env",
        script='echo "$ONE $p_word"',
        container={
            **env(ONE={"valueFrom": {"configMapKeyRef": {"name": "conf", "key": "data-1"}}}),
            "envFrom": [{"prefix": "p_", "configMapRef": {"name": "conf"}}],
        },
        expected="value-1 said\n",
    ),
    Case(
        name="secret-env",
        script='echo "$ONE $s_word"',
        container={
            **env(ONE={"valueFrom": {"secretKeyRef": {"name": "keys", "key": "data-1"}}}),
            "envFrom": [
                {"secretRef": {"name": "absent", "optional": True}},
                {"prefix": "s_", "secretRef": {"name": "keys"}},
            ],
        },
        expected="secret-1 whispered\n",
    ),
    Case(
        name="services-env",
        script='test -n "$KUBERNETES_SERVICE_HOST" && echo "$KUBERNETES_SERVICE_PORT $KUBERNETES_PORT_443_TCP_PROTO"',
        expected="443 tcp\n",
    ),
    Case(
        name="command-and-args",
        container={"command": ["echo", "over"], "args": ["written"]},
        expected="over written\n",
    ),
    Case(
        name="working-directory",
        script="pwd",
        container={"workingDir": "/made/for/it"},
        expected="/made/for/it\n",
    ),
    Case(
        name="hosts",
        script="grep -c Kubernetes-managed /etc/hosts; grep foo.remote /etc/hosts; hostname",
        spec={"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo.remote"]}], "hostname": "chosen"},
        expected="1\n123.45.67.89\tfoo.remote\nchosen\n",
    ),
]

LOOK = "cat /v/data-1; echo; stat -L -c %a /v/data-1"
VOLUMES = [
    Case(
        name="configmap",
        script=LOOK,
        container=volume(),
        spec=on({"configMap": {"name": "conf"}}),
        expected="value-1\n644\n",
    ),
    Case(
        name="configmap-mode",
        script=LOOK,
        container=volume(),
        spec=on({"configMap": {"name": "conf", "defaultMode": 0o400}}),
        expected="value-1\n400\n",
    ),
    Case(
        name="configmap-mapped",
        script="cat /v/path/to/one; echo; stat -L -c %a /v/path/to/one; ls /v",
        container=volume(),
        spec=on(
            {
                "configMap": {
                    "name": "conf",
                    "items": [{"key": "data-2", "path": "path/to/one", "mode": 0o400}],
                }
            }
        ),
        expected="value-2\n400\npath\n",
    ),
    Case(
        name="configmap-nonroot",
        script="cat /v/data-1; echo; stat -L -c '%a %g' /v/data-1; id -u",
        container=volume(),
        spec={
            **on({"configMap": {"name": "conf", "defaultMode": 0o440}}),
            **user(1000, fsGroup=1001),
        },
        expected="value-1\n440 1001\n1000\n",
    ),
    Case(
        name="configmap-twice",
        script="cat /v/data-1 /w/data-1",
        container={"volumeMounts": [{"name": n, "mountPath": f"/{n}"} for n in ("v", "w")]},
        spec={"volumes": [{"name": n, "configMap": {"name": "conf"}} for n in ("v", "w")]},
        expected="value-1value-1",
    ),
    Case(
        name="configmap-binary",
        script="wc -c < /v/dump.bin",
        container=volume(),
        spec=on({"configMap": {"name": "conf"}}),
        expected=lambda pod: "4\n",
    ),
    Case(
        name="secret",
        script=LOOK,
        container=volume(),
        spec=on({"secret": {"secretName": "keys"}}),
        expected="secret-1\n644\n",
    ),
    Case(
        name="secret-nonroot",
        script="cat /v/data-1; echo; stat -L -c '%a %g' /v/data-1",
        container=volume(),
        spec={**on({"secret": {"secretName": "keys", "defaultMode": 0o440}}), **user(1000, fsGroup=1001)},
        expected="secret-1\n440 1001\n",
    ),
    Case(
        name="secret-mapped",
        script="cat /v/path/to/one; echo; stat -L -c %a /v/path/to/one; cat /w/data-1",
        container={"volumeMounts": [{"name": n, "mountPath": f"/{n}"} for n in ("v", "w")]},
        spec={
            "volumes": [
                {"name": "v", "secret": {"secretName": "keys", "items": MAPPED}},
                {"name": "w", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            ]
        },
        expected="secret-2\n440\nsecret-1",
    ),
    Case(
        name="projected-modes",
        script="cd /v; for f in path/to/one data-1 space; do cat $f; stat -L -c ' %a' $f; done",
        container=volume(),
        spec=on(
            {
                "projected": {
                    "defaultMode": 0o400,
                    "sources": [
                        {"configMap": {"name": "conf", "items": MAPPED}},
                        {"secret": {"name": "keys"}},
                        {"downwardAPI": {"items": SPACE}},
                    ],
                }
            }
        ),
        expected="value-2 440\nsecret-1 400\ndefault 400\n",
    ),
    Case(
        name="optional",
        script="ls /v | wc -l",
        container=volume(),
        spec=on({"secret": {"secretName": "absent", "optional": True}}),
        expected=lambda pod: "0\n",
    ),
    Case(
        name="projected",
        script="cat /v/data-3 /v/key /v/name; echo; test -s /v/token && stat -L -c %a /v/token",
        container=volume(),
        spec={
            **on(
                {"configMap": {"name": "conf", "items": [{"key": "data-3", "path": "data-3"}]}},
                {"secret": {"name": "keys", "items": [{"key": "data-1", "path": "key"}]}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            ),
            **user(1000),
        },
        expected=lambda pod: f"value-3secret-1{pod['metadata']['name']}\n600\n",
    ),
    Case(
        name="downward-volume",
        script="for f in name cpu memory labels; do cat /v/$f; echo; done; stat -L -c %a /v/name",
        container={**volume(), "resources": RESOURCES},
        spec=on(
            {
                "downwardAPI": {
                    "items": [
                        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                        {"path": "cpu", **amount("limits.cpu", divisor="1m")},
                        {"path": "memory", **amount("requests.memory")},
                    ]
                }
            }
        ),
        metadata={"labels": {"a": "1", "b": "2"}},
        expected=lambda pod: f'{pod["metadata"]["name"]}\n1250\n33554432\na="1"\nb="2"\n400\n',
    ),
    Case(
        name="emptydir",
        script="stat -c %a /v; echo x > /v/f; chmod 0666 /v/f; stat -c %a /v/f; cat /v/f",
        container=volume(),
        spec=on({"emptyDir": {}}),
        expected="777\n666\nx\n",
    ),
    Case(
        name="emptydir-nonroot-memory",
        script="stat -c %a /v; stat -f -c %T /v; echo x > /v/f && cat /v/f && stat -c %u /v/f",
        container=volume(),
        spec={**on({"emptyDir": {"medium": "Memory"}}), **user(1001)},
        expected="777\ntmpfs\nx\n1001\n",
        runtimes=("process",),
    ),
    Case(
        name="shared",
        script="until [ -e /v/f ]; do sleep 1; done; cat /v/f",
        container=volume(),
        spec={
            **on({"emptyDir": {}}),
            "containers": [
                {"name": "d", "image": "busybox", "command": ["sh", "-c", "echo from-d > /v/f"], **volume()}
            ],
        },
        expected="from-d\n",
    ),
    Case(
        name="read-only-mount",
        script="touch /v/x 2>/dev/null || echo refused",
        container=volume(readOnly=True),
        spec=on({"emptyDir": {}}),
        expected="refused\n",
    ),
    Case(
        name="subpath",
        script="cat /v/inner; echo; ls /v",
        container={
            "volumeMounts": [
                {"name": "v", "mountPath": "/v/inner", "subPath": "data-2"},
            ]
        },
        spec=on({"configMap": {"name": "conf"}}),
        expected="value-2\ninner\n",
    ),
    Case(
        name="subpath-over-files",
        script="cat /etc/passwd /etc/group /probe",
        container={
            "volumeMounts": [
                {"name": "s", "mountPath": "/etc/passwd", "subPath": "data-1"},
                {"name": "p", "mountPath": "/etc/group", "subPath": "data-1"},
                {"name": "d", "mountPath": "/probe", "subPath": "space"},
            ]
        },
        spec={
            "volumes": [
                {"name": "s", "secret": {"secretName": "keys"}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "conf"}}]}},
                {"name": "d", "downwardAPI": {"items": SPACE}},
            ]
        },
        expected="secret-1value-1default",
    ),
    Case(
        name="subpath-expression",
        script="cd /v && pwd && touch here && ls /all",
        container={
            **env(POD_NAME="the-pod"),
            "volumeMounts": [
                {"name": "v", "mountPath": "/v", "subPathExpr": "$(POD_NAME)"},
                {"name": "v", "mountPath": "/all"},
            ],
        },
        spec=on({"emptyDir": {}}),
        expected="/v\nthe-pod\n",
    ),
]

PRIVILEGES = [
    Case(
        name="users",
        script="echo $(id -u) $(id -g); id -G | tr ' ' '\\n' | sort -n | tail -1",
        container={"securityContext": {"runAsUser": 1234, "runAsGroup": 2345}},
        spec={"securityContext": {"runAsUser": 1, "supplementalGroups": [3456]}},
        expected="1234 2345\n3456\n",
        runtimes=("process",),
    ),
    Case(
        name="pod-users",
        script="id -u; id -g",
        spec={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002}},
        expected="1001\n2002\n",
    ),
    Case(
        name="own-hosts",
        script="grep own-hosts /etc/hosts || echo unmanaged",
        container=volume(path="/etc/hosts"),
        spec=on({"hostPath": {"path": "/etc/hosts", "type": "File"}}),
        expected="unmanaged\n",
    ),
    Case(
        name="read-only-root",
        script="touch /x 2>/dev/null || echo refused; echo last > /dev/termination-log",
        container={"securityContext": {"readOnlyRootFilesystem": True}},
        expected="refused\n",
    ),
    Case(
        name="writable-root",
        script="touch /x /etc/x /tmp/x && echo done; touch /usr/x 2>/dev/null || echo not-the-machine",
        expected="done\nnot-the-machine\n",
        runtimes=("process",),
    ),
    Case(
        name="unprivileged",
        script="hostname other 2>/dev/null || echo refused; grep CapBnd /proc/self/status | cut -c 9-",
        expected="refused\n00000000a80425fb\n",
        runtimes=("process",),
    ),
    Case(
        name="capabilities",
        script="grep CapBnd /proc/self/status | cut -c 9-; grep NoNewPrivs /proc/self/status | cut -f 2",
        container={
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            }
        },
        expected="0000000000000400\n1\n",
        runtimes=("process",),
    ),
    Case(
        name="sysctl",
        script="cat /proc/sys/kernel/shm_rmid_forced",
        spec={"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}},
        expected="1\n",
        runtimes=("process",),
    ),
]

ENDS = [
    Case(name="fails", script="echo no; exit 3", phase="Failed", expected="no\n"),
    Case(
        name="init-order",
        script="cat /v/log",
        container=volume(),
        spec={
            **on({"emptyDir": {}}),
            "initContainers": [
                {"name": n, "image": "busybox", "command": ["sh", "-c", f"echo {n} >> /v/log"], **volume()}
                for n in ("one", "two")
            ],
        },
        expected="one\ntwo\n",
    ),
    Case(
        name="on-failure",
        script="if [ -e /v/again ]; then echo second; else touch /v/again; exit 1; fi",
        container=volume(),
        spec={**on({"emptyDir": {}}), "restartPolicy": "OnFailure"},
        expected="second\n",
    ),
    Case(
        name="sidecar",
        script="cat /v/ready",
        container=volume(),
        spec={
            **on({"emptyDir": {}}),
            "initContainers": [
                {
                    "name": "side",
                    "image": "busybox",
                    "restartPolicy": "Always",
                    "command": [
                        "sh",
                        "-c",
                        "trap 'exit 0' TERM; echo up > /v/ready; while true; do sleep 1; done",
                    ],
                    "startupProbe": {"exec": {"command": ["cat", "/v/ready"]}, "periodSeconds": 1},
                    **volume(),
                }
            ],
        },
        expected="up\n",
    ),
]
CASES = [*ENVIRONMENT, *VOLUMES, *PRIVILEGES, *ENDS]

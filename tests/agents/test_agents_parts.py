"""The small pure parts: probes' counting, environment, shell, behaviour, addresses, books, settings."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from agents_harness import make_container, make_pod

from agents import images
from agents.addresses import AddressPool
from agents.behaviour import BehaviourError, load_library, overrides_for
from agents.desired import DesiredState, Verdict
from agents.emulated.shell import run
from agents.emulated.world import Sleep, World, Write
from agents.environment import ConfigProblem, Place, environment_of, expanded_command
from agents.outbox import Outbox
from agents.probe import ProbeState, Result
from agents.settings import SettingsError, parse_settings
from agents.volumes import Content, contents, mount_problems
from cluster.api.objects import Object
from cluster.api.wire import Desired, Removed

OK, BAD = Result(success=True), Result(success=False, output="no")
PLACE = Place(pod_ip="10.0.0.2", host_ip="10.0.0.1", allocatable={"cpu": "4", "memory": "8Gi"})


# --- probes


@pytest.mark.parametrize(
    ("kind", "numbers", "results", "verdicts"),
    [
        ("readiness", {}, [OK, BAD, BAD, BAD, OK], [True, None, None, False, True]),
        ("readiness", {"successThreshold": 2}, [OK, OK, BAD], [None, True, None]),
        ("liveness", {}, [OK, BAD, BAD, OK, BAD, BAD, BAD, BAD], [None] * 6 + [False, None]),
        ("startup", {"failureThreshold": 2}, [BAD, OK, OK], [None, True, None]),
        ("startup", {"failureThreshold": 2}, [BAD, BAD, OK], [None, False, None]),
    ],
)
def test_verdicts_turn_after_their_thresholds(
    kind: str, numbers: Object, results: list[Result], verdicts: list[bool | None]
) -> None:
    state = ProbeState("web", kind, numbers, 1)
    assert [state.book(result) for result in results] == verdicts


# --- environment


def objects(*known: Object) -> DesiredState:
    state = DesiredState()
    state.begin("s")
    state.apply(Desired(session="s", sequence=1, full=True, set=list(known), removed=[]))
    return state


SETTINGS: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "default"},
    "data": {"COLOUR": "blue"},
}
TOKEN: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "token", "namespace": "default"},
    "data": {"key": base64.b64encode(b"secret").decode()},
}
WEB: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "my-web", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}]},
}


def test_environment_is_resolved_in_kubernetes_order() -> None:
    known = objects(SETTINGS, TOKEN, WEB)
    container = make_container(
        command=["run", "$(GREETING)", "$(UNKNOWN)", "$$(GREETING)"],
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        env=[
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}},
            {"name": "GREETING", "value": "hello $(P_COLOUR) $(KEY)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {
                "name": "MEM",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
            {
                "name": "NONE",
                "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}},
            },
        ],
        resources={"limits": {"cpu": "1500m"}},
    )
    services = [obj for obj in known.objects.values() if obj["kind"] == "Service"]
    variables = environment_of(make_pod(), container, PLACE, known.lookup, services)
    assert variables["P_COLOUR"] == "blue"
    assert variables["GREETING"] == "hello blue secret"
    assert (variables["POD"], variables["CPU"], variables["MEM"]) == ("web-1", "2", "8192")
    assert "NONE" not in variables
    assert variables["MY_WEB_SERVICE_HOST"] == "10.96.0.5"
    assert variables["MY_WEB_SERVICE_PORT_HTTP"] == "80"
    assert variables["MY_WEB_PORT_80_TCP_ADDR"] == "10.96.0.5"
    assert expanded_command(container, variables)["command"] == [
        "run", "hello blue secret", "$(UNKNOWN)", "$(GREETING)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        (
            {"configMapKeyRef": {"name": "settings", "key": "k"}},
            "couldn't find key k in ConfigMap default/settings",
        ),
        ({"secretKeyRef": {"name": "token", "key": "k"}}, "couldn't find key k in Secret default/token"),
    ],
)
def test_a_missing_reference_is_worded_as_the_kubelet_does(source: Object, message: str) -> None:
    known = objects(SETTINGS, TOKEN)
    container = make_container(env=[{"name": "X", "valueFrom": source}])
    with pytest.raises(ConfigProblem) as problem:
        environment_of(make_pod(), container, PLACE, known.lookup, [])
    assert str(problem.value) == message


def test_volumes_become_files() -> None:
    known = objects(SETTINGS, TOKEN)
    pod = make_pod(
        volumes=[
            {"name": "conf", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "token", "items": [{"key": "key", "path": "a/b"}]}},
        ]
    )
    made = [dict(contents(volume, pod, PLACE, known.lookup, None)) for volume in pod["spec"]["volumes"]]
    assert made == [{"COLOUR": Content(b"blue", 0o644)}, {"a/b": Content(b"secret", 0o644)}]
    assert mount_problems(pod, PLACE, known.lookup) == []
    assert mount_problems(pod, PLACE, objects(TOKEN).lookup) == [
        'MountVolume.SetUp failed for volume "conf" : configmap "settings" not found'
    ]


# --- the shell


@pytest.mark.parametrize(
    ("script", "output", "code"),
    [
        ("echo x; exit 3", "x\n", 3),
        ("false || echo no && echo yes", "no\nyes\n", 0),
        ("true && false", "", 1),
        ("echo \"$A\" $A '$A' ${B:-b}", "x  y x y $A b\n", 0),
        ("for i in 1 2; do echo $i; done", "1\n2\n", 0),
        ("i=0; while [ $i -lt 2 ]; do echo $i; i=$((i+1)); done", "0\n1\n", 0),
        ("if [ -f /etc/a ]; then cat /etc/a; else echo none; fi", "hi\n", 0),
        ("echo one > /tmp/f; echo two >> /tmp/f; cat /tmp/f | grep tw", "two\n", 0),
        ("nope", "", 127),
        ("cat /none 2>/dev/null; echo $?", "1\n", 0),
        ("echo $(hostname)", "web-1\n", 0),
        ("sh -c 'exit 5'; echo $?", "5\n", 0),
        ("echo 'open", "", 2),
    ],
)
def test_the_shell(script: str, output: str, code: int) -> None:
    world = World(
        environment={"A": "x  y"},
        hostname="web-1",
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    for path in ("/etc", "/tmp"):
        world.files.make_directory(path)
    world.files.write("/etc/a", b"hi\n")
    shell, printed = run(world, ["sh", "-c", script]), ""
    while True:
        try:
            step = next(shell)
        except StopIteration as done:
            ended = done.value
            break
        if isinstance(step, Write) and step.stream == "stdout":
            printed += step.data.decode()
    assert (printed, ended) == (output, code)


def test_sleeping_is_left_to_the_driver() -> None:
    world = World(environment={}, hostname="h", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert list(run(world, ["sleep", "1m"])) == [Sleep(60.0)]


# --- behaviour


def test_the_library_knows_images_by_their_names() -> None:
    library = load_library()
    assert library.of("nginx").ports == (80,)
    assert library.of("quay.io/someone/nginx:1.2@sha256:" + "0" * 64).ports == (80,)
    assert library.of("busybox:1.36").shell
    assert library.of("example.com/unknown/app:v1").serves == "http"


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("nonsense", "not JSON"),
        ('{"*": {"latency": 1}}', 'unknown field "latency"'),
        ('{"*": {"latency_s": "1"}}', 'latency_s: expected a number, not negative, found "1"'),
        ('{"web": {"readiness": [{"answer": "maybe"}]}}', "readiness: expected ok or fail or hang"),
        ('{"*": {"crash": {}}}', 'crash: "id" is missing'),
    ],
)
def test_wrong_behaviour_is_named(annotation: str, message: str) -> None:
    with pytest.raises(BehaviourError, match=r"annotation kubemu\.dev/behaviour") as error:
        overrides_for(annotation, "web")
    assert message in str(error.value)


def test_a_containers_own_fields_win() -> None:
    annotation = json.dumps({"*": {"latency_s": 1, "hang": True}, "web": {"latency_s": 2}})
    assert overrides_for(annotation, "web") == {"latency_s": 2, "hang": True}
    assert overrides_for(annotation, "other") == {"latency_s": 1, "hang": True}
    assert overrides_for(None, "web") == {}


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("someone/app:v1", "docker.io/someone/app:v1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
    ],
)
def test_image_references(image: str, full: str) -> None:
    assert images.full_reference(image) == full
    assert images.valid(image)
    assert not images.valid(image.upper())


# --- addresses, books


def test_addresses_are_stable_and_not_reused_at_once() -> None:
    pool = AddressPool("127.5.0.0/29")
    assert pool.gateway == "127.5.0.1"
    assert [pool.take("a"), pool.take("b"), pool.take("a")] == ["127.5.0.2", "127.5.0.3", "127.5.0.2"]
    pool.release("a")
    assert [pool.take(owner) for owner in "cdefg"] == [
        "127.5.0.4", "127.5.0.5", "127.5.0.6", "127.5.0.2", None,
    ]  # fmt: skip


def test_desired_state_takes_parts_deltas_and_finds_gaps() -> None:
    state = DesiredState()
    state.begin("s")
    pods = [make_pod(name) for name in ("a", "b")]

    def message(sequence: int, *objs: Object, session: str = "s", **fields: object) -> Desired:
        values: dict[str, object] = {"full": False, "removed": [], **fields}
        return Desired(session=session, sequence=sequence, set=list(objs), **values)  # type: ignore[arg-type]

    assert state.apply(message(1, pods[0], full=True, more=True))[0] is Verdict.PARTIAL
    verdict, changes = state.apply(message(2, pods[1], full=True, part=1))
    assert verdict is Verdict.APPLIED
    assert changes.pods == pods
    assert state.apply(message(2, pods[1], full=True, part=1))[0] is Verdict.KNOWN
    assert state.apply(message(4))[0] is Verdict.GAP
    assert state.apply(message(3, session="other"))[0] is Verdict.FOREIGN
    removed = [Removed(kind="Pod", namespace="default", name="a", uid="uid-a")]
    _, changes = state.apply(message(3, removed=removed))
    assert changes.gone == ["uid-a"]
    state.begin("t")
    _, changes = state.apply(message(1, session="t", full=True))
    assert changes.gone == ["uid-b"]


def test_the_last_status_goes_ahead_of_the_goodbye_until_it_is_stored() -> None:
    outbox = Outbox("e")
    outbox.report("u", "default", "web", {"phase": "Running"})
    assert not outbox.pending
    (full,) = outbox.begin("s1")
    assert (full.full, full.sequence, len(full.statuses)) == (True, 1, 1)
    outbox.report("u", "default", "web", {"phase": "Succeeded"})
    outbox.gone("u", "default", "web")
    (said,) = outbox.take()
    assert [report.status for report in said.statuses] == [{"phase": "Succeeded"}, None]
    (again,) = outbox.begin("s2")
    assert [report.status for report in again.statuses] == [{"phase": "Succeeded"}, None]
    outbox.stored("s1", 9)
    assert outbox.missing(1)
    outbox.stored("s2", 1)
    assert not outbox.missing(1)
    (empty,) = outbox.begin("s3")
    assert empty.statuses == []


# --- settings


def test_flags_and_variables(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials.json"
    credentials.write_text('{"w1": "a", "w2": "b"}')
    environment = {"KUBEMU_BROKER": "mqtt://h:1", "KUBEMU_NODES": "2", "KUBEMU_CREDENTIALS": str(credentials)}
    settings = parse_settings(["--node-prefix", "w", "--label", "zone=a"], environment)
    assert settings.nodes == ("w1", "w2")
    assert settings.passwords == {"w1": "a", "w2": "b"}
    assert settings.machine.labels == {"zone": "a"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--broker mqtt://HOST:PORT is missing"),
        (["--broker", "x"], "give either --node NAME or --nodes N"),
        (["--broker", "x", "--nodes", "0"], "--nodes 0: expected a number"),
        (["--broker", "x", "--node", "n", "--profile", "slow"], "--profile slow: expected standard or fast"),
        (["--broker", "x", "--node", "n", "--cpu", "many"], "--cpu many"),
        (["--broker", "x", "--node", "n", "--label", "a"], "--label a: expected KEY=VALUE"),
    ],
)
def test_wrong_settings_say_what_is_expected(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(arguments, {})
    assert message in str(error.value)

"""The pod machine alone: scripts of inputs, and what it asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from agents_harness import deleted, make_container, make_pod

from agents import steps
from agents.container import duration
from agents.pod import PodMachine
from agents.podstatus import pod_status, qos_class
from agents.runtime import Exit
from broker.clock import SIMULATION_EPOCH
from cluster.api.objects import Object
from cluster.api.timings import STANDARD

OK = Exit(code=0, reason="Completed")
FAILED = Exit(code=1, reason="Error")


class Script:
    """Drives a machine and writes down its effects in a short form."""

    def __init__(self, pod: Object) -> None:
        self.now = SIMULATION_EPOCH
        self.machine = PodMachine(pod, STANDARD, self.now)
        self.asked: list[str] = []
        self._carry(self.machine.handle(steps.Look(), self.now))

    def tell(self, what: steps.Input) -> list[str]:
        return self._carry(self.machine.handle(what, self.now))

    def _carry(self, effects: list[steps.Effect]) -> list[str]:
        asked = []
        for effect in effects:
            match effect:
                case steps.Launch():
                    asked.append(f"launch {effect.container}")
                case steps.Halt():
                    asked.append(f"halt {effect.container} {effect.grace_s:g}")
                case steps.SetUp():
                    asked.append("set up")
                case steps.TearDown():
                    asked.append("tear down")
                case steps.Emit():
                    pass
        self.asked += asked
        return asked

    def after(self, seconds: float) -> list[str]:
        self.now += timedelta(seconds=seconds)
        return self.tell(steps.Look())

    def up(self) -> list[str]:
        return self.tell(steps.SandboxReady(ip="10.0.0.2"))

    def runs(self, name: str) -> list[str]:
        attempt = self.machine.containers[name].attempt
        return self.tell(
            steps.Launched(container=name, attempt=attempt, container_id=f"c://{name}{attempt}", image_id="i")
        )

    def exits(self, name: str, exit: Exit = OK) -> list[str]:
        return self.tell(
            steps.Exited(container=name, attempt=self.machine.containers[name].attempt, exit=exit)
        )

    def update(self, pod: Object) -> list[str]:
        return self._carry(self.machine.update(pod, self.now))

    def status(self) -> Object:
        return pod_status(self.machine, "10.0.0.1", self.now)

    def condition(self, type: str) -> Object:
        return next(c for c in self.status()["conditions"] if c["type"] == type)


def test_init_containers_run_one_by_one_before_the_others() -> None:
    script = Script(make_pod(initContainers=[make_container("a"), make_container("b")]))
    assert script.asked == ["set up"]
    assert script.up() == ["launch a"]
    assert script.condition("Initialized") == {
        "type": "Initialized",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "ContainersNotInitialized",
        "message": "containers with incomplete status: [a b]",
    }
    assert script.runs("a") == []
    assert script.exits("a") == ["launch b"]
    script.runs("b")
    assert script.status()["phase"] == "Pending"
    assert script.exits("b") == ["launch web"]
    script.runs("web")
    assert script.status()["phase"] == "Running"
    assert script.condition("Initialized")["status"] == "True"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    script = Script(make_pod(initContainers=[make_container("a")], restartPolicy="Never"))
    script.up()
    script.runs("a")
    assert script.exits("a", FAILED) == ["tear down"]
    status = script.status()
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_sidecars_stay_up_and_end_last_in_reverse_order() -> None:
    sidecars = [make_container(name, restartPolicy="Always") for name in ("s1", "s2")]
    pod = make_pod(initContainers=sidecars, restartPolicy="Never")
    script = Script(pod)
    assert script.up() == ["launch s1"]
    assert script.runs("s1") == ["launch s2"]
    assert script.runs("s2") == ["launch web"]
    script.runs("web")
    assert script.exits("web") == ["halt s2 30"]
    assert script.status()["phase"] == "Running"
    assert script.exits("s2") == ["halt s1 30"]
    assert script.exits("s1") == ["tear down"]
    assert script.status()["phase"] == "Succeeded"


def test_a_sidecar_is_restarted_without_disturbing_the_rest() -> None:
    script = Script(make_pod(initContainers=[make_container("s", restartPolicy="Always")]))
    script.up()
    script.runs("s")
    script.runs("web")
    assert script.exits("s", FAILED) == ["launch s"]
    assert script.condition("Initialized")["status"] == "True"


def test_deletion_while_an_image_is_pulled_calls_the_launch_off() -> None:
    pod = make_pod()
    script = Script(pod)
    script.up()
    assert script.update(deleted(pod)) == ["halt web 0", "tear down"]
    late = steps.Launched(container="web", attempt=1, container_id="c", image_id="i")
    assert script.tell(late) == []
    assert not script.machine.expects("web", 1)
    lost = script.status()["containerStatuses"][0]["state"]["terminated"]
    assert (lost["reason"], lost["exitCode"]) == ("ContainerStatusUnknown", 137)


def test_a_second_deletion_can_only_shorten_the_grace() -> None:
    pod = make_pod()
    script = Script(pod)
    script.up()
    script.runs("web")
    assert script.update(deleted(pod, 60)) == ["halt web 60"]
    assert script.update(deleted(pod, 90)) == []
    assert script.update(deleted(pod, 5)) == ["halt web 5"]


def test_the_active_deadline_fails_the_pod() -> None:
    script = Script(make_pod(activeDeadlineSeconds=10))
    script.up()
    script.runs("web")
    assert script.machine.wake_at == SIMULATION_EPOCH + timedelta(seconds=10)
    assert script.after(10) == ["halt web 30"]
    status = script.status()
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["message"] == "Pod was active on the node longer than the specified deadline"


def test_pull_errors_turn_into_back_off_and_are_tried_again() -> None:
    script = Script(make_pod())
    script.up()
    script.tell(steps.PullFailed(container="web", attempt=1, reason="ErrImagePull", message="not found"))
    waiting = script.status()["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "ErrImagePull", "message": "not found"}
    assert script.after(5) == []
    waiting = script.status()["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "nginx:1.27": ErrImagePull: not found',
    }
    assert script.after(5) == ["launch web"]


def test_back_offs_double_up_to_five_minutes_and_are_forgotten() -> None:
    """Exits right after each start: 0, 10, 20, … 300, 300 s; after 11 quiet minutes 0 again."""
    script = Script(make_pod())
    script.up()
    waits = []
    for _ in range(8):
        script.runs("web")
        asked = script.exits("web", FAILED)
        waited = 0
        while not asked:
            assert script.machine.wake_at is not None
            step = (script.machine.wake_at - script.now).total_seconds()
            waited += step
            asked = script.after(step)
        waits.append(waited)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    script.runs("web")
    script.after(660)
    assert script.exits("web", FAILED) == ["launch web"]


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Always", 0, "Running"),
    ],
)
def test_phase_after_an_exit(policy: str, code: int, phase: str) -> None:
    script = Script(make_pod(restartPolicy=policy))
    script.up()
    script.runs("web")
    script.exits("web", Exit(code=code, reason="Error" if code else "Completed"))
    assert script.status()["phase"] == phase


def test_readiness_gates_hold_back_ready_but_not_containers_ready() -> None:
    pod = make_pod(readinessGates=[{"conditionType": "example.com/ok"}])
    script = Script(pod)
    script.up()
    script.runs("web")
    assert script.condition("ContainersReady")["status"] == "True"
    assert script.condition("Ready")["reason"] == "ReadinessGatesNotReady"
    assert script.condition("Ready")["message"] == (
        'corresponding condition of pod readiness gate "example.com/ok" does not exist.'
    )
    script.update({**pod, "status": {"conditions": [{"type": "example.com/ok", "status": "True"}]}})
    assert script.condition("Ready")["status"] == "True"


def test_a_container_with_a_policy_of_its_own() -> None:
    once = make_container("once", restartPolicy="Never")
    script = Script(make_pod(containers=[make_container(), once]))
    script.up()
    script.runs("web")
    script.runs("once")
    assert script.exits("once", FAILED) == []
    assert script.exits("web", FAILED) == ["launch web"]


def test_a_container_that_cannot_be_started_counts_as_one_that_ended() -> None:
    script = Script(make_pod())
    script.up()
    cannot = Exit(code=128, reason="StartError", message="no such file")
    assert script.exits("web", cannot) == ["launch web"]
    assert script.exits("web", cannot) == []
    shown = script.status()["containerStatuses"][0]
    assert shown["restartCount"] == 1
    assert shown["lastState"]["terminated"]["exitCode"] == 128


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"memory": "1Gi"}}, "Burstable"),
    ],
)
def test_qos_class(resources: Object, expected: str) -> None:
    assert qos_class(make_pod(containers=[make_container(resources=resources)])) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.5, "500ms"), (1.25, "1.25s"), (0, "0s")],
)
def test_durations_are_printed_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text

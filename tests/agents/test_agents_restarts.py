"""Who runs again and why: restart rules of containers, start errors, users that may not be, files as variables."""

from __future__ import annotations

from typing import Any

import pytest
from agents_harness import World, make_container, make_pod, simulate

from cluster.api.objects import Object


def script(text: str, name: str = "web", **fields: Any) -> Object:
    return make_container(name, "busybox:1.36", command=["sh", "-c", text], **fields)


def rule(action: str, operator: str, *values: int) -> Object:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(values)}}


@pytest.mark.parametrize(
    ("code", "rules", "again"),
    [
        (42, [rule("Restart", "In", 42)], True),
        (1, [rule("Restart", "In", 42)], False),
        (1, [rule("Restart", "NotIn", 42)], True),
        (42, [rule("Restart", "NotIn", 42)], False),
    ],
    ids=["in", "not in it", "not-in", "but in it"],
)
def test_a_containers_rules_come_before_its_policy(code: int, rules: list[Object], again: bool) -> None:
    async def story(world: World) -> None:
        container = script(f"sleep 1; exit {code}", restartPolicy="Never", restartPolicyRules=rules)
        world.want(make_pod(restartPolicy="Never", containers=[container]))
        if again:
            await world.expect(lambda: world.container()["restartCount"] == 2)
        else:
            await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
            assert world.container()["restartCount"] == 0

    simulate(story)


def test_a_containers_own_policy_wins_over_the_pods() -> None:
    async def story(world: World) -> None:
        world.want(
            make_pod(
                restartPolicy="Always",
                containers=[script("exit 3", "once", restartPolicy="Never"), script("sleep 1000")],
            )
        )
        await world.expect(lambda: "terminated" in world.container(name="once")["state"])
        await world.expect(lambda: world.container()["ready"])
        assert world.container(name="once")["restartCount"] == 0
        assert world.statuses["web-1"]["phase"] == "Running"

    simulate(story)


def test_a_rule_starts_all_containers_over() -> None:
    """The init container runs once more, the neighbour too, and everybody counts one restart."""

    async def story(world: World) -> None:
        fails = script(
            "if [ -e /w/again ]; then sleep 1000; fi; touch /w/again; sleep 2; exit 7",
            "fails",
            restartPolicy="Never",
            restartPolicyRules=[rule("RestartAllContainers", "In", 7)],
            volumeMounts=[{"name": "w", "mountPath": "/w"}],
        )
        pod = make_pod(
            restartPolicy="Never",
            initContainers=[script("true", "first")],
            containers=[fails, script("sleep 1000")],
            volumes=[{"name": "w", "emptyDir": {}}],
        )
        world.want(pod)
        await world.expect(lambda: world.container(name="fails")["restartCount"] == 1, within_s=120)
        await world.expect_ready(within_s=120)
        counts = {name: world.container(name=name)["restartCount"] for name in ("first", "fails", "web")}
        assert counts == {"first": 1, "fails": 1, "web": 1}

    simulate(story)


def test_a_container_that_cannot_start_never_began() -> None:
    async def story(world: World) -> None:
        pod = make_pod(
            annotations={"kubemu.dev/behaviour": '{"web": {"start_error": {"message": "no such file"}}}'},
            restartPolicy="Never",
        )
        world.want(pod)
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Failed")
        ended = world.container()["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"], ended["message"]) == (128, "StartError", "no such file")
        assert ended["startedAt"] == "1970-01-01T00:00:00Z"
        assert "Error: no such file" in [e.message for e in world.events]

    simulate(story)


@pytest.mark.parametrize(
    ("image", "security", "why"),
    [
        ("busybox", {"runAsUser": 0}, "container's runAsUser breaks non-root policy"),
        ("busybox", {}, "container has runAsNonRoot and image will run as root"),
        ("example.com/anybody", {}, ""),
        ("busybox", {"runAsUser": 1000}, ""),
    ],
    ids=["root by the pod", "root by the image", "unknown image", "somebody"],
)
def test_containers_that_must_not_be_root(image: str, security: Object, why: str) -> None:
    async def story(world: World) -> None:
        container = make_container(image=image, securityContext={"runAsNonRoot": True, **security})
        world.want(make_pod(containers=[container | {"command": ["sleep", "1000"]}]))
        if not why:
            await world.expect_ready()
            return
        await world.expect(lambda: "Failed" in world.reasons())
        who = '(pod: "web-1_default(uid-web-1)", container: web)'
        waiting = world.container()["state"]["waiting"]
        assert waiting == {"reason": "CreateContainerConfigError", "message": f"{why} {who}"}

    simulate(story)


def test_a_file_of_an_init_container_gives_variables() -> None:
    reference = {"volumeName": "w", "path": "env", "key": "COLOUR"}
    mounts = [{"name": "w", "mountPath": "/w"}]

    async def story(world: World) -> None:
        source = {"fileKeyRef": reference}
        missing = {"fileKeyRef": {**reference, "key": "SHAPE", "optional": True}}
        checks = script(
            'test "$COLOUR" = "deep blue" && test -z "${SHAPE+set}"',
            env=[{"name": "COLOUR", "valueFrom": source}, {"name": "SHAPE", "valueFrom": missing}],
        )
        writes = script("echo '# comment' > /w/env; echo \"COLOUR='deep blue'\" >> /w/env", "first")
        world.want(
            make_pod(
                restartPolicy="Never",
                initContainers=[writes | {"volumeMounts": mounts}],
                containers=[checks],
                volumes=[{"name": "w", "emptyDir": {}}],
            )
        )
        await world.expect(lambda: world.statuses["web-1"]["phase"] == "Succeeded")

    simulate(story)


def test_a_variable_that_its_file_lacks_holds_the_container_back() -> None:
    async def story(world: World) -> None:
        source = {"fileKeyRef": {"volumeName": "w", "path": "env", "key": "COLOUR"}}
        container = script("true", env=[{"name": "COLOUR", "valueFrom": source}])
        world.want(make_pod(containers=[container], volumes=[{"name": "w", "emptyDir": {}}]))
        await world.expect(lambda: "Failed" in world.reasons())
        waiting = world.container()["state"]["waiting"]
        assert waiting["reason"] == "CreateContainerConfigError"
        assert waiting["message"] == 'environment variable key "COLOUR" not found in file "env"'

    simulate(story)


def test_image_volumes_are_refused_plainly() -> None:
    async def story(world: World) -> None:
        container = make_container(volumeMounts=[{"name": "model", "mountPath": "/model"}])
        volume = {"name": "model", "image": {"reference": "example.com/model:1"}}
        world.want(make_pod(containers=[container], volumes=[volume]))
        await world.expect(lambda: "Failed" in world.reasons())
        why = 'image volumes are not supported by the runtime: volume "model"'
        waiting = {"reason": "CreateContainerError", "message": why}
        assert world.container()["state"]["waiting"] == waiting

    simulate(story)

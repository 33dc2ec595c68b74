"""Starting one container: pull, configure, create, start, with the kubelet's events; and its hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents import http
from agents.behaviour import ANNOTATION, BehaviourError, overrides_for
from agents.container import ContainerState, duration
from agents.environment import ConfigProblem, environment_of, expanded_command
from agents.host import Host, PodView
from agents.podvolumes import ContainerVolumes, PodVolumes, sub_path
from agents.prober import NoSuchPort, encrypted, port_number
from agents.runtime import Container, ExecProblem, Exit, ImageError, Launch
from agents.steps import ConfigFailed, Exited, PullFailed
from agents.volumes import MountProblem
from broker.clock import Clock
from cluster.api.objects import Object

START_ERROR = 128
"""The exit code that the kubelet shows for a container that could not be started."""


class Launching:
    """One attempt to start a container."""

    def __init__(
        self,
        host: Host,
        view: PodView,
        pod: Object,
        state: ContainerState,
        volumes: PodVolumes,
        clock: Clock,
    ) -> None:
        self._host = host
        self._volumes = volumes
        self._view = view
        self._pod = pod
        self._spec = state.spec
        self._name = state.name
        self._attempt = state.attempt
        self._field_path = state.field_path()
        self._restart_count = state.restart_count + (1 if state.termination is not None else 0)
        self._clock = clock

    async def run(
        self, on_exit: Callable[[Exit], None]
    ) -> tuple[Container, str] | PullFailed | ConfigFailed | Exited:
        """The running instance and its image's id, or the input that tells what went wrong."""
        try:
            image_id = await self._image()
        except ImageError as error:
            return PullFailed(
                container=self._name, attempt=self._attempt, reason=error.reason, message=str(error)
            )
        try:
            launch = self._configure()
        except (ConfigProblem, BehaviourError) as error:
            return self._config_failed("CreateContainerConfigError", str(error))
        except Unsupported as error:
            return self._config_failed("CreateContainerError", str(error))
        if self._host.runtime.needs_files(launch):
            try:
                await launch.volumes.prepare()
            except MountProblem as problem:
                self._host.emit(self._view.uid, "Warning", "FailedMount", str(problem))
                return self._config_failed("ContainerCreating", "")
        self._emit("Normal", "Created", "Container created")
        try:
            container = await self._host.runtime.start(launch, on_exit)
        except RuntimeError as error:
            self._emit("Warning", "Failed", f"Error: {error}")
            exit = Exit(code=START_ERROR, reason="StartError", message=str(error))
            return Exited(container=self._name, attempt=self._attempt, exit=exit)
        self._emit("Normal", "Started", "Container started")
        return container, image_id

    async def _image(self) -> str:
        image = self._spec.get("image", "")
        policy = self._spec.get("imagePullPolicy", "IfNotPresent")
        runtime = self._host.runtime
        if policy != "Always" and runtime.has_image(image):
            text = f'Container image "{image}" already present on machine and can be accessed by the pod'
            self._emit("Normal", "Pulled", text)
            return (await runtime.pull(image, pod=self._pod)).id
        if policy == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            self._emit("Warning", "ErrImageNeverPull", text)
            raise ImageError("ErrImageNeverPull", text)
        self._emit("Normal", "Pulling", f'Pulling image "{image}"')
        begun = self._clock.monotonic()
        try:
            pulled = await runtime.pull(image, pod=self._pod)
        except ImageError as error:
            reason = "InspectFailed" if error.reason == "InvalidImageName" else "Failed"
            text = str(error) if reason == "InspectFailed" else f'Failed to pull image "{image}": {error}'
            self._emit("Warning", reason, text)
            raise
        took = duration(round(self._clock.monotonic() - begun, 3))
        size = f"Image size: {pulled.size_bytes} bytes."
        self._emit(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {took} ({took} including waiting). {size}',
        )
        return pulled.id

    def _config_failed(self, reason: str, message: str) -> ConfigFailed:
        return ConfigFailed(container=self._name, attempt=self._attempt, reason=reason, message=message)

    def _configure(self) -> Launch:
        host, pod = self._host, self._pod
        place = host.place(self._view.ip)
        self._check_volumes()
        files = self._volumes.own_file
        variables = environment_of(pod, self._spec, place, host.lookup, host.services(), files)
        annotation = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
        self._check_user()
        for mount in self._spec.get("volumeMounts", ()):
            sub_path(mount, variables)
        return Launch(
            pod=pod,
            container=expanded_command(self._spec, variables),
            pod_ip=self._view.ip,
            environment=variables,
            restart_count=self._restart_count,
            behaviour=overrides_for(annotation, self._name),
            volumes=ContainerVolumes(self._volumes, self._spec, variables),
            place=place,
            resolve=host.resolve,
        )

    def _check_volumes(self) -> None:
        """Raises Unsupported."""
        mounted = {mount["name"] for mount in self._spec.get("volumeMounts", ())}
        for volume in self._pod["spec"].get("volumes", ()):
            if "image" in volume and volume["name"] in mounted:
                raise Unsupported(
                    f'image volumes are not supported by the runtime: volume "{volume["name"]}"'
                )

    def _check_user(self) -> None:
        """Raises ConfigProblem. Of an image that nobody described the user is not known."""
        outer = self._pod["spec"].get("securityContext") or {}
        inner = self._spec.get("securityContext") or {}
        if not inner.get("runAsNonRoot", outer.get("runAsNonRoot")):
            return
        user = inner.get("runAsUser", outer.get("runAsUser"))
        meta = self._pod["metadata"]
        who = f'pod: "{meta["name"]}_{meta["namespace"]}({meta["uid"]})", container: {self._name}'
        if user == 0:
            raise ConfigProblem(f"container's runAsUser breaks non-root policy ({who})")
        if user is None and self._host.runtime.runs_as_root(self._spec.get("image", ""), self._pod):
            raise ConfigProblem(f"container has runAsNonRoot and image will run as root ({who})")

    def _emit(self, type: str, reason: str, message: str) -> None:
        self._host.emit(self._view.uid, type, reason, message, self._field_path)


class Unsupported(Exception):
    """What no runtime here can do for a container."""


class HookFailed(Exception):
    """A postStart or preStop hook did not succeed."""


async def run_hook(hook: Object, host: Host, view: PodView, spec: Object, container: Container) -> None:
    """exec, httpGet or sleep. Raises HookFailed; has no deadline of its own."""
    if "exec" in hook:
        try:
            code, output = await container.execute(hook["exec"].get("command", ()), timeout_s=None)
        except ExecProblem as problem:
            raise HookFailed(str(problem)) from problem
        if code:
            shown = output.decode(errors="replace").strip()
            raise HookFailed(f"exited with {code}: {shown}")
    elif "httpGet" in hook:
        await _call(hook["httpGet"], host, view, spec)
    elif "sleep" in hook:
        await asyncio.sleep(hook["sleep"]["seconds"])


async def _call(action: Object, host: Host, view: PodView, spec: Object) -> None:
    """Whatever answers has been told; its status counts for nothing, as in the kubelet."""
    path = str(action.get("path") or "/")
    try:
        port = port_number(spec, action.get("port"))
        address = action.get("host") or view.ip
        headers = [(h["name"], h["value"]) for h in action.get("httpHeaders", ())]
        if not any(name.lower() == "host" for name, _ in headers):
            headers.append(("Host", f"{address}:{port}"))
        target = path if path.startswith("/") else f"/{path}"
        request = http.Request(method="GET", target=target, headers=headers)
        ask = encrypted if action.get("scheme") == "HTTPS" else http.fetch
        await ask(host.network, address, port, request)
    except (OSError, http.BadAnswer, NoSuchPort) as error:
        raise HookFailed(str(error)) from error

"""The process runtime: containers whose commands run as processes of this machine.

Images are not pulled: a container finds the machine's own programs. A container without a command runs its
image's shell where the image is known to be one, else it can't be started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from agents import images
from agents.behaviour import Library
from agents.disk import DirectoryDisk
from agents.emulated.rootfs import user_of
from agents.etcfiles import etc_files, hostname
from agents.process import cgroups
from agents.process.cgroups import ControlGroup
from agents.process.container import ProcessContainer
from agents.process.isolation import Identity, Root, capabilities_of, unsharing
from agents.process.lowports import with_reachable_api
from agents.runtime import Exit, ImageError, Launch, PulledImage
from agents.termination import DEFAULT_PATH
from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api.objects import Object

NAME = "process"
IMAGE_BYTES = 1_000_000
_PREFIX = "kubemu-processes-"
REMOVALS, REMOVAL_LOOK_S = 50, 0.02
"""How often, until the last process of a control group is gone."""
MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""


class ProcessRuntime:
    """Implements `agents.runtime.Runtime`."""

    def __init__(
        self, library: Library, *, clock: Clock, chance: Chance, volumes: Path | None = None
    ) -> None:
        """`volumes`: where persistent volumes are kept; None: as long as the agent lives."""
        self._library = library
        self._clock = clock
        self._chance = chance
        self._tasks = Tasks()
        self._images: dict[str, None] = {}
        self._volumes = volumes
        self._home: Path | None = None
        self._memory: Path | None = None
        """For emptyDirs in memory; None: they are on the disk."""
        self._disk: DirectoryDisk | None = None
        self._containers: dict[str, ProcessContainer] = {}
        self._limits: list[ControlGroup] = []

    def choose(self, pod: Object, handler: str) -> bool:
        return True

    def disk(self, pod: Object) -> DirectoryDisk:
        if self._disk is None:
            _sweep()
            prefix = f"{_PREFIX}{os.getpid()}-"
            self._home = Path(tempfile.mkdtemp(prefix=prefix))
            self._home.chmod(0o755)
            if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
                self._memory = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY))
                self._memory.chmod(0o755)
            volumes = self._volumes or self._home / "volumes"
            self._disk = DirectoryDisk(self._home, volumes, self._memory or self._home)
        return self._disk

    def runs_as_root(self, image: str, pod: Object) -> bool:
        return self._library.of(image).user == 0

    def needs_files(self, launch: Launch) -> bool:
        return True

    async def pull(self, image: str, *, pod: Object) -> PulledImage:
        if not images.valid(image):
            why = f'couldn\'t parse image name "{image}": invalid reference format'
            raise ImageError("InvalidImageName", f'Failed to apply default image tag "{image}": {why}')
        failure = self._library.of(image).pull_error
        if failure is not None:
            raise ImageError(failure.reason, failure.message)
        self._images[images.full_reference(image)] = None
        return PulledImage(id=images.image_id(image), size_bytes=IMAGE_BYTES)

    def has_image(self, image: str) -> bool:
        return images.full_reference(image) in self._images

    def images(self) -> list[Object]:
        return [{"names": [images.image_id(name), name], "sizeBytes": IMAGE_BYTES} for name in self._images]

    async def start(self, launch: Launch, on_exit: Callable[[Exit], None]) -> ProcessContainer:
        words = self._words(launch)
        identity = f"{NAME}://" + (self._chance.uuid() + self._chance.uuid()).replace("-", "")
        self.disk(launch.pod)
        assert self._home is not None
        security = launch.container.get("securityContext") or {}
        asked = (launch.pod["spec"].get("securityContext") or {}).get("sysctls") or ()
        root = Root(
            self._home / "roots" / identity.rpartition("/")[2],
            read_only=bool(security.get("readOnlyRootFilesystem")),
            sysctls={sysctl["name"].replace("/", "."): sysctl["value"] for sysctl in asked},
        )
        try:
            await asyncio.to_thread(_furnish, root, launch)
        except OSError as error:
            shutil.rmtree(root.path, ignore_errors=True)
            raise RuntimeError(_not_created(error)) from error
        limits = _limits(identity, launch) if unsharing() else None
        root.joining = limits.joining() if limits is not None else ()
        user, group, groups = user_of(launch.pod, launch.container)

        def ended(exit: Exit) -> None:
            self._containers.pop(identity, None)
            self._tasks.start(f"remove {identity}", self._remove(root.path, limits))
            on_exit(exit)

        container = ProcessContainer(
            identity,
            launch,
            root,
            environment=self._environment(launch, root, user),
            identity=Identity(
                user=user,
                group=group,
                groups=groups,
                capabilities=capabilities_of(security),
                no_new_privileges=security.get("allowPrivilegeEscalation") is False,
            ),
            hostname=hostname(launch.pod),
            clock=self._clock,
            tasks=self._tasks,
            on_exit=ended,
            limits=limits,
        )
        if limits is not None:
            self._limits.append(limits)
        try:
            await container.start(words)
        except OSError as error:
            raise RuntimeError(_cannot_run(words[0], (error.strerror or str(error)).lower())) from error
        self._containers[identity] = container
        return container

    async def _remove(self, path: Path, limits: ControlGroup | None) -> None:
        await asyncio.to_thread(shutil.rmtree, path, True)
        if limits is not None:
            await _dissolve(limits)
            self._limits.remove(limits)

    def _words(self, launch: Launch) -> list[str]:
        """Raises RuntimeError."""
        spec = launch.container
        command, args = list(spec.get("command") or ()), list(spec.get("args") or ())
        profile = self._library.of(spec.get("image", ""))
        if not command and profile.shell:
            command, args = args or list(profile.command), []
        if not command:
            raise RuntimeError("no command specified")
        path = launch.environment.get("PATH") or os.environ.get("PATH", "")
        mounted = any(command[0].startswith(m["mountPath"]) for m in spec.get("volumeMounts", ()))
        if not mounted and shutil.which(command[0], path=path) is None:
            missing = f"stat {command[0]}: no such file or directory"
            why = missing if "/" in command[0] else "executable file not found in $PATH"
            raise RuntimeError(_cannot_run(command[0], why))
        return command + args

    def _environment(self, launch: Launch, root: Root, user: int) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/root" if user == 0 else "/",
            "HOSTNAME": hostname(launch.pod),
            "KUBEMU_ROOT": str(root.path),
            "KUBEMU_POD_IP": launch.pod_ip,
            **with_reachable_api(launch.environment),
        }

    def forget(self, uid: str) -> None:
        if self._disk is not None:
            self._disk.discard(uid)

    async def failed(self) -> None:
        await self._tasks.failed()

    async def close(self) -> None:
        for container in list(self._containers.values()):
            await container.stop(0.0)
        await self._tasks.close()
        for limits in self._limits:
            await _dissolve(limits)
        for left in (self._home, self._memory):
            if left is not None:
                shutil.rmtree(left, ignore_errors=True)


def _limits(identity: str, launch: Launch) -> ControlGroup | None:
    """None where there are no limits, or the machine does not grant them."""
    resources = launch.container.get("resources") or {}
    if not resources.get("limits") or not cgroups.version():
        return None
    group = ControlGroup(identity.rpartition("/")[2])
    try:
        group.make(resources)
    except OSError:
        group.remove()
        return None
    return group


async def _dissolve(limits: ControlGroup) -> None:
    for _ in range(REMOVALS):
        if limits.remove():
            return
        await asyncio.sleep(REMOVAL_LOOK_S)


def _furnish(root: Root, launch: Launch) -> None:
    """Some hundred links and files: beside the event loop, which has heartbeats to send."""
    root.make(etc_files(launch.pod, launch.place))
    for mount in sorted(launch.volumes.mounts(), key=lambda mount: mount.path):
        root.mount(mount)
    root.write_always(launch.container.get("terminationMessagePath") or DEFAULT_PATH)
    root.ensure(launch.container.get("workingDir") or "/")


def _sweep() -> None:
    """Removes what agents left that were killed."""
    cgroups.sweep()
    for left in (*Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"), *MEMORY.glob(f"{_PREFIX}*")):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


_INIT_FAILED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init"
)


def _cannot_run(name: str, why: str) -> str:
    return f'{_INIT_FAILED}: exec: "{name}": {why}: unknown'


def _not_created(error: OSError) -> str:
    why = (error.strerror or str(error)).lower()
    return f'{_INIT_FAILED}: error mounting "{error.filename}": {why}: unknown'

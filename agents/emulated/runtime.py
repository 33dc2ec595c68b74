"""The emulated runtime: containers that follow behaviour profiles instead of running programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents import images
from agents.behaviour import ANNOTATION, BehaviourError, Crash, Library, Profile, overrides_for
from agents.disk import MemoryDisk
from agents.emulated import shell
from agents.emulated.container import EmulatedContainer
from agents.emulated.entrypoints import command_of, mounts_documents
from agents.network import Network
from agents.runtime import Exit, ImageError, Launch, PulledImage
from agents.shelf import Shelf
from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api.objects import Object

NAME = "emulated"
VERSION = "1.0.0"
WITHOUT_FILES = ("sleep", "true", "false", "echo", "/bin/sleep", "/bin/true", "/bin/false", "/bin/echo")
CANNOT_RUN = 128
"""The exit code that the kubelet shows for a container that could not be run."""


class EmulatedRuntime:
    """Implements `agents.runtime.Runtime`."""

    def __init__(
        self, network: Network, library: Library, *, clock: Clock, chance: Chance, shelf: Shelf | None = None
    ) -> None:
        self._network = network
        self._library = library
        self._clock = clock
        self._chance = chance
        self._tasks = Tasks()
        self._disk = MemoryDisk(shelf if shelf is not None else Shelf())
        self._images: dict[str, int] = {}
        self._crashed: dict[tuple[str, str], str] = {}
        """(pod uid, container) → the id of the last one-shot crash that happened or was skipped."""

    async def pull(self, image: str, *, pod: Object) -> PulledImage:
        if not images.valid(image):
            why = f'couldn\'t parse image name "{image}": invalid reference format'
            raise ImageError("InvalidImageName", f'Failed to apply default image tag "{image}": {why}')
        profile = self._profile(image, pod)
        if profile.pull_s:
            await asyncio.sleep(profile.pull_s)
        if profile.pull_error is not None:
            raise ImageError(profile.pull_error.reason, profile.pull_error.message)
        self._images[images.full_reference(image)] = profile.image_size_bytes
        return PulledImage(id=images.image_id(image), size_bytes=profile.image_size_bytes)

    def _profile(self, image: str, pod: Object) -> Profile:
        """The image's profile for the pull: what the pod says of a container with this image counts."""
        profile = self._library.of(image)
        annotation = pod["metadata"].get("annotations", {}).get(ANNOTATION)
        if not annotation:
            return profile
        spec = pod["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            if container.get("image") == image:
                try:
                    return profile.with_(overrides_for(annotation, container["name"]))
                except BehaviourError:
                    return profile  # reported when the container is configured
        return profile

    def choose(self, pod: Object, handler: str) -> bool:
        return True

    def disk(self, pod: Object) -> MemoryDisk:
        return self._disk

    def runs_as_root(self, image: str, pod: Object) -> bool:
        return self._library.of(image).user == 0

    def needs_files(self, launch: Launch) -> bool:
        """Scripts do, unless they obviously don't."""
        profile = self._library.of(launch.container.get("image", ""))
        command = command_of(launch, profile)
        if not command and mounts_documents(launch, profile):
            return True
        return shell.understands(command) and command[0] not in WITHOUT_FILES

    def has_image(self, image: str) -> bool:
        return images.full_reference(image) in self._images

    def images(self) -> list[Object]:
        return [
            {"names": [images.image_id(name), name], "sizeBytes": size} for name, size in self._images.items()
        ]

    async def start(self, launch: Launch, on_exit: Callable[[Exit], None]) -> EmulatedContainer:
        identity = f"{NAME}://" + (self._chance.uuid() + self._chance.uuid()).replace("-", "")
        container = EmulatedContainer(
            identity,
            launch,
            self._library.of(launch.container.get("image", "")),
            network=self._network,
            clock=self._clock,
            tasks=self._tasks,
            on_exit=on_exit,
            crash_due=self._crash_due,
        )
        failure = container.profile.start_error
        if failure is not None:
            raise RuntimeError(failure.message)
        container.run()
        return container

    def _crash_due(self, launch: Launch, crash: Crash, ordered: bool) -> bool:
        """Once per id. What a restarted machine finds on a pod that ran before has happened already."""
        who = (launch.pod["metadata"]["uid"], launch.container["name"])
        known = self._crashed.get(who)
        self._crashed[who] = crash.id
        return known != crash.id and (ordered or known is not None)

    def forget(self, uid: str) -> None:
        for who in [who for who in self._crashed if who[0] == uid]:
            del self._crashed[who]
        self._disk.discard(uid)

    async def failed(self) -> None:
        """Waits for a bug in a task of the runtime's, and raises it."""
        await self._tasks.failed()

    async def close(self) -> None:
        await self._tasks.close()

"""Two runtimes as one: each pod has its containers run by the one that it chose.

A pod chooses with the annotation `kubemu.dev/runtime: process`, or with a RuntimeClass whose handler is that
runtime; the others are emulated. Handlers that clusters usually have configured (`runc`, and the one that
RuntimeClasses are tested with) are those of the default runtime too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.disk import Disk
from agents.runtime import Container, Exit, Launch, PulledImage, Runtime
from broker.supervision import Tasks
from cluster.api.objects import Object

ANNOTATION = "kubemu.dev/runtime"
DEFAULT_HANDLERS = ("", "emulated", "runc", "test-handler")


class ChosenRuntime:
    """Implements `agents.runtime.Runtime`. The others are made when the first pod wants them."""

    def __init__(self, default: Runtime, others: Mapping[str, Callable[[], Runtime]]) -> None:
        self._default = default
        self._others = others
        self._made: dict[str, Runtime] = {}
        self._tasks = Tasks()
        self._chosen: dict[str, str] = {}
        """Pod uid → the other runtime that its RuntimeClass names."""

    def choose(self, pod: Object, handler: str) -> bool:
        if handler in self._others:
            self._chosen[pod["metadata"]["uid"]] = handler
            return True
        return handler in DEFAULT_HANDLERS

    def of(self, pod: Object) -> Runtime:
        annotations = pod["metadata"].get("annotations")
        wanted = annotations.get(ANNOTATION) if annotations else None
        wanted = wanted or self._chosen.get(pod["metadata"]["uid"])
        if not wanted or wanted not in self._others:
            return self._default
        if wanted not in self._made:
            runtime = self._made[wanted] = self._others[wanted]()
            self._tasks.start(f"runtime {wanted}", runtime.failed())
        return self._made[wanted]

    def _all(self) -> list[Runtime]:
        return [self._default, *self._made.values()]

    def disk(self, pod: Object) -> Disk:
        return self.of(pod).disk(pod)

    def runs_as_root(self, image: str, pod: Object) -> bool:
        return self.of(pod).runs_as_root(image, pod)

    def needs_files(self, launch: Launch) -> bool:
        return self.of(launch.pod).needs_files(launch)

    async def pull(self, image: str, *, pod: Object) -> PulledImage:
        return await self.of(pod).pull(image, pod=pod)

    def has_image(self, image: str) -> bool:
        return any(runtime.has_image(image) for runtime in self._all())

    def images(self) -> list[Object]:
        """Without repetitions."""
        if not self._made:
            return self._default.images()
        found = {image["names"][-1]: image for runtime in self._all()[::-1] for image in runtime.images()}
        return list(found.values())

    async def start(self, launch: Launch, on_exit: Callable[[Exit], None]) -> Container:
        return await self.of(launch.pod).start(launch, on_exit)

    def forget(self, uid: str) -> None:
        self._chosen.pop(uid, None)
        for runtime in self._all():
            runtime.forget(uid)

    async def failed(self) -> None:
        self._tasks.start("default runtime", self._default.failed())
        await self._tasks.failed()

    async def close(self) -> None:
        for runtime in self._all():
            await runtime.close()
        await self._tasks.close()

"""One pod's volumes: made when a container first needs them, and kept up to date from then on.

An emulated container that nobody looks into needs no files, and a node may have a hundred of them: so
nothing is written before `prepare`, which a runtime asks for. From then on the pod actor calls `refresh`
when an object changed, and `rotate_in_s` says when tokens have to be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from agents.atomicwriter import publish
from agents.disk import Disk, WrongKind
from agents.environment import ConfigProblem, expand, references
from agents.files import Files
from agents.host import Host
from agents.runtime import Mount
from agents.volumes import MountProblem, TokenSpec, contents, fs_group, made_of_objects, tokens_of
from broker.clock import Clock
from cluster.api.objects import Object

ROTATE_AT = 0.8
"""A token is replaced when this share of its life is over, as in the kubelet."""
ROTATE_RETRY_S = 10.0


def sub_path(mount: Object, variables: Mapping[str, str]) -> str:
    """Of the volume what is mounted; empty: all. Raises ConfigProblem where an expression has no value or
    leads out of the volume, which the API can't see in it."""
    expression = mount.get("subPathExpr")
    if not expression:
        return str(mount.get("subPath", ""))
    missing = sorted({name for name in references(expression) if not variables.get(name)})
    if missing:
        raise ConfigProblem(f"missing value for {', '.join(missing)}")
    path = expand(expression, variables)
    if path.startswith("/"):
        raise ConfigProblem(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ConfigProblem(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


class PodVolumes:
    """All volumes of a pod; `ContainerVolumes` is what a container sees of them."""

    def __init__(self, pod: Object, host: Host, disk: Disk, clock: Clock) -> None:
        self.pod = pod
        self.ip = ""
        self._host = host
        self._disk = disk
        self._clock = clock
        self._tokens: dict[TokenSpec, str] = {}
        self._rotate_at: datetime | None = None
        self.prepared = False
        self._written = 0

    async def prepare(self) -> None:
        """Everything that mounts need is there when this returns. Raises MountProblem."""
        if self.prepared:
            return
        await self._fetch_tokens()
        self.prepared = True
        self._give_to_group()
        self.refresh()

    async def rotate(self) -> None:
        """New tokens. Raises MountProblem; the old ones stay then."""
        await self._fetch_tokens()
        self.refresh()

    def rotate_in_s(self, now: datetime) -> float | None:
        """When `rotate` is due; None without tokens."""
        if self._rotate_at is None:
            return None
        return max((self._rotate_at - now).total_seconds(), 0.0)

    async def _fetch_tokens(self) -> None:
        volumes = self.pod["spec"].get("volumes", ())
        for volume in volumes:
            for wanted in tokens_of(volume):
                try:
                    token, expires = await self._host.token(self.pod, wanted.audience, wanted.expires_s)
                except TimeoutError as error:
                    self._rotate_at = self._clock.now() + timedelta(seconds=ROTATE_RETRY_S)
                    why = f"failed to fetch token: {error}"
                    name = volume["name"]
                    raise MountProblem(f'MountVolume.SetUp failed for volume "{name}" : {why}') from error
                self._tokens[wanted] = token
                life_s = (expires - self._clock.now()).total_seconds()
                self._rotate_at = self._clock.now() + timedelta(seconds=life_s * ROTATE_AT)

    def refresh(self) -> None:
        """Writes what changed. What can't be made any more keeps its last contents."""
        if not self.prepared:
            return
        place = self._host.place(self.ip)
        for volume in self.pod["spec"].get("volumes", ()):
            if not made_of_objects(volume):
                continue
            files = self._disk.volume(self.pod["metadata"]["uid"], volume["name"])
            try:
                found = dict(contents(volume, self.pod, place, self._host.lookup, self._tokens))
            except (MountProblem, ConfigProblem):
                continue
            self._written += 1
            stamp = f"{self._clock.now():%Y_%m_%d_%H_%M_%S}.{self._written}"
            publish(files, found, stamp, fs_group(self.pod))

    def mounts(self, container: Object, variables: Mapping[str, str]) -> Sequence[Mount]:
        """Of one container."""
        volumes = {volume["name"]: volume for volume in self.pod["spec"].get("volumes", ())}
        found = []
        for mount in container.get("volumeMounts", ()):
            volume = volumes.get(mount["name"])
            if volume is None:
                continue
            part = sub_path(mount, variables)
            if "hostPath" in volume:
                part = "/".join(filter(None, (self._disk.host(volume["hostPath"]["path"])[1], part)))
            found.append(
                Mount(
                    path=mount["mountPath"],
                    files=self._files(volume),
                    sub_path=part,
                    read_only=bool(mount.get("readOnly")) or made_of_objects(volume),
                )
            )
        return found

    def problem(self) -> str:
        """What of the volumes can't be had yet, worded as the FailedMount event: a claim without its volume,
        a hostPath where something else is than the volume says."""
        return self._unbound_claim() or self._wrong_host_path()

    def _unbound_claim(self) -> str:
        namespace = self.pod["metadata"]["namespace"]
        for volume in self.pod["spec"].get("volumes", ()):
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            found = self._host.lookup("PersistentVolumeClaim", namespace, claim) if claim else None
            if found is not None and not found["spec"].get("volumeName"):
                name, why = volume["name"], f"error processing PVC {namespace}/{claim}: PVC is not bound"
                lists = (
                    f"unmounted volumes=[{name}], unattached volumes=[], failed to process volumes=[{name}]"
                )
                return f"Unable to attach or mount volumes: {lists}: {why}"
        return ""

    def _wrong_host_path(self) -> str:
        for volume in self.pod["spec"].get("volumes", ()):
            if "hostPath" in volume:
                path, type = volume["hostPath"]["path"], volume["hostPath"].get("type") or ""
                try:
                    self._disk.claim_host_path(path, type)
                except WrongKind as wrong:
                    why = f"hostPath type check failed: {wrong}"
                    return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}'
        return ""

    def _give_to_group(self) -> None:
        """Volumes that the pod writes to belong to its group, and so does what is made in them."""
        group = fs_group(self.pod)
        if group is None:
            return
        for volume in self.pod["spec"].get("volumes", ()):
            if "hostPath" in volume or made_of_objects(volume):
                continue
            files = self._files(volume)
            files.chown("/", -1, group)
            files.chmod("/", files.stat("/").mode | 0o2770)

    def own_file(self, volume: str, path: str) -> bytes:
        """Of an emptyDir. Raises OSError."""
        found = next((v for v in self.pod["spec"].get("volumes", ()) if v["name"] == volume), None)
        if found is None:
            raise FileNotFoundError(path)
        return self._files(found).read(path)

    def _files(self, volume: Object) -> Files:
        meta = self.pod["metadata"]
        if "hostPath" in volume:
            return self._disk.host(volume["hostPath"]["path"])[0]
        claim = volume.get("persistentVolumeClaim")
        if claim is not None:
            return self._persistent(claim["claimName"])
        if "ephemeral" in volume:
            return self._persistent(f"{meta['name']}-{volume['name']}")
        in_memory = (volume.get("emptyDir") or {}).get("medium") == "Memory"
        return self._disk.volume(meta["uid"], volume["name"], in_memory=in_memory)

    def _persistent(self, claim: str) -> Files:
        """By the name of the bound volume; by the claim's, where the node was not told of it."""
        meta = self.pod["metadata"]
        found = self._host.lookup("PersistentVolumeClaim", meta["namespace"], claim)
        volume = found["spec"].get("volumeName") if found is not None else None
        return self._disk.persistent(volume or f"{meta['namespace']}/{claim}", meta["uid"])


class ContainerVolumes:
    """Implements `agents.runtime.Volumes`."""

    __slots__ = ("_container", "_pod", "_variables")

    def __init__(self, pod: PodVolumes, container: Object, variables: Mapping[str, str]) -> None:
        self._pod = pod
        self._container = container
        self._variables = variables

    async def prepare(self) -> None:
        await self._pod.prepare()

    def mounts(self) -> Sequence[Mount]:
        return self._pod.mounts(self._container, self._variables)

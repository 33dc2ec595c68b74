"""The root of an emulated container's files, and what it sees of its pod: made when somebody first looks."""

from __future__ import annotations

from errno import ENOTDIR

from agents.emulated.world import HostPort, World
from agents.etcfiles import etc_files, hostname
from agents.files import MemoryFile, MemoryFiles, exists
from agents.network import Network
from agents.runtime import Launch
from broker.clock import Clock
from cluster.api import quantity
from cluster.api.objects import Object

_DIRECTORIES = (
    "/bin", "/dev", "/etc", "/home", "/mnt", "/opt", "/proc", "/root", "/sbin", "/tmp", "/usr/bin",
    "/usr/local/bin", "/var/log", "/var/run",
)  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def user_of(pod: Object, container: Object) -> tuple[int, int, list[int]]:
    """User, group and further groups, by the security contexts."""
    outer = pod["spec"].get("securityContext") or {}
    inner = container.get("securityContext") or {}
    groups = list(outer.get("supplementalGroups") or ())
    if "fsGroup" in outer:
        groups.append(outer["fsGroup"])
    user = inner.get("runAsUser", outer.get("runAsUser", 0))
    return user, inner.get("runAsGroup", outer.get("runAsGroup", 0)), groups


def world_of(launch: Launch, network: Network, clock: Clock) -> World:
    """With nothing mounted yet."""
    files = MemoryFiles()
    for path in _DIRECTORIES:
        files.make_directory(path, parents=True)
    files.chmod("/tmp", 0o1777)
    files.write("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    files.write("/etc/group", b"root:x:0:\n")
    files.write("/dev/null", b"", mode=0o666)
    for path, text in etc_files(launch.pod, launch.place).items():
        files.write(path, text.encode())
    user, group, groups = user_of(launch.pod, launch.container)
    directory = launch.container.get("workingDir") or "/"
    files.make_directory(directory, parents=True)
    limits = (launch.container.get("resources") or {}).get("limits") or {}
    variables = {"PATH": _PATH, "HOSTNAME": hostname(launch.pod), "HOME": "/root" if user == 0 else "/"}
    security = launch.container.get("securityContext") or {}
    return World(
        environment={**variables, **launch.environment},
        hostname=hostname(launch.pod),
        now=clock.now,
        files=files,
        directory=directory,
        user=user,
        group=group,
        groups=groups,
        memory_limit=quantity.parse(limits["memory"]).value() if "memory" in limits else None,
        network=network,
        place=launch.place,
        resolve=launch.resolve,
        host_ports=_host_ports(launch),
        memory_mounts=_memory_mounts(launch.pod, launch.container),
        sysctls=_sysctls(launch.pod),
        escalates=security.get("allowPrivilegeEscalation") is not False,
        network_admin=_administers(launch.container.get("securityContext") or {}),
    )


def _sysctls(pod: Object) -> dict[str, str]:
    asked = (pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    return {sysctl["name"].replace("/", "."): sysctl["value"] for sysctl in asked}


def _administers(security: Object) -> bool:
    added = (security.get("capabilities") or {}).get("add") or ()
    return bool(security.get("privileged")) or "NET_ADMIN" in added or "ALL" in added


def _host_ports(launch: Launch) -> list[HostPort]:
    if launch.pod["spec"].get("hostNetwork"):
        return []
    return [
        HostPort(
            ip=port.get("hostIP") or launch.place.host_ip,
            host_port=port["hostPort"],
            port=port["containerPort"],
            protocol=port.get("protocol", "TCP"),
        )
        for port in launch.container.get("ports", ())
        if port.get("hostPort") and launch.place.host_ip
    ]


def _memory_mounts(pod: Object, container: Object) -> list[str]:
    volumes = pod["spec"].get("volumes") or ()
    names = [v["name"] for v in volumes if (v.get("emptyDir") or {}).get("medium") == "Memory"]
    return [mount["mountPath"] for mount in container.get("volumeMounts") or () if mount["name"] in names]


def mount_volumes(world: World, launch: Launch) -> None:
    """What the pod's volumes hold is from now on seen, as far as it is there. Raises RuntimeError."""
    for mount in launch.volumes.mounts():
        files = mount.files
        assert isinstance(files, MemoryFiles)
        if mount.sub_path and not exists(files, mount.sub_path):
            files.make_directory(mount.sub_path, parents=True)
        node = files.node(mount.sub_path or "/")
        try:
            world.files.mount(mount.path, node, read_only=mount.read_only)
        except OSError as error:
            why = "cannot create subdirectories in" if error.errno == ENOTDIR else "not a directory:"
            raise RuntimeError(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
                f'error mounting to rootfs at "{mount.path}": {why} "{mount.path}"'
            ) from error
    path = launch.container.get("terminationMessagePath") or "/dev/termination-log"
    world.files.make_directory(path.rpartition("/")[0] or "/", parents=True)
    if not exists(world.files, path):
        # a file of its own, which can be written where the root can't
        world.files.mount(path, MemoryFile(mode=0o666), read_only=False)
    security = launch.container.get("securityContext") or {}
    world.files.root_read_only = bool(security.get("readOnlyRootFilesystem"))

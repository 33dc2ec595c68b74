"""How a container's process is set apart from the machine: mount, process, host name and IPC namespaces.

The process sees the machine's own programs under a root of its own: a directory whose entries are links into
`/.host`, where the machine's root is mounted to be read, with own /etc, /tmp, /run, /root and /var, and the
volumes mounted at their paths. Everything is undone by the end of the namespace; nothing of the machine is
written, but through hostPath volumes and, in privileged containers, devices. Root has the capabilities that a
runtime gives by default, as the container's security context changes them.

Where the machine grants no namespaces (no root, no user namespaces) processes run directly on it: the same
directory stands in `KUBEMU_ROOT`, volumes are links in it, and the working directory is inside. That is an
emulation of a container, not a protection from it. Divergence: the network is the machine's own in any case;
`KUBEMU_POD_IP` tells the address to listen on, and sysctls of the network are not set. Users and capabilities
need an agent with root. seccomp, AppArmor and SELinux options have no effect.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.files import DirectoryFiles
from agents.runtime import Mount
from cluster.api.objects import Object

HOST = ".host"
_OWN = ("etc", "var", "var/cache", "var/lib", "var/log", "dev", "root", "home", "mnt", "opt", "srv")
"""Directories made of links, so that single files in them can differ and new ones be made."""
DEFAULT_CAPABILITIES = (
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service",
    "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap",
)  # fmt: skip
"""Of root in a container, as containerd grants them."""
OWN_SYSCTLS = ("kernel.shm_rmid_forced",)
"""Those that belong to a namespace which containers have for themselves."""
_EMPTY = {"tmp": 0o1777, "run": 0o755, "proc": 0o555, HOST: 0o755}
TRIAL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose process it is."""

    user: int = 0
    group: int = 0
    groups: Sequence[int] = ()
    capabilities: Sequence[str] | None = None
    """What root in the container can have at most; None: everything."""
    no_new_privileges: bool = False


@cache
def unsharing() -> tuple[str, ...]:
    """The command that opens the namespaces; empty where the machine does not grant them."""
    wanted = ("--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL")
    if shutil.which("unshare") is None or shutil.which("nsenter") is None or shutil.which("setpriv") is None:
        return ()
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    trial = ["unshare", *user, *wanted, "mount", "--rbind", "/", "/mnt"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=TRIAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return ("unshare", *user, *wanted) if done.returncode == 0 else ()


class Root:
    """A container's root directory."""

    def __init__(
        self, path: Path, *, read_only: bool = False, sysctls: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self._read_only = read_only
        self._sysctls = {name: value for name, value in (sysctls or {}).items() if name in OWN_SYSCTLS}
        self._binds: list[tuple[Path, Path, bool]] = []
        self.joining: Sequence[str] = ()
        """Steps of a shell: they make it a member of the container's control groups."""

    def make(self, files: dict[str, str]) -> None:
        """`files`: path → text, of the container's own."""
        self.path.mkdir(parents=True)
        for name in sorted(os.listdir("/")):
            if name not in _EMPTY:
                (self.path / name).symlink_to(f"/{HOST}/{name}")
        for name, mode in _EMPTY.items():
            (self.path / name).mkdir()
            (self.path / name).chmod(mode)
        for name in _OWN:
            if Path("/", name).is_dir():
                self._claim(f"/{name}")
        for path, text in files.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> Path:
        place = self._claim(os.path.dirname(path)) / os.path.basename(path)
        place.unlink(missing_ok=True)
        place.write_text(text)
        return place

    def write_always(self, path: str) -> Path:
        """An empty file that the container can write even where its root is read-only."""
        place = self.write(path, "")
        place.chmod(0o666)
        if self._read_only and unsharing():
            self._binds.append((place, place, False))
        return place

    def mount(self, mount: Mount) -> None:
        """Books a volume. What it hides in the machine's directories is hidden for this container only."""
        assert isinstance(mount.files, DirectoryFiles)
        source = mount.files.real(mount.sub_path or "/").resolve()
        if not source.exists():
            source.mkdir(parents=True)
        place = self._claim(os.path.dirname(os.path.normpath(mount.path))) / os.path.basename(
            os.path.normpath(mount.path)
        )
        if place.is_symlink():
            place.unlink()
        if not unsharing():
            if place.is_dir():
                shutil.rmtree(place)
            place.symlink_to(source)
        elif source.is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        self._binds.append((source, place, mount.read_only))

    def ensure(self, path: str) -> None:
        """A directory that the machine may have already."""
        if not Path(path).is_dir():
            self._claim(path)

    def directory(self, path: str) -> Path:
        """A directory that is there afterwards."""
        return self._claim(path)

    def _claim(self, path: str, links: int = 0) -> Path:
        """Makes every directory on the way the container's own, filled with links to the machine's."""
        parts = [part for part in path.split("/") if part]
        here = self.path
        for position, part in enumerate(parts):
            place = here / part
            if place.is_symlink():
                target = os.readlink(place)
                real = (
                    Path("/") / target.removeprefix(f"/{HOST}/") if target.startswith(f"/{HOST}/") else None
                )
                if real is None or (real.is_symlink() and links < 40):
                    link = target if real is None else os.readlink(real)
                    inner = os.path.join("/", *parts[:position], link, *parts[position + 1 :])
                    return self._claim(os.path.normpath(inner), links + 1)
                place.unlink()
                place.mkdir()
                if real.is_dir():
                    for name in sorted(os.listdir(real)):
                        (place / name).symlink_to(f"/{HOST}{real}/{name}")
            elif not place.exists():
                place.mkdir()
            here = place
        return here

    def used(self) -> int:
        """Bytes of the container's own files."""
        total = 0
        for folder, names, files in os.walk(self.path):
            names[:] = [name for name in names if name not in (HOST, "proc")]
            mounted = [place.name for _, place, _ in self._binds if str(place.parent) == folder]
            names[:] = [name for name in names if name not in mounted]
            for name in files:
                try:
                    found = os.lstat(os.path.join(folder, name))
                except OSError:
                    continue  # gone meanwhile
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
        return total

    def command(
        self, words: Sequence[str], directory: str, identity: Identity, hostname: str, tty: bool
    ) -> list[str]:
        """What is run on the machine to run `words` in the container."""
        if not unsharing():
            return _on_terminal(words, tty)
        root = shlex.quote(str(self.path))
        steps = [
            *self.joining,
            f"hostname {shlex.quote(hostname)} 2>/dev/null || :",
            f"mount --bind {root} {root}",
            f"mount --rbind / {root}/{HOST}",
            f"mount -o remount,bind,ro {root}/{HOST} 2>/dev/null || :",
            f"mount -t proc proc {root}/proc 2>/dev/null || mount --rbind /proc {root}/proc",
        ]
        for name, value in self._sysctls.items():
            steps.append(f"echo {shlex.quote(value)} > {root}/proc/sys/{name.replace('.', '/')} || :")
        for source, place, read_only in self._binds:
            steps.append(f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(place))}")
            if read_only:
                steps.append(f"mount -o remount,bind,ro {shlex.quote(str(place))}")
        if self._read_only:
            steps.append(f"mount -o remount,bind,ro {root}")
        inner = ["chroot", str(self.path), *_as(identity), *_inside(directory, words, tty)]
        script = "\n".join(["set -e", *steps, f"exec {shlex.join(inner)}"])
        return ["setpriv", "--pdeathsig", "KILL", *unsharing(), "sh", "-c", script]

    def entering(
        self, pid: int, words: Sequence[str], directory: str, identity: Identity, tty: bool
    ) -> list[str]:
        """As `command`, into the namespaces of a process that runs there."""
        if not unsharing():
            return _on_terminal(words, tty)
        user = ["--user", "--preserve-credentials"] if os.geteuid() != 0 else []
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--root", "--wd"]
        enter = ["nsenter", "--target", str(pid), *user, *spaces]
        return ["setpriv", "--pdeathsig", "KILL", *enter, *_as(identity), *_inside(directory, words, tty)]


def _as(identity: Identity) -> list[str]:
    """Also dies with the process outside that waits for it."""
    own: list[str] = []
    if os.geteuid() == 0 and (identity.user or identity.group or identity.groups):
        groups = ",".join(map(str, identity.groups))
        extra = ["--groups", groups] if groups else ["--clear-groups"]
        own = ["--reuid", str(identity.user), "--regid", str(identity.group), *extra]
    if os.geteuid() == 0 and identity.capabilities is not None:
        known = _known_capabilities()
        kept = ",".join(f"+{name}" for name in identity.capabilities if name in known)
        own += ["--inh-caps=-all", f"--bounding-set=-all,{kept}" if kept else "--bounding-set=-all"]
    if identity.no_new_privileges:
        own.append("--no-new-privs")
    return ["setpriv", *own, "--pdeathsig", "KILL"]


@cache
def _known_capabilities() -> frozenset[str]:
    """Of this kernel and this setpriv."""
    done = subprocess.run(["setpriv", "--list-caps"], capture_output=True, text=True, check=False)
    return frozenset(done.stdout.split())


def capabilities_of(security: Object) -> Sequence[str] | None:
    """By a container's security context; None for a privileged one."""
    if security.get("privileged"):
        return None
    asked = security.get("capabilities") or {}
    added = [_plain(name) for name in asked.get("add") or ()]
    dropped = {_plain(name) for name in asked.get("drop") or ()}
    if "all" in added:
        return [name for name in sorted(_known_capabilities()) if name not in dropped]
    kept = [] if "all" in dropped else [name for name in DEFAULT_CAPABILITIES if name not in dropped]
    return list(dict.fromkeys((*kept, *added)))


def _plain(name: str) -> str:
    return name.lower().removeprefix("cap_")


def _inside(directory: str, words: Sequence[str], tty: bool) -> list[str]:
    return ["sh", "-c", 'cd "$0" && exec "$@"', directory, *_on_terminal(words, tty)]


def _on_terminal(words: Sequence[str], tty: bool) -> list[str]:
    """Job control needs a session that the process itself can see."""
    return ["setsid", "--ctty", *words] if tty else list(words)

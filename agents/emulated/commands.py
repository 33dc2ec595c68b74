"""The commands of the small shell: what belongs to the shell itself and the system; others by subject.

Their options are those that manifests use; output and errors are worded as busybox words them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.emulated import awk, datacommands, filecommands, lookups, netcommands, sockets, textcommands
from agents.emulated.agnhost import agnhost
from agents.emulated.agnhost.mounttest import mounttest
from agents.emulated.consumer import resource_consumer
from agents.emulated.sampleapi import sample_apiserver
from agents.emulated.syntax import parse
from agents.emulated.textcommands import Command, options
from agents.emulated.world import FOREVER_S, Ended, Leave, Run, Sleep, err, out
from agents.files import exists

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

_SUFFIX_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}


def _sleep(shell: Shell, words: list[str]) -> Run:
    seconds = 0.0
    for word in words:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", word)
        if match is None and word not in ("inf", "infinity"):
            yield err(f"sleep: invalid number '{word}'\n")
            return 1
        seconds += FOREVER_S if match is None else float(match[1]) * _SUFFIX_S[match[2] or "s"]
    yield Sleep(seconds)
    return 0


def _exit(shell: Shell, words: list[str]) -> Run:
    yield from ()
    raise Ended(int(words[0]) & 255 if words and words[0].isdigit() else shell.status)


def _leaves(kind: str) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        yield from ()
        given = int(words[0]) if words and words[0].isdigit() else None
        default = shell.status if kind == "return" else 1
        raise Leave(kind, default if given is None else given)

    return command


def _env(shell: Shell, words: list[str]) -> Run:
    rest = list(words)
    extra: dict[str, str] = {}
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        name, equals, value = rest.pop(0).partition("=")
        if equals:
            extra[name] = value
    if rest:
        inner = shell.child()
        inner.variables.update(extra)
        inner.exported.update(dict.fromkeys(extra))
        return (yield from inner.execute(rest))
    shown = {name: shell.variables[name] for name in shell.exported if name in shell.variables} | extra
    yield out("".join(f"{name}={value}\n" for name, value in shown.items()))
    return 0


def _printenv(shell: Shell, words: list[str]) -> Run:
    if not words:
        return (yield from _env(shell, []))
    found = [shell.variables[word] for word in words if word in shell.exported and word in shell.variables]
    yield out("".join(f"{value}\n" for value in found))
    return 0 if len(found) == len(words) else 1


def _export(shell: Shell, words: list[str]) -> Run:
    yield from ()
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value
        shell.exported[name] = None
    return 0


def _unset(shell: Shell, words: list[str]) -> Run:
    yield from ()
    for word in words:
        shell.variables.pop(word, None)
        shell.exported.pop(word, None)
    return 0


def _set(shell: Shell, words: list[str]) -> Run:
    yield from ()
    for at, word in enumerate(words):
        if word == "--":
            shell.arguments = words[at + 1 :]
            break
        if word[0] in "-+" and "e" in word and not word.startswith(("-o", "+o")):
            shell.stops_at_errors = word[0] == "-"
    return 0


def _shift(shell: Shell, words: list[str]) -> Run:
    yield from ()
    shell.arguments = shell.arguments[int(words[0]) if words and words[0].isdigit() else 1 :]
    return 0


def _read(shell: Shell, words: list[str]) -> Run:
    _, names = options(words, "tpn")
    line = yield from shell.read_line()
    names = names or ["REPLY"]
    values = (
        (line or "").rstrip("\n").split(maxsplit=len(names) - 1) if len(names) > 1 else [(line or "").strip()]
    )
    for position, name in enumerate(names):
        shell.variables[name] = values[position] if position < len(values) else ""
    return 0 if line is not None else 1


def _cd(shell: Shell, words: list[str]) -> Run:
    target = words[0] if words else shell.variables.get("HOME", "/")
    path = shell.path(target)
    try:
        if shell.world.files.stat(path).kind != "directory":
            raise NotADirectoryError(20, "Not a directory")
    except OSError as error:
        yield err(f"sh: cd: can't cd to {target}: {error.strerror}\n")
        return 1
    shell.directory = path
    return 0


def _exec(shell: Shell, words: list[str]) -> Run:
    if not words:
        return 0
    code = yield from shell.execute(words)
    raise Ended(code)


def _runs(skip: int) -> Command:
    """A command that runs the rest of its words: nohup, time, timeout …"""

    def command(shell: Shell, words: list[str]) -> Run:
        rest = words[skip:]
        return (yield from shell.execute(rest)) if rest else 0

    return command


def _eval(shell: Shell, words: list[str]) -> Run:
    return (yield from shell.run(parse(" ".join(words))))


def _trap(shell: Shell, words: list[str]) -> Run:
    yield from ()
    if len(words) > 1 and any(w in ("TERM", "SIGTERM", "15", "EXIT", "0") for w in words[1:]):
        shell.world.trap = None if words[0] == "-" else words[0]
    return 0


def _kill(shell: Shell, words: list[str]) -> Run:
    number = 15
    code = 1
    for at, word in enumerate(words):
        if word.startswith("-") and word != "--":
            name = words[at + 1] if word == "-s" and at + 1 < len(words) else word[1:]
            name = name.removeprefix("SIG")
            number = int(name) if name.isdigit() else _SIGNALS.get(name, 15)
        elif word == "1" and shell.world.signal is not None:
            shell.world.signal(number)
            code = 0
    yield from ()
    return code


def _ps(shell: Shell, words: list[str]) -> Run:
    user = "root" if shell.world.user == 0 else str(shell.world.user)
    yield out("PID   USER     TIME  COMMAND\n")
    yield out(f"    1 {user:<8}  0:00 {shell.world.main}\n")
    yield out(f"    7 {user:<8}  0:00 {shlex.join(['ps', *words])}\n")
    return 0


def _id(shell: Shell, words: list[str]) -> Run:
    world = shell.world
    groups = [world.group, *(g for g in world.groups if g != world.group)]
    match words:
        case ["-u", *_]:
            text = str(world.user)
        case ["-g", *_]:
            text = str(world.group)
        case ["-G", *_]:
            text = " ".join(map(str, groups))
        case _:
            text = f"uid={_called(world.user)} gid={_called(world.group)} "
            text += f"groups={','.join(_called(group) for group in groups)}"
    yield out(f"{text}\n")
    return 0


def _nnp(shell: Shell, words: list[str]) -> Run:
    """The set-user-id program of an image that shows whether privileges can be gained."""
    yield out(f"Effective uid: {0 if shell.world.escalates else shell.world.user}\n")
    return 0


def _sysctl(shell: Shell, words: list[str]) -> Run:
    """Those that the pod set; others are 0."""
    code = 0
    for word in words:
        name, equals, _ = word.replace("/", ".").partition("=")
        if equals:
            yield err(f"sysctl: error setting key '{name}': Read-only file system\n")
            code = 1
        elif not name.startswith("-"):
            yield out(f"{name} = {shell.world.sysctls.get(name, '0')}\n")
    return code


def _uptime(shell: Shell, words: list[str]) -> Run:
    yield out(f" {shell.world.now():%H:%M:%S} up 1 day,  0 users,  load average: 0.00, 0.00, 0.00\n")
    return 0


def _called(number: int) -> str:
    return "0(root)" if number == 0 else str(number)


def _whoami(shell: Shell, words: list[str]) -> Run:
    if shell.world.user:
        yield err(f"whoami: unknown uid {shell.world.user}\n")
        return 1
    yield out("root\n")
    return 0


def _date(shell: Shell, words: list[str]) -> Run:
    _, rest = options(words, "dDr")
    wrong = next((word for word in rest if not word.startswith("+")), None)
    if wrong is not None:
        yield err(f"date: invalid date '{wrong}'\n")
        return 1
    form = next((word[1:] for word in rest), "%a %b %e %H:%M:%S UTC %Y")
    now = shell.world.now()
    form = form.replace("%s", str(int(now.timestamp()))).replace("%N", f"{now.microsecond:06d}000")
    yield out(now.strftime(form) + "\n")
    return 0


def _hostname(shell: Shell, words: list[str]) -> Run:
    if words == ["-i"]:
        yield out(f"{shell.world.place.pod_ip}\n")
    elif words == ["-f"]:
        found = ""
        if exists(shell.world.files, "/etc/hosts"):
            lines = shell.world.files.read("/etc/hosts").decode(errors="replace").splitlines()
            own = (line.split() for line in lines if line.startswith(shell.world.place.pod_ip))
            found = next((words[1] for words in own if len(words) > 1), "")
        yield out(f"{found or shell.world.hostname}\n")
    else:
        yield out(f"{shell.world.hostname}\n")
    return 0


def _uname(shell: Shell, words: list[str]) -> Run:
    yield out(f"Linux {shell.world.hostname} 6.1.0 #1 SMP x86_64 GNU/Linux\n" if "-a" in words else "Linux\n")
    return 0


def _stty(shell: Shell, words: list[str]) -> Run:
    if shell.world.terminal is None:
        yield err("stty: standard input: Not a tty\n")
        return 1
    columns, rows = shell.world.terminal
    yield out(f"{rows} {columns}\n" if words == ["size"] else "speed 38400 baud; line = 0;\n")
    return 0


def _tty(shell: Shell, words: list[str]) -> Run:
    yield out("/dev/pts/0\n" if shell.world.terminal is not None else "not a tty\n")
    return 0 if shell.world.terminal is not None else 1


def _which(shell: Shell, words: list[str]) -> Run:
    code = 0
    for word in words:
        if word in ("-v", "-V"):
            continue
        if word in COMMANDS or word in ("sh", "ash"):
            yield out(f"/bin/{word}\n")
        else:
            code = 1
    return code


def _expr(shell: Shell, words: list[str]) -> Run:
    text = yield from shell.capture(parse(f"echo $(({' '.join(words)}))"))
    yield out(text.decode())
    return 0 if text.strip() != b"0" else 1


def _xargs(shell: Shell, words: list[str]) -> Run:
    rest = (yield from shell.read_all()).decode(errors="surrogateescape").split()
    return (yield from shell.execute([*(words or ["echo"]), *rest]))


def _basename(shell: Shell, words: list[str]) -> Run:
    text = words[0].rstrip("/").rpartition("/")[2] if words else ""
    yield out((text.removesuffix(words[1]) if len(words) > 1 else text) + "\n")
    return 0


def _dirname(shell: Shell, words: list[str]) -> Run:
    yield out(((words[0].rstrip("/").rpartition("/")[0] if words else "") or ".") + "\n")
    return 0


def _yes(shell: Shell, words: list[str]) -> Run:
    """Bounded, since a pipe's stages run one after the other."""
    yield out((" ".join(words) or "y") + "\n")
    return 0


def _pwd(shell: Shell, words: list[str]) -> Run:
    yield out(f"{shell.directory}\n")
    return 0


def _says(text: Callable[[Shell], str]) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        yield out(text(shell) + "\n")
        return 0

    return command


def _returns(code: int) -> Command:
    def command(shell: Shell, words: list[str]) -> Run:
        yield from ()
        return code

    return command


COMMANDS: dict[str, Command] = {
    **textcommands.COMMANDS,
    **filecommands.COMMANDS,
    **netcommands.COMMANDS,
    **lookups.COMMANDS,
    **sockets.COMMANDS,
    **awk.COMMANDS,
    **datacommands.COMMANDS,
    ".": _returns(0),
    ":": _returns(0),
    "agnhost": agnhost,
    "agnhost-2": agnhost,
    "basename": _basename,
    "break": _leaves("break"),
    "cd": _cd,
    "clear": _returns(0),
    "command": _which,
    "continue": _leaves("continue"),
    "date": _date,
    "dirname": _dirname,
    "env": _env,
    "eval": _eval,
    "exec": _exec,
    "exit": _exit,
    "export": _export,
    "expr": _expr,
    "false": _returns(1),
    "hostname": _hostname,
    "id": _id,
    "kill": _kill,
    "kube-sample-apiserver": sample_apiserver,
    "local": _export,
    "mounttest": mounttest,
    "nnp": _nnp,
    "nohup": _runs(0),
    "nproc": _says(lambda shell: "1"),
    "printenv": _printenv,
    "ps": _ps,
    "pwd": _pwd,
    "read": _read,
    "resource-consumer": resource_consumer,
    "return": _leaves("return"),
    "set": _set,
    "shift": _shift,
    "sleep": _sleep,
    "stty": _stty,
    "sync": _returns(0),
    "sysctl": _sysctl,
    "time": _runs(0),
    "timeout": _runs(1),
    "trap": _trap,
    "true": _returns(0),
    "tty": _tty,
    "ulimit": _returns(0),
    "umask": _returns(0),
    "uname": _uname,
    "unset": _unset,
    "uptime": _uptime,
    "wait": _returns(0),
    "which": _which,
    "whoami": _whoami,
    "xargs": _xargs,
    "yes": _yes,
}

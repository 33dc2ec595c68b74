"""Commands of the small shell that ask for names as resolvers do: dig, nslookup, getent.

See `agents.emulated.netcommands.look_up` for who answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.emulated.netcommands import address_of, look_up
from agents.emulated.textcommands import Command, options
from agents.emulated.world import Run, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

TTL_S = 30
_TYPES = ("A", "AAAA", "ANY", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")


@dataclass
class _Question:
    name: str
    type: str = "A"
    flags: dict[str, bool] = field(default_factory=dict)


def _asked(words: list[str]) -> list[_Question]:
    """Flags before the first name hold for all, later ones for the name before them."""
    common: dict[str, bool] = {}
    asked: list[_Question] = []
    type = "A"
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word.startswith("+"):
            flag = word[1:].partition("=")[0]
            flags = asked[-1].flags if asked else common
            flags[flag.removeprefix("no")] = not flag.startswith("no")
        elif word == "-x" and queue:
            asked.append(_Question(ipaddress.ip_address(queue.pop(0)).reverse_pointer, "PTR", dict(common)))
        elif word == "-t" and queue:
            type = queue.pop(0).upper()
        elif word.upper() in _TYPES:
            if asked:
                asked[-1].type = word.upper()
            else:
                type = word.upper()
        elif not word.startswith(("@", "-")) and word != "IN":
            asked.append(_Question(word, type, dict(common)))
    return asked


def dig(shell: Shell, words: list[str]) -> Run:
    try:
        asked = _asked(words)
    except ValueError as error:
        yield out(f";; Got bad address: {error}\n")
        return 1
    for question in asked or [_Question(".", "NS")]:
        full, answers = question.name.rstrip("."), list[str]()
        if question.flags.get("search"):
            full, found = look_up(shell.world, question.name, question.type)
            answers = list(found)
        else:
            answers = list(shell.world.resolve(full, question.type))
        yield out(_shown(shell, question, full, answers))
    return 0


def _shown(shell: Shell, question: _Question, full: str, answers: Sequence[str]) -> str:
    flags = question.flags
    targets = [
        f"{a}." if question.type in ("CNAME", "PTR", "SRV") and not a.endswith(".") else a for a in answers
    ]
    if flags.get("short"):
        return "".join(f"{target}\n" for target in targets)
    lines = [f"{full}.\t\t{TTL_S}\tIN\t{question.type}\t{target}" for target in targets]
    if flags.get("all", True) is False:
        return "".join(f"{line}\n" for line in lines) if flags.get("answer") else ""
    status = "NOERROR" if answers else "NXDOMAIN"
    head = [
        "",
        f"; <<>> DiG 9.18 <<>> {question.name} {question.type}",
        ";; Got answer:",
        f";; ->>HEADER<<- opcode: QUERY, status: {status}, id: 1",
        f";; flags: qr aa rd; QUERY: 1, ANSWER: {len(lines)}, AUTHORITY: 0, ADDITIONAL: 1",
        "",
        ";; QUESTION SECTION:",
        f";{full}.\t\tIN\t{question.type}",
        "",
    ]
    body = [";; ANSWER SECTION:", *lines, ""] if lines else []
    server = shell.world.place.cluster_dns or "127.0.0.1"
    return "\n".join([*head, *body, f";; SERVER: {server}#53({server}) (UDP)", "", ""])


def nslookup(shell: Shell, words: list[str]) -> Run:
    _, rest = options(words)
    name = rest[0] if rest else ""
    server = shell.world.place.cluster_dns or "127.0.0.1"
    yield out(f"Server:\t\t{server}\nAddress:\t{server}:53\n\n")
    try:
        reverse = ipaddress.ip_address(name).reverse_pointer
    except ValueError:
        full, addresses = look_up(shell.world, name)
        answers = [f"Name:\t{full}\nAddress: {address}\n" for address in addresses]
    else:
        answers = [f"{reverse}\tname = {found}\n" for found in shell.world.resolve(reverse, "PTR")]
    if not answers:
        yield out(f"** server can't find {name}: NXDOMAIN\n\n")
        return 1
    yield out("".join(answers) + "\n")
    return 0


def getent(shell: Shell, words: list[str]) -> Run:
    name = words[-1] if words else ""
    ip = address_of(shell.world, name)
    if ip is None:
        return 2
    yield out(f"{ip:<15} {name}\n")
    return 0


COMMANDS: dict[str, Command] = {"dig": dig, "getent": getent, "nslookup": nslookup}

"""Commands of the small shell that fetch over the pod's network: wget, curl. And how names are looked up.

Names are looked up in /etc/hosts, then among the cluster's names as the DNS server has them
(`agents.services.names`), by the rules of the pod's /etc/resolv.conf. The server itself is not asked:
what the pod's node knows is what it would say.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agents import http
from agents.emulated.textcommands import Command, options, spaced
from agents.emulated.world import Ask, Run, World, Write, err, out, seen_from

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

PATIENCE_S = 30.0
_CURL_VALUES = ("connect-timeout", "max-time", "request", "data", "output", "retry", "write-out", "header")


def address_of(world: World, name: str) -> str | None:
    """Of an IP address itself, or of a name that /etc/hosts or the cluster's DNS knows."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    for words in _lines(world, "/etc/hosts"):
        if name in words[1:] and ":" not in words[0]:
            return words[0]
    _, addresses = look_up(world, name)
    return addresses[0] if addresses else None


def look_up(world: World, name: str, type: str = "A") -> tuple[str, Sequence[str]]:
    """The full name and its addresses, by the rules of /etc/resolv.conf: search domains, ndots, servers."""
    searches: list[str] = []
    servers: list[str] = []
    dots = 1
    for key, *values in _lines(world, "/etc/resolv.conf"):
        if key == "search":
            searches = values
        elif key == "nameserver":
            servers += values
        elif key == "options":
            given = [value.removeprefix("ndots:") for value in values if value.startswith("ndots:")]
            dots = next((int(text) for text in given if text.isdigit()), dots)
    if world.place.cluster_dns and world.place.cluster_dns not in servers:
        return name, ()
    candidates = [f"{name}.{domain}" for domain in searches]
    if name.endswith("."):
        candidates = [name[:-1]]
    elif name.count(".") >= dots:
        candidates.insert(0, name)
    else:
        candidates.append(name)
    for candidate in candidates:
        if addresses := world.resolve(candidate, type):
            return candidate, addresses
    return name, ()


def _lines(world: World, path: str) -> list[list[str]]:
    """The words of each line that has some."""
    try:
        text = world.files.read(path).decode(errors="replace")
    except OSError:
        return []
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]


def _target(text: str) -> tuple[str, int, str, str]:
    """(host, port, path, scheme) of a URL, with or without its scheme."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), path, parts.scheme


def _fetch(world: World, ip: str, port: int, request: http.Request, timeout_s: float) -> Ask:
    async def work() -> http.Response:
        assert world.network is not None
        async with asyncio.timeout(timeout_s):
            source = world.place.pod_ip
            return await http.fetch(world.network, seen_from(world, ip), port, request, source_ip=source)

    return Ask(work)


def _headers(host: str, port: int, agent: str, extra: list[str]) -> list[tuple[str, str]]:
    headers = [(n.strip(), v.strip()) for n, _, v in (entry.partition(":") for entry in extra)]
    known = {name.lower() for name, _ in headers}
    own = (("Host", host if port == 80 else f"{host}:{port}"), ("User-Agent", agent), ("Accept", "*/*"))
    return [(name, value) for name, value in own if name.lower() not in known] + headers


def wget(shell: Shell, words: list[str]) -> Run:
    given, rest = options(words, "OTtUP")
    timeout_s = float(given.get("T") or given.get("timeout") or PATIENCE_S)
    body = given.get("post-data", "").encode()
    for url in rest:
        host, port, path, _ = _target(url)
        ip = address_of(shell.world, host)
        if ip is None:
            yield err(f"wget: bad address '{host}'\n")
            return 1
        if "q" not in given:
            yield err(f"Connecting to {host} ({ip}:{port})\n")
        headers = _headers(host, port, "Wget", [given["header"]] if "header" in given else [])
        method = "POST" if body else "GET"
        request = http.Request(method=method, target=path, headers=headers, body=body)
        try:
            response: http.Response = yield _fetch(shell.world, ip, port, request, timeout_s)
        except TimeoutError:
            yield err("wget: download timed out\n")
            return 1
        except OSError as error:
            yield err(f"wget: can't connect to remote host ({ip}): {error.strerror or error}\n")
            return 1
        except http.BadAnswer:
            yield err("wget: error getting response\n")
            return 1
        if response.status >= 400:
            yield err(f"wget: server returned error: HTTP/1.1 {response.status}\n")
            return 1
        if "spider" in given:
            continue
        target = given.get("O") or path.partition("?")[0].rpartition("/")[2] or "index.html"
        if target == "-":
            yield Write("stdout", response.body)
        elif target != "/dev/null":
            shell.world.files.write(shell.path(target), response.body)
    return 0


def curl(shell: Shell, words: list[str]) -> Run:
    extra = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-H", "--header")]
    given, rest = options(spaced(words, *_CURL_VALUES), "HXdomwu")
    timeout_s = float(given.get("m") or given.get("max-time") or given.get("connect-timeout") or PATIENCE_S)
    data = given.get("d", given.get("data", "")).encode()
    method = given.get("X") or given.get("request") or ("HEAD" if "I" in given else "POST" if data else "GET")
    silent = "s" in given or "silent" in given
    for url in rest:
        host, port, path, _ = _target(url)
        ip = address_of(shell.world, host)
        if ip is None:
            if not silent or "S" in given:
                yield err(f"curl: (6) Could not resolve host: {host}\n")
            return 6
        headers = _headers(host, port, "curl/8.10.1", extra)
        request = http.Request(method=method, target=path, headers=headers, body=data)
        code, problem = 0, ""
        try:
            response: http.Response = yield _fetch(shell.world, ip, port, request, timeout_s)
        except TimeoutError:
            code, problem = 28, f"Connection timed out after {int(timeout_s * 1000)} milliseconds"
        except http.BadAnswer:
            code, problem = 52, "Empty reply from server"
        except OSError:
            code, problem = (
                7,
                f"Failed to connect to {host} port {port} after 0 ms: Could not connect to server",
            )
        if code == 0 and response.status >= 400 and given.keys() & {"f", "fail"}:
            code, problem = 22, f"The requested URL returned error: {response.status}"
        status = "000" if code and code != 22 else str(response.status)
        if code:
            if not silent or "S" in given:
                yield err(f"curl: ({code}) {problem}\n")
        else:
            yield from _show(shell, given, response)
        form = given.get("w") or given.get("write-out") or ""
        if form:
            yield out(form.replace("%{http_code}", status).replace("\\n", "\n"))
        if code:
            return code
    return 0


def _show(shell: Shell, given: dict[str, str], response: http.Response) -> Run:
    if given.keys() & {"i", "I"}:
        yield out(f"HTTP/1.1 {response.status}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in response.headers))
        yield out("\r\n")
    target = given.get("o") or given.get("output") or "-"
    if target == "-":
        yield Write("stdout", response.body)
    elif target != "/dev/null":
        shell.world.files.write(shell.path(target), response.body)
    return 0


COMMANDS: dict[str, Command] = {"curl": curl, "wget": wget}

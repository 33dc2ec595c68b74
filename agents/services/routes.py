"""Where an HTTP request goes by the cluster's Ingresses. Pure: objects in, a backend out.

The host chooses a server: its exact name, else a wildcard that covers one more label, else the rules without
a host. In it an exact path wins, then the longest prefix, by whole path elements; ImplementationSpecific
means prefix. What no path takes goes to the default backend. Of two Ingresses that claim the same path the
older one has it.

Annotations, under nginx.ingress.kubernetes.io/, since most charts bring those: rewrite-target, use-regex,
ssl-redirect, force-ssl-redirect, app-root, permanent-redirect, temporal-redirect, proxy-body-size,
whitelist-source-range, canary, canary-weight, canary-weight-total, canary-by-header, canary-by-header-value,
canary-by-header-pattern, canary-by-cookie. A host with one path that is a regular expression has only such,
as with nginx.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from cluster.api.objects import Key, Object

CONTROLLER = "kubemu.dev/ingress"
CLASS = "kubemu"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PREFIX = "nginx.ingress.kubernetes.io/"
BODY_LIMIT = 1 << 20
"""What a request may carry unless the Ingress says otherwise."""
_GROUP = re.compile(r"\$(\d)")
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Backend:
    service: Key
    port: int | str
    """Number or name; 0: the first."""


@dataclass(frozen=True, slots=True)
class Canary:
    backend: Backend
    weight: int
    total: int
    header: str
    header_value: str
    header_pattern: re.Pattern[str] | None
    cookie: str


@dataclass(slots=True)
class Path:
    text: str
    kind: str
    """Exact | Prefix | Regex"""
    backend: Backend
    rewrite: str = ""
    to_tls: bool = False
    app_root: str = ""
    redirect: tuple[int, str] | None = None
    """Status and location for every request."""
    body_limit: int = BODY_LIMIT
    allowed: tuple[IPv4Network, ...] = ()
    """The clients that may ask; none of them: all."""
    canary: Canary | None = None
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.pattern = re.compile(self.text if self.kind == "Regex" else re.escape(self.text), re.IGNORECASE)

    def lets_in(self, client: str) -> bool:
        if not self.allowed:
            return True
        return bool(client) and any(IPv4Address(client) in network for network in self.allowed)

    def takes(self, path: str) -> bool:
        match self.kind:
            case "Exact":
                return path == self.text
            case "Regex":
                return self.pattern.match(path) is not None
            case _:
                base = self.text.rstrip("/")
                return path == base or path.startswith(base + "/")

    def rewritten(self, path: str) -> str:
        """The path that the backend is asked for."""
        if not self.rewrite:
            return path
        found = self.pattern.match(path) if self.kind == "Regex" else None

        def group(reference: re.Match[str]) -> str:
            number = int(reference[1])
            return (found[number] or "") if found and number <= (found.re.groups or 0) else ""

        return _GROUP.sub(group, self.rewrite) or "/"


@dataclass(slots=True)
class Server:
    paths: list[Path] = field(default_factory=list)
    default: Backend | None = None


class Routes:
    """Of all Ingresses of our class at one moment."""

    def __init__(self, ingresses: Iterable[Object]) -> None:
        self._servers: dict[str, Server] = {}
        ours = sorted(ingresses, key=_age)
        for ingress in ours:
            if _note(ingress, "canary") != "true":
                self._add(ingress)
        for ingress in ours:
            if _note(ingress, "canary") == "true":
                self._add_canary(ingress)
        for server in self._servers.values():
            if any(path.kind == "Regex" for path in server.paths):
                server.paths = [replace(p, kind="Regex") if _pattern(p.text) else p for p in server.paths]
            server.paths.sort(key=lambda path: (path.kind != "Exact", -len(path.text)))

    def find(self, host: str, path: str) -> tuple[Path | None, Backend | None]:
        """The path that takes the request; else the default backend, if any."""
        server = self._server(host)
        if server is not None:
            found = next((p for p in server.paths if p.takes(path)), None)
            if found is not None:
                return found, found.backend
            if server.default is not None:
                return None, server.default
        last = self._servers.get("")
        return None, last.default if last is not None else None

    def _server(self, host: str) -> Server | None:
        host = host.partition(":")[0].lower()
        _, _, parent = host.partition(".")
        return (
            self._servers.get(host)
            or (self._servers.get(f"*.{parent}") if parent else None)
            or self._servers.get("")
        )

    def _add(self, ingress: Object) -> None:
        spec = ingress["spec"]
        default = _backend(ingress, spec["defaultBackend"]) if spec.get("defaultBackend") else None
        secure = {host.lower() for tls in spec.get("tls") or () for host in tls.get("hosts") or ()}
        for rule in spec.get("rules") or ():
            host = rule.get("host", "").lower()
            server = self._servers.setdefault(host, Server())
            server.default = server.default or default
            for entry in (rule.get("http") or {}).get("paths") or ():
                path = _path(ingress, entry, secure=host in secure or (bool(spec.get("tls")) and not secure))
                if path is not None and not any(_same(path, known) for known in server.paths):
                    server.paths.append(path)
        if default is not None and not spec.get("rules"):
            server = self._servers.setdefault("", Server())
            server.default = server.default or default

    def _add_canary(self, ingress: Object) -> None:
        """Beside the same path of the main Ingress; alone it is nothing."""
        for rule in ingress["spec"].get("rules") or ():
            server = self._servers.get(rule.get("host", "").lower())
            for entry in (rule.get("http") or {}).get("paths") or ():
                path = _path(ingress, entry, secure=False)
                for known in server.paths if server is not None and path is not None else ():
                    if path is not None and _same(path, known) and known.canary is None:
                        known.canary = _canary(ingress, path.backend)


def chosen(path: Path, header: Callable[[str], str], cookies: Mapping[str, str], turn: int) -> Backend:
    """The main backend or the canary: by header, then by cookie, then by weight. `turn` counts requests."""
    canary = path.canary
    if canary is None:
        return path.backend
    if canary.header:
        value = header(canary.header)
        if canary.header_value:
            if value == canary.header_value:
                return canary.backend
        elif canary.header_pattern is not None:
            if canary.header_pattern.search(value):
                return canary.backend
        elif value in ("always", "never"):
            return canary.backend if value == "always" else path.backend
    if canary.cookie:
        value = cookies.get(canary.cookie, "")
        if value in ("always", "never"):
            return canary.backend if value == "always" else path.backend
    spread = turn * 61 % canary.total  # 61 has no divisor in common with 100: the canary's turns lie apart
    return canary.backend if spread < canary.weight else path.backend


def is_ours(ingress: Object, classes: Sequence[Object]) -> bool:
    name = ingress["spec"].get("ingressClassName")
    if not name:
        return (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION) == CLASS
    return any(
        found["metadata"]["name"] == name and found["spec"].get("controller") == CONTROLLER
        for found in classes
    )


def _age(ingress: Object) -> tuple[str, str, str]:
    meta = ingress["metadata"]
    return meta.get("creationTimestamp") or "", meta["namespace"], meta["name"]


def _note(ingress: Object, name: str) -> str:
    text: str = (ingress["metadata"].get("annotations") or {}).get(PREFIX + name, "")
    return text


def _same(one: Path, other: Path) -> bool:
    return one.text == other.text and one.kind == other.kind


def _backend(ingress: Object, backend: Object) -> Backend | None:
    service = backend.get("service")
    if not service:
        return None
    port = service.get("port") or {}
    key = Key(ingress["metadata"]["namespace"], service["name"])
    return Backend(key, port.get("number") or port.get("name") or 0)


def _path(ingress: Object, entry: Object, *, secure: bool) -> Path | None:
    backend = _backend(ingress, entry["backend"])
    if backend is None:
        return None
    rewrite = _note(ingress, "rewrite-target")
    regex = _note(ingress, "use-regex") == "true" or bool(_GROUP.search(rewrite))
    kind = "Exact" if entry.get("pathType") == "Exact" else "Regex" if regex else "Prefix"
    to_tls = secure and _note(ingress, "ssl-redirect") != "false"
    text = entry.get("path") or "/"
    if kind == "Regex" and _pattern(text) is None:
        return None
    return Path(
        text,
        kind,
        backend,
        rewrite=rewrite,
        to_tls=to_tls or _note(ingress, "force-ssl-redirect") == "true",
        app_root=_note(ingress, "app-root"),
        redirect=_redirect(ingress),
        body_limit=_bytes(_note(ingress, "proxy-body-size")),
        allowed=tuple(_networks(_note(ingress, "whitelist-source-range"))),
    )


def _redirect(ingress: Object) -> tuple[int, str] | None:
    for name, status in (("permanent-redirect", 301), ("temporal-redirect", 302)):
        if location := _note(ingress, name):
            return status, location
    return None


def _bytes(text: str) -> int:
    """As nginx writes sizes: 8m, 512k, 0 for any."""
    number, unit = text.strip().lower()[:-1], text.strip().lower()[-1:]
    if unit in _UNITS and number.isdecimal():
        return int(number) * _UNITS[unit]
    return int(text) if text.strip().isdecimal() else BODY_LIMIT


def _networks(text: str) -> Iterator[IPv4Network]:
    for part in text.split(","):
        try:
            yield IPv4Network(part.strip(), strict=False)
        except ValueError:
            continue


def _pattern(text: str) -> re.Pattern[str] | None:
    """None: it is no regular expression."""
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error:
        return None


def _canary(ingress: Object, backend: Backend) -> Canary:
    pattern = _note(ingress, "canary-by-header-pattern")
    return Canary(
        backend=backend,
        weight=_number(_note(ingress, "canary-weight"), 0),
        total=max(_number(_note(ingress, "canary-weight-total"), 100), 1),
        header=_note(ingress, "canary-by-header"),
        header_value=_note(ingress, "canary-by-header-value"),
        header_pattern=_pattern(pattern) if pattern else None,
        cookie=_note(ingress, "canary-by-cookie"),
    )


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() else otherwise

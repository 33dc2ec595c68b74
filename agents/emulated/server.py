"""What an emulated container serves: HTTP as its profile says, or connections that are just accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from agents import grpchealth, http
from agents.behaviour import Profile, Reply
from agents.emulated.world import FOREVER_S
from agents.images import repository, tag
from agents.network import AddressInUse, Listener, Network, StreamHandler
from agents.runtime import Launch
from cluster.api.objects import Object

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class Served(Protocol):
    """What the server asks its container."""

    @property
    def profile(self) -> Profile: ...

    def path_fails(self, path: str) -> bool:
        """All probes of this path are to fail now."""

    def document(self, path: str) -> bytes | None:
        """The file that the image serves at this path; None where files have no say. Raises OSError."""

    def print(self, stream: str, text: str) -> None: ...


def ports_of(container: Object, profile: Profile) -> list[int]:
    """Declared ports, or the image's own, and those that probes expect."""
    declared = [p["containerPort"] for p in container.get("ports", ()) if p.get("protocol", "TCP") == "TCP"]
    ports: list[int] = declared or list(profile.ports)
    for name in PROBES:
        probe = container.get(name) or {}
        action = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
        port = action.get("port")
        if isinstance(port, int) and not action.get("host"):
            ports.append(port)
    return list(dict.fromkeys(ports))


def grpc_services(container: Object) -> dict[int, list[str]]:
    """Port → the services that gRPC probes ask for there."""
    found: dict[int, list[str]] = {}
    for name in PROBES:
        action = (container.get(name) or {}).get("grpc")
        if action:
            found.setdefault(action["port"], []).append(action.get("service") or "")
    return found


def host_ports(launch: Launch) -> list[tuple[str, int]]:
    """Where the node itself answers for the container."""
    if launch.pod["spec"].get("hostNetwork"):
        return []
    return [
        (p.get("hostIP") or launch.place.host_ip, p["hostPort"])
        for p in launch.container.get("ports", ())
        if p.get("hostPort") and p.get("protocol", "TCP") == "TCP" and launch.place.host_ip
    ]


class Server:
    """The listeners of one instance."""

    def __init__(self, network: Network, launch: Launch, served: Served, now: Callable[[], str]) -> None:
        self._network = network
        self._launch = launch
        self._served = served
        self._now = now
        self._listeners: list[Listener] = []
        self._known = _placeholders(launch)

    async def open(self) -> None:
        """Raises AddressInUse, with what was opened closed again."""
        profile = self._served.profile
        if profile.serves == "none":
            return
        handler = self._http if profile.serves == "http" else self._tcp
        asked = grpc_services(self._launch.container)
        try:
            for port in ports_of(self._launch.container, profile):
                chosen = self._grpc if port in asked else handler
                await self._listen(self._launch.pod_ip, port, chosen)
            for ip, port in host_ports(self._launch):
                await self._listen(ip, port, handler)
        except AddressInUse:
            await self.close()
            raise

    async def _listen(self, ip: str, port: int, handler: StreamHandler) -> None:
        listener = await self._network.listen(ip, port, handler)
        self._listeners.append(listener)  # only now: `close` may have taken the list meanwhile

    async def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()

    async def _grpc(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A port that a gRPC probe asks: the services that the probes name are there, and well."""
        known = ["", *(name for names in grpc_services(self._launch.container).values() for name in names)]

        def health(service: str) -> grpchealth.Health | None:
            return grpchealth.Health.SERVING if service in known else None

        await grpchealth.serve(reader, writer, health)

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Swallows what comes until the peer closes."""
        try:
            while await reader.read(65536):
                pass
        except OSError:
            return

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await http.serve(reader, writer, self._answer)

    async def _answer(self, request: http.Request) -> http.Response | None:
        profile = self._served.profile
        if profile.hang:
            await asyncio.sleep(FOREVER_S)
        if profile.latency_s:
            await asyncio.sleep(profile.latency_s)
        path = request.path
        if self._served.path_fails(path):
            reply = Reply(status=503, body="Service Unavailable\n")
        else:
            reply = next((r for known, r in profile.paths if known == path), profile.reply)
        body = self._filled(reply.body, request).encode()
        if profile.document_root and reply is profile.reply:
            try:
                body = self._served.document(path) or body
            except OSError:
                reply = Reply(status=404, body="404 Not Found\n")
                body = reply.body.encode()
        headers = [(name, self._filled(value, request)) for name, value in reply.headers]
        if profile.access_log:
            agent = request.header("user-agent") or "-"
            line = (
                f'{request.peer} - - "{request.method} {request.target} HTTP/1.1" {reply.status} {len(body)}'
            )
            self._served.print("stdout", f'{line} "-" "{agent}"\n')
        return http.Response(status=reply.status, headers=headers, body=body)

    def index(self) -> bytes:
        """What the image's document root has."""
        text = self._served.profile.reply.body
        for placeholder, value in self._known.items():
            text = text.replace(placeholder, value)
        return text.encode()

    def _filled(self, text: str, request: http.Request) -> str:
        if "{" not in text:
            return text
        for placeholder, value in self._known.items():
            text = text.replace(placeholder, value)
        text = text.replace("{client}", request.peer).replace("{method}", request.method)
        text = text.replace("{path}", request.target)
        return text.replace("{now}", self._now()) if "{now}" in text else text


def _placeholders(launch: Launch) -> dict[str, str]:
    """What an answer may say of the instance, by the placeholder in the profile's text."""
    pod, image = launch.pod, launch.container.get("image", "")
    return {
        "{pod}": pod["metadata"]["name"],
        "{namespace}": pod["metadata"].get("namespace", ""),
        "{node}": pod["spec"].get("nodeName", ""),
        "{container}": launch.container["name"],
        "{image}": image,
        "{name}": repository(image).rpartition("/")[2],
        "{version}": launch.environment.get("VERSION") or tag(image),
        "{ip}": launch.pod_ip,
    }

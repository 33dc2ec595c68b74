"""Runs one probe against a container: httpGet, tcpSocket, exec, grpc, with the kubelet's wording.

Divergence: an HTTPS probe of a server that speaks no TLS is sent without it, for emulated containers serve
plain HTTP; a grpc probe does not try a refused connection again before its time is over.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache

from agents import grpchealth, http
from agents.container import duration
from agents.network import Network
from agents.probe import Result
from agents.runtime import Container, ExecProblem
from cluster.api.objects import Object

USER_AGENT = "kube-probe/1.37"
MAX_REDIRECTS = 10
_MAX_OUTPUT = 10 << 10


class NoSuchPort(Exception):
    """A port name that the container does not declare."""


async def probe(
    network: Network, container: Container, kind: str, spec: Object, probe_spec: Object, pod_ip: str,
    timeout_s: float,
) -> Result:  # fmt: skip
    """One result. Never raises for what the container does."""
    answer = container.probe_answer(kind)
    if answer is not None and answer.hang:
        await asyncio.sleep(timeout_s)
    forced = answer is not None and not answer.success
    message = answer.message if answer is not None else ""
    try:
        if "exec" in probe_spec:
            if forced:
                return Result(success=False, output=message or f"{kind} check failed")
            return await _exec(container, probe_spec["exec"].get("command", ()), timeout_s)
        if "httpGet" in probe_spec:
            refused = message if forced else None
            return await _http(network, spec, probe_spec["httpGet"], pod_ip, timeout_s, refused)
        if "grpc" in probe_spec:
            return await _grpc(network, probe_spec["grpc"], pod_ip, timeout_s, forced)
        return await _tcp(network, spec, probe_spec.get("tcpSocket") or {}, pod_ip, timeout_s, forced)
    except NoSuchPort as error:
        return Result(success=False, errored=True, output=str(error))


async def _exec(container: Container, command: list[str], timeout_s: float) -> Result:
    try:
        code, output = await container.execute(command, timeout_s=timeout_s)
    except ExecProblem as problem:
        return Result(success=False, errored=True, output=f"rpc error: code = Unknown desc = {problem}")
    except TimeoutError:
        shown = " ".join(command)
        return Result(success=False, output=f'command timed out: "{shown}" timed out after {timeout_s:g}s')
    return Result(success=code == 0, output=output[:_MAX_OUTPUT].decode(errors="replace"))


async def _http(
    network: Network, spec: Object, action: Object, pod_ip: str, timeout_s: float, refused: str | None
) -> Result:
    port = port_number(spec, action.get("port"))
    host = action.get("host") or pod_ip
    scheme = str(action.get("scheme", "HTTP")).lower()
    path = str(action.get("path") or "/")
    path = path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}:{port}{path}"
    if refused is not None:
        return Result(success=False, output=refused or "HTTP probe failed with statuscode: 503")
    try:
        async with asyncio.timeout(timeout_s):
            response = await _get(network, host, port, path, action.get("httpHeaders", ()), scheme == "https")
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Result(success=False, output=f'Get "{url}": {why}')
    except (OSError, http.BadAnswer) as error:
        return Result(success=False, output=f'Get "{url}": {_dial_error(host, port, error)}')
    if 200 <= response.status < 400:
        return Result(success=True)
    return Result(success=False, output=f"HTTP probe failed with statuscode: {response.status}")


async def _get(
    network: Network, host: str, port: int, path: str, headers: list[Object], secure: bool
) -> http.Response:
    """Follows redirects on the same host; one to another host counts as success, as in the kubelet."""
    own = [(h["name"], h["value"]) for h in headers]
    names = {name.lower() for name, _ in own}
    for name, value in (("Host", f"{host}:{port}"), ("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if name.lower() not in names:
            own.append((name, value))
    for _ in range(MAX_REDIRECTS):
        request = http.Request(method="GET", target=path, headers=own)
        if secure:
            response = await encrypted(network, host, port, request)
        else:
            response = await http.fetch(network, host, port, request)
        location = response.header("location")
        if response.status not in (301, 302, 303, 307, 308) or not location.startswith("/"):
            return response
        path = location
    raise http.BadAnswer(f"stopped after {MAX_REDIRECTS} redirects")


async def encrypted(network: Network, host: str, port: int, request: http.Request) -> http.Response:
    """In plain text from a server that speaks no TLS."""
    try:
        return await http.fetch(network, host, port, request, tls=_unverified())
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError):
        return await http.fetch(network, host, port, request)


@lru_cache(1)
def _unverified() -> ssl.SSLContext:
    """As the kubelet probes: whatever the certificate says."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _tcp(
    network: Network, spec: Object, action: Object, pod_ip: str, timeout_s: float, refused: bool
) -> Result:
    port = port_number(spec, action.get("port"))
    host = action.get("host") or pod_ip
    if refused:
        return Result(success=False, output=f"dial tcp {host}:{port}: connect: connection refused")
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await network.connect(host, port)
    except TimeoutError:
        return Result(success=False, output=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Result(success=False, output=_dial_error(host, port, error))
    writer.close()
    return Result(success=True)


async def _grpc(network: Network, action: Object, pod_ip: str, timeout_s: float, refused: bool) -> Result:
    address, limit = f"{pod_ip}:{action['port']}", duration(timeout_s)
    health, why = grpchealth.Health.NOT_SERVING, ""
    if not refused:
        try:
            async with asyncio.timeout(timeout_s):
                service = action.get("service") or ""
                health = await grpchealth.check(network, pod_ip, action["port"], service, USER_AGENT)
        except TimeoutError:
            why = f"timeout: health rpc did not complete within {limit}"
        except OSError:
            why = f'timeout: failed to connect service "{address}" within {limit}: context deadline exceeded'
        except grpchealth.CallFailed as error:
            why = f"error: health rpc probe failed: {error}"
            if error.code == grpchealth.Code.UNIMPLEMENTED.value[0]:
                protocol = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                why = f"error: {protocol}: {error.message}"
    if why:
        return Result(success=False, output=why)
    if health is not grpchealth.Health.SERVING:
        return Result(success=False, output=f'service unhealthy (responded with "{health.name}")')
    return Result(success=True, output="service healthy")


def port_number(spec: Object, port: object) -> int:
    """A number, or the name of one of the container's ports. Raises NoSuchPort."""
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdigit():
        return int(port)
    for declared in spec.get("ports", ()):
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise NoSuchPort(f"couldn't find port: {port!s}")


def _dial_error(host: str, port: int, error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {host}:{port}: read: connection reset by peer"
    if isinstance(error, OSError):
        return f"dial tcp {host}:{port}: connect: {(error.strerror or str(error)).lower()}"
    return str(error)

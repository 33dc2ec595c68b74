"""A client that costs next to nothing, in processes of its own, so that a rate is the server's.

Each lane is a connection; requests are bytes made beforehand, and of an answer only the status and the
length are read. Started as `python -m tests.bench.client KUBECONFIG` with the requests on standard input as
JSON: {"lanes": N, "requests": [[method, path, body or null, headers], …]}; prints the seconds it took.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml


@dataclass(frozen=True, slots=True)
class Access:
    host: str
    port: int
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def wire(self) -> bytes:
        body = self.body.encode()
        headers = {"Host": "bench", "Content-Type": "application/json", **self.headers}
        if body:
            headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def access(kubeconfig: Path) -> Access:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]))
        pair.write(base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    server = urlsplit(cluster["server"])
    assert server.hostname
    assert server.port
    return Access(server.hostname, server.port, context)


async def rate(kubeconfig: Path, requests: Sequence[Request], *, lanes: int, processes: int = 1) -> float:
    """Requests per second, with `lanes` connections in each of the processes."""
    shares = [requests[number::processes] for number in range(processes)]
    children = [await _child(kubeconfig) for _ in shares]
    for child, share in zip(children, shares, strict=True):
        job = {"lanes": lanes, "requests": [asdict(request) for request in share]}
        assert child.stdin is not None
        child.stdin.write(json.dumps(job).encode())
        child.stdin.close()
    longest_s = 0.0
    for child in children:
        assert child.stdout is not None
        answer = await child.stdout.read()
        if await child.wait() != 0:
            raise RuntimeError("the load client failed")
        longest_s = max(longest_s, float(answer))
    return len(requests) / longest_s


async def _child(kubeconfig: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.client", str(kubeconfig),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip


async def connect(to: Access) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(to.host, to.port, ssl=to.tls, limit=1 << 22)


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Reads one answer to its end; the length of its body. Raises RuntimeError for an error answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().find(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r", at)])
    body = await reader.readexactly(length)
    if status >= 400:
        raise RuntimeError(f"{status}: {body[:200]!r}")
    return length


async def _play(to: Access, lanes: int, requests: list[bytes]) -> float:
    from broker.supervision import Tasks

    links = [await connect(to) for _ in range(lanes)]
    waiting = requests[::-1]

    async def lane(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting:
            writer.write(waiting.pop())
            await read_answer(reader)

    tasks = Tasks()
    began = time.monotonic()
    running = [tasks.start(f"lane-{number}", lane(*link)) for number, link in enumerate(links)]
    for task in running:
        await task
    took_s = time.monotonic() - began
    for _, writer in links:
        writer.close()
    return took_s


def main() -> None:
    import uvloop

    job = json.load(sys.stdin)
    requests = [Request(**request).wire() for request in job["requests"]]
    to = access(Path(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(_play(to, job["lanes"], requests)))


if __name__ == "__main__":
    main()

"""Long answers read as fast as Python can: `python -m tests.bench.bulk KUBECONFIG PATH TIMES [HEADER VALUE]`.

One connection with blocking reads into one buffer, so that the rate is the server's. Prints the seconds from
the first request to the end of the last answer.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from tests.bench.client import Request, access

_BUFFER_BYTES = 1 << 20


def _receive(link: socket.socket, buffer: memoryview, at: int) -> int:
    count = link.recv_into(buffer[at:])
    if not count:
        raise ConnectionError("the server closed the connection")
    return count


def _answer(link: socket.socket, buffer: memoryview) -> None:
    """Reads one answer to its end. Raises RuntimeError for an error answer."""
    filled = 0
    while (end := bytes(buffer[:filled]).find(b"\r\n\r\n")) < 0:
        filled += _receive(link, buffer, filled)
    head = bytes(buffer[:end])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(head.decode())
    at = head.lower().index(b"content-length:") + 15
    left = int(head[at : head.find(b"\r", at) if b"\r" in head[at:] else end]) - (filled - end - 4)
    while left:
        left -= _receive(link, buffer[: min(left, _BUFFER_BYTES)], 0)


def main() -> None:
    kubeconfig, path, times, *header = sys.argv[1:]
    to = access(Path(kubeconfig))
    request = Request("GET", path, headers=dict([header]) if header else {}).wire()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with to.tls.wrap_socket(socket.create_connection((to.host, to.port)), server_hostname=to.host) as link:
        began = time.monotonic()
        for _ in range(int(times)):
            link.sendall(request)
            _answer(link, buffer)
        print(time.monotonic() - began)


if __name__ == "__main__":
    main()

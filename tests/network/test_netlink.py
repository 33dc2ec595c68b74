"""Addresses and routes in the kernel, tried in a network namespace of the test's own."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import errno, fcntl, socket, struct
from agents import netlink

UP, SIOCSIFFLAGS = 0x1, 0x8914
with socket.socket() as one:
    fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", UP))

def can_bind():
    with socket.socket() as one:
        try:
            one.bind(("10.244.3.5", 0))
        except OSError as error:
            assert error.errno == errno.EADDRNOTAVAIL
            return False
        return True

assert not can_bind()
netlink.add_address("10.244.3.5")
netlink.add_address("10.244.3.5")
assert can_bind()
netlink.remove_address("10.244.3.5")
netlink.remove_address("10.244.3.5")
assert not can_bind()
def connect():
    with socket.socket() as one:
        try:
            one.connect(("10.244.3.6", 80))
        except OSError as error:
            return error.errno

netlink.refuse_route("10.244.3.0/24")
netlink.refuse_route("10.244.3.0/24")
assert connect() == errno.EHOSTUNREACH
netlink.add_address("10.244.3.6")
assert connect() == errno.ECONNREFUSED
netlink.remove_route("10.244.9.0/24")
try:
    netlink.replace_route("10.244.9.0/24", "192.0.2.1")
except OSError as error:
    assert error.errno == errno.ENETUNREACH, error
else:
    raise AssertionError("a route by way of an unknown neighbour")
"""


def _namespaces() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None and subprocess.run([unshare, "-n", "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _namespaces(), reason="this machine gives no network namespaces")
def test_addresses_come_and_go() -> None:
    """Repeating a request changes nothing; what the kernel refuses is raised."""
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

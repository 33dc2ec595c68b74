"""This machine's addresses and routes through the kernel's rtnetlink, as `ip` sets them.

Just the five requests that the routed network needs, each answered by the kernel before the call returns
(microseconds): no command has to be installed in the containers, and no process is started per pod.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import IPv4Address, IPv4Network

_NEW_ADDRESS, _DELETE_ADDRESS, _NEW_ROUTE, _DELETE_ROUTE = 20, 21, 24, 25
_REQUEST, _ACKNOWLEDGE, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_GATEWAY = 1, 5
_TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, _SCOPE_HOST, _UNICAST, _UNREACHABLE = 254, 4, 0, 254, 1, 7
_LOOPBACK = "lo"


def add_address(ip: str) -> None:
    """Makes an address this machine's own, on its loopback interface. Raises PermissionError, OSError."""
    _change_address(_NEW_ADDRESS, _CREATE | _REPLACE, ip)


def remove_address(ip: str) -> None:
    """Of an address that is not there: nothing."""
    try:
        _change_address(_DELETE_ADDRESS, 0, ip)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise


def replace_route(network: str, via: str) -> None:
    """Packets to the network go by way of a neighbour from now on."""
    gateway = _attribute(_RTA_GATEWAY, IPv4Address(via).packed)
    _change_route(_NEW_ROUTE, _CREATE | _REPLACE, network, gateway)


def refuse_route(network: str) -> None:
    """Packets to the network are answered as unreachable from now on, unless an address of it is here."""
    _change_route(_NEW_ROUTE, _CREATE | _REPLACE, network, b"", _UNREACHABLE)


def remove_route(network: str) -> None:
    """Of a route that is not there: nothing."""
    try:
        _change_route(_DELETE_ROUTE, 0, network, b"")
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _change_address(kind: int, flags: int, ip: str) -> None:
    packed = IPv4Address(ip).packed
    body = _ADDRESS.pack(socket.AF_INET, 32, 0, _SCOPE_HOST, socket.if_nametoindex(_LOOPBACK))
    _ask(kind, flags, body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed))


def _change_route(kind: int, flags: int, text: str, more: bytes, way: int = _UNICAST) -> None:
    network = IPv4Network(text)
    body = _ROUTE.pack(
        socket.AF_INET, network.prefixlen, 0, 0,
        _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, way, 0,
    )  # fmt: skip
    _ask(kind, flags, body + _attribute(_RTA_DST, network.network_address.packed) + more)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data


def _ask(kind: int, flags: int, body: bytes) -> None:
    head = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACKNOWLEDGE | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(head + body)
        answer = kernel.recv(65536)
    _, answered, _, _, _ = _HEADER.unpack_from(answer)
    if answered != _ERROR:
        raise OSError(errno.EPROTO, f"unexpected answer of type {answered} from the kernel")
    (code,) = struct.unpack_from("=i", answer, _HEADER.size)
    if code:
        raise OSError(-code, os.strerror(-code))

"""String formats that are checked; any other format name says nothing, as in Kubernetes."""

from __future__ import annotations

import binascii
import ipaddress
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

from cluster.api.quantity import parse as parse_quantity


def _date(text: str) -> None:
    if len(text) != 10:
        raise ValueError
    date.fromisoformat(text)


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?")


def _date_time(text: str) -> None:
    if not _DATE_TIME.fullmatch(text):
        raise ValueError
    datetime.fromisoformat(text.upper())


_DURATION = re.compile(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w|seconds?|minutes?|hours?|days?|weeks?)\s*)+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOST = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_MAC = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:.+|/.*")


def _matching(pattern: re.Pattern[str]) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            raise ValueError

    return check


def _uuid(version: int) -> Callable[[str], None]:
    def check(text: str) -> None:
        found = UUID(text)
        if version and found.version != version:
            raise ValueError

    return check


def _byte(text: str) -> None:
    b64decode(text, validate=True)


_CHECKS: dict[str, Callable[[str], object]] = {
    "byte": _byte,
    "cidr": ipaddress.ip_network,
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": _matching(_DURATION),
    "email": _matching(_EMAIL),
    "hostname": _matching(_HOST),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "k8s-quantity": parse_quantity,
    "mac": _matching(_MAC),
    "uri": _matching(_URI),
    "uuid": _uuid(0),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
}


def format_fits(name: str, text: str) -> bool:
    check = _CHECKS.get(name)
    if check is None:
        return True
    try:
        check(text)
    except (ValueError, binascii.Error):
        return False
    return True

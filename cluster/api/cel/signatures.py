"""What functions take and give, for the checker. A name that is not here is taken as it comes.

One line per overload: `receiver.name(arguments) result`, or without a receiver. `any` is any type.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cluster.api.cel.kinds import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Kind,
    list_of,
    map_of,
)

_TABLE = """
size(string) int|size(bytes) int|size(list) int|size(map) int
string.size() int|bytes.size() int|list.size() int|map.size() int
string.startsWith(string) bool|string.endsWith(string) bool|string.contains(string) bool
string.matches(string) bool|matches(string, string) bool
string.charAt(int) string|string.lowerAscii() string|string.upperAscii() string|string.trim() string
string.indexOf(string) int|string.indexOf(string, int) int|list.indexOf(any) int
string.lastIndexOf(string) int|string.lastIndexOf(string, int) int|list.lastIndexOf(any) int
string.replace(string, string) string|string.replace(string, string, int) string
string.split(string) strings|string.split(string, int) strings|list.join() string|list.join(string) string
string.substring(int) string|string.substring(int, int) string|string.format(list) string
string.find(string) string|string.findAll(string) strings|string.findAll(string, int) strings
int(any) int|uint(any) uint|double(any) double|string(any) string|bytes(string) bytes|type(any) type
timestamp(string) timestamp|timestamp(int) timestamp|timestamp(timestamp) timestamp
duration(string) duration|duration(duration) duration
timestamp.getFullYear() int|timestamp.getMonth() int|timestamp.getDate() int|timestamp.getDayOfWeek() int
timestamp.getFullYear(string) int|timestamp.getMonth(string) int|timestamp.getDate(string) int
timestamp.getHours() int|duration.getHours() int|timestamp.getMinutes() int|duration.getMinutes() int
timestamp.getSeconds() int|duration.getSeconds() int|duration.getMilliseconds() int
list.isSorted() bool|isURL(string) bool|url(string) url|isIP(string) bool|ip(string) ip|isCIDR(string) bool
cidr(string) cidr|url.getScheme() string|url.getHost() string|url.getHostname() string|url.getPort() string
url.getEscapedPath() string|url.getQuery() strings_by_name
ip.family() int|ip.isLoopback() bool|ip.isUnspecified() bool|ip.isGlobalUnicast() bool
ip.isLinkLocalUnicast() bool|ip.isLinkLocalMulticast() bool|ip.isCanonical(string) bool
cidr.containsIP(string) bool|cidr.containsIP(ip) bool|cidr.containsCIDR(string) bool
cidr.containsCIDR(cidr) bool|cidr.prefixLength() int|cidr.ip() ip|cidr.masked() cidr
quantity(string) quantity|isQuantity(string) bool|quantity.isInteger() bool|quantity.asInteger() int
quantity.asApproximateFloat() double|quantity.sign() int|quantity.add(quantity) quantity
quantity.add(int) quantity|quantity.sub(quantity) quantity|quantity.sub(int) quantity
semver(string) semver|semver(string, bool) semver|isSemver(string) bool|isSemver(string, bool) bool
semver.major() int|semver.minor() int|semver.patch() int
quantity.compareTo(quantity) int|quantity.isLessThan(quantity) bool|quantity.isGreaterThan(quantity) bool
semver.compareTo(semver) int|semver.isLessThan(semver) bool|semver.isGreaterThan(semver) bool
sets.contains(list, list) bool|sets.equivalent(list, list) bool|sets.intersects(list, list) bool
"""


class Signature(NamedTuple):
    arguments: tuple[Kind, ...]
    """The receiver first."""
    method: bool
    result: Kind


_KINDS = {
    "any": DYN, "bool": BOOL, "bytes": BYTES, "double": DOUBLE, "duration": DURATION, "int": INT,
    "string": STRING, "timestamp": TIMESTAMP, "type": TYPE, "uint": UINT, "list": list_of(DYN),
    "map": map_of(DYN, DYN), "strings": list_of(STRING), "strings_by_name": map_of(STRING, list_of(STRING)),
    "url": Kind("kubernetes.URL"), "ip": Kind("net.IP"), "cidr": Kind("net.CIDR"),
    "quantity": Kind("kubernetes.Quantity"), "semver": Kind("kubernetes.Semver"),
}  # fmt: skip
_ENTRY = re.compile(r"(?:(\w+)\.)?(\w+)\(([\w, ]*)\) (\w+)")
_NAMESPACES = ("sets", "ip.isCanonical")


def _signatures() -> dict[str, list[Signature]]:
    found: dict[str, list[Signature]] = {}
    for entry in _TABLE.replace("\n", "|").split("|"):
        match = _ENTRY.fullmatch(entry.strip())
        if match is None:
            continue
        receiver, name, arguments, result = match.groups()
        kinds = [_KINDS[part.strip()] for part in arguments.split(",") if part.strip()]
        if receiver in _NAMESPACES or f"{receiver}.{name}" in _NAMESPACES:
            name, receiver = f"{receiver}.{name}", None
        if receiver:
            kinds.insert(0, _KINDS[receiver])
        found.setdefault(name, []).append(Signature(tuple(kinds), bool(receiver), _KINDS[result]))
    return found


SIGNATURES = _signatures()

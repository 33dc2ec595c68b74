"""All functions by name. A method's receiver is its first argument; which overload is meant is seen from the
values. What does not fit raises TypeError or AttributeError inside, which the evaluator turns into CEL's
"no such overload".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cluster.api.cel import lists, networks, quantities, strings, versions
from cluster.api.cel.errors import EvalError
from cluster.api.cel.times import duration_of, shown_duration, shown_timestamp, timestamp_of
from cluster.api.cel.values import NONE, Optional, Receiver, TypeValue, UInt, type_of

_OVERLOAD = "no such overload"


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise EvalError(_OVERLOAD)


def _int(value: Any) -> int:
    match value:
        case bool():
            raise EvalError(_OVERLOAD)
        case int():
            made = int(value)
        case float():
            if not -(2.0**63) < value < 2.0**63:
                raise EvalError("integer overflow")
            made = int(value)
        case str():
            try:
                made = int(value)
            except ValueError:
                raise EvalError(f'type conversion error from string to int: "{value}"') from None
        case datetime():
            made = int(value.timestamp())
        case timedelta():
            made = int(value.total_seconds())
        case _:
            raise EvalError(_OVERLOAD)
    return made


def _uint(value: Any) -> UInt:
    made = _int(value)
    if made < 0:
        raise EvalError("unsigned integer overflow")
    return UInt(made)


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise EvalError(_OVERLOAD)
    try:
        return float(value)
    except ValueError:
        raise EvalError(f'type conversion error from string to double: "{value}"') from None


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvalError("type conversion error from string to bool")


def to_string(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case bytes():
            return value.decode(errors="replace")
        case float():
            return repr(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
        case timedelta():
            return shown_duration(value)
        case datetime():
            return shown_timestamp(value)
        case None | list() | dict():
            raise EvalError(_OVERLOAD)
    return str(value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str.encode(value)


def _timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    return timestamp_of(str.strip(value))


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else duration_of(str.strip(value))


def _in_zone(value: Any, zone: Any = "UTC") -> datetime:
    if not isinstance(value, datetime):
        raise TypeError
    if zone[:1] in "+-" or zone[:1].isdigit():
        hours, _, minutes = zone.lstrip("+-").partition(":")
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return value.astimezone(timezone(-offset if zone.startswith("-") else offset))
    try:
        return value.astimezone(ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        raise EvalError(f"unknown time zone {zone}") from None


def _date_part(read: Callable[[datetime], int], of_duration: int = 0) -> Callable[..., int]:
    """`of_duration`: seconds of the unit that the same method counts of a duration."""

    def part(value: Any, zone: Any = "UTC") -> int:
        if of_duration and isinstance(value, timedelta):
            return int(value.total_seconds() / of_duration)
        return read(_in_zone(value, zone))

    return part


def _milliseconds(value: Any, zone: Any = "UTC") -> int:
    if isinstance(value, timedelta):
        return int(value.total_seconds() * 1000)
    return _in_zone(value, zone).microsecond // 1000


def _type(value: Any) -> TypeValue:
    return value if isinstance(value, TypeValue) and value.name == "type" else TypeValue(type_of(value))


def _of_non_zero(value: Any) -> Optional:
    return NONE if value in (None, 0, "", False, b"", [], {}) else Optional(value, True)


def _value(optional: Any) -> Any:
    if not optional.present:
        raise EvalError("optional.none() dereference")
    return optional.value


_RECEIVED = (
    "allowed", "check", "errored", "group", "name", "namespace", "path", "reason", "resource",
    "serviceAccount", "subresource",
)  # fmt: skip


def _received(name: str) -> Callable[..., Any]:
    def call(receiver: Any, *arguments: Any) -> Any:
        if not isinstance(receiver, Receiver):
            raise EvalError(_OVERLOAD)
        return getattr(receiver, name)(*arguments)

    return call


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": _size,
    "int": _int,
    "uint": _uint,
    "double": _double,
    "bool": _bool,
    "string": to_string,
    "bytes": _bytes,
    "timestamp": _timestamp,
    "duration": _duration,
    "dyn": lambda value: value,
    "type": _type,
    "getFullYear": _date_part(lambda t: t.year),
    "getMonth": _date_part(lambda t: t.month - 1),
    "getDate": _date_part(lambda t: t.day),
    "getDayOfMonth": _date_part(lambda t: t.day - 1),
    "getDayOfWeek": _date_part(lambda t: (t.weekday() + 1) % 7),
    "getDayOfYear": _date_part(lambda t: t.timetuple().tm_yday - 1),
    "getHours": _date_part(lambda t: t.hour, 3600),
    "getMinutes": _date_part(lambda t: t.minute, 60),
    "getSeconds": _date_part(lambda t: t.second, 1),
    "getMilliseconds": _milliseconds,
    "optional.of": lambda value: Optional(value, True),
    "optional.ofNonZeroValue": _of_non_zero,
    "optional.none": lambda: NONE,
    "hasValue": lambda optional: optional.present,
    "value": _value,
    **{name: _received(name) for name in _RECEIVED},
    **strings.FUNCTIONS,
    **lists.FUNCTIONS,
    **networks.FUNCTIONS,
    **quantities.FUNCTIONS,
    **versions.FUNCTIONS,
}

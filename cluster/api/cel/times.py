"""Times and durations in text, as Go and RFC 3339 write them.

Divergence: nanoseconds are cut to microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cluster.api.cel.errors import EvalError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def duration_of(text: str) -> timedelta:
    """Raises EvalError."""
    body = text[1:] if text[:1] in "+-" else text
    seconds, at = 0.0, 0
    if body != "0":
        for match in _PART.finditer(body):
            if match.start() != at:
                break
            seconds += float(match[1]) * _UNITS[match[2]]
            at = match.end()
        if at != len(body) or not body:
            raise EvalError(f'time: invalid duration "{text}"')
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?")


def timestamp_of(text: str) -> datetime:
    """Raises EvalError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise EvalError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')
    day, time, fraction, zone = match.groups()
    whole = f"{day}T{time or '00:00:00'}{(fraction or '')[:7]}{zone or '+00:00'}".replace("z", "Z")
    try:
        return datetime.fromisoformat(whole).astimezone(UTC)
    except ValueError as error:
        raise EvalError(f'parsing time "{text}": {error}') from None


def shown_duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    return f"{int(seconds)}s" if seconds.is_integer() else f"{seconds:.9f}".rstrip("0") + "s"


def shown_timestamp(value: datetime) -> str:
    text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
    return f"{text}{fraction}Z"

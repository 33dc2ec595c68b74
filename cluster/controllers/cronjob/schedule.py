"""Cron schedules: five fields or a nickname, in a time zone. Pure.

The syntax is the one Kubernetes accepts (robfig/cron's standard parser): lists, ranges, steps, names of
months and days, `?`, `@hourly` and the like, `@every <duration>`. When both day fields are restricted, a
day that meets either counts. A time that a change to summer time skips is not run; one that comes twice is
run at its first occurrence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SEARCH_LIMIT = timedelta(days=5 * 366)
"""A schedule without a time within five years never runs."""


class ScheduleError(ValueError):
    """The schedule cannot be understood."""


@dataclass(frozen=True, slots=True)
class Schedule:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Both day fields are restricted: one of them is enough."""
    zone: tzinfo
    every_s: float = 0.0
    """For @every: a fixed distance instead of the fields."""

    def next(self, after: datetime) -> datetime | None:
        """The first time strictly later than `after`, in UTC."""
        if self.every_s:
            return after.replace(microsecond=0) + timedelta(seconds=self.every_s)
        local = after.astimezone(self.zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        end = day + _SEARCH_LIMIT
        while day < end:
            if self._runs_on(day):
                found = self._first_on(day, after)
                if found is not None:
                    return found
                day += timedelta(days=1)
            elif day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            else:
                day += timedelta(days=1)
        return None

    def _runs_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.either_day else by_date and by_weekday

    def _first_on(self, day: datetime, after: datetime) -> datetime | None:
        for hour in self.hours:
            if self._at(day, hour, 59) <= after - timedelta(hours=2):
                continue
            for minute in self.minutes:
                candidate = self._at(day, hour, minute)
                if candidate > after and self._exists(day, hour, minute, candidate):
                    return candidate
        return None

    def _at(self, day: datetime, hour: int, minute: int) -> datetime:
        return day.replace(hour=hour, minute=minute, tzinfo=self.zone).astimezone(UTC)

    def _exists(self, day: datetime, hour: int, minute: int, moment: datetime) -> bool:
        local = moment.astimezone(self.zone)
        return (local.hour, local.minute, local.day) == (hour, minute, day.day)


@lru_cache(maxsize=1024)
def parse(text: str, zone: tzinfo = UTC) -> Schedule:
    """Raises ScheduleError."""
    text = text.strip()
    if text.startswith("@every "):
        return _every(text.removeprefix("@every ").strip(), zone)
    if text.startswith("@"):
        if text not in _NICKNAMES:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _NICKNAMES[text]
    fields = text.split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    minutes, hours, days, months, weekdays = fields
    return Schedule(
        minutes=tuple(sorted(_field(minutes, 0, 59))),
        hours=tuple(sorted(_field(hours, 0, 23))),
        days=_field(days, 1, 31),
        months=_field(months, 1, 12, _MONTHS, first=1),
        weekdays=_field(weekdays, 0, 6, _DAYS),
        either_day=_is_restricted(days) and _is_restricted(weekdays),
        zone=zone,
    )


def _is_restricted(field: str) -> bool:
    return not any(part.startswith(("*", "?")) for part in field.split(","))


def _field(text: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        values |= _range(part, low, high, {name: number for number, name in enumerate(names, first)})
    return frozenset(values)


def _range(part: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    span, slash, step_text = part.partition("/")
    step = _number(step_text, {}) if slash else 1
    if step <= 0:
        raise ScheduleError(f"step of range should be a positive number: {part}")
    if span in ("*", "?"):
        start, end = low, high
    else:
        start_text, dash, end_text = span.partition("-")
        start = _number(start_text, names)
        end = _number(end_text, names) if dash else (high if slash else start)
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    return set(range(start, end + 1, step))


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ScheduleError(f"failed to parse int from {text}")
    return int(text)


def _every(text: str, zone: tzinfo) -> Schedule:
    if not text or _DURATION.sub("", text):
        raise ScheduleError(f"failed to parse duration @every {text}")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION.findall(text))
    nothing: frozenset[int] = frozenset()
    return Schedule((), (), nothing, nothing, nothing, False, zone, max(1.0, float(int(seconds))))

"""Whether a cron schedule can be read, with the words of the Go library that Kubernetes uses."""

from __future__ import annotations

from cluster.api.structure.quoting import quoted

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


class _Wrong(Exception):
    pass


def schedule_error(text: str) -> str:
    """Empty if the schedule is fine."""
    if text.startswith("@"):
        if text in _MACROS or text.startswith("@every "):
            return ""
        return f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != len(_BOUNDS):
        return f"expected exactly {len(_BOUNDS)} fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for field, (low, high, names) in zip(fields, _BOUNDS, strict=True):
            for part in field.split(","):
                _check_range(part, low, high, names)
    except _Wrong as wrong:
        return str(wrong)
    return ""


def _check_range(part: str, low: int, high: int, names: dict[str, int]) -> None:
    span, *steps = part.split("/")
    if len(steps) > 1:
        raise _Wrong(f"too many slashes: {part}")
    bounds = span.split("-")
    if bounds[0] in ("*", "?"):
        start, end = low, high
    elif len(bounds) > 2:
        raise _Wrong(f"too many hyphens: {part}")
    else:
        start = _number(bounds[0], names)
        end = _number(bounds[1], names) if len(bounds) == 2 else high if steps else start
    if steps and _number(steps[0], {}) == 0:
        raise _Wrong(f"step of range should be a positive number: {part}")
    if start < low:
        raise _Wrong(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise _Wrong(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise _Wrong(f"beginning of range ({start}) beyond end of range ({end}): {part}")


def _number(text: str, names: dict[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if not text.lstrip("-").isdigit():
        raise _Wrong(f"failed to parse int from {text}: strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    if text.startswith("-"):
        raise _Wrong(f"negative number ({text}) not allowed: {text}")
    return int(text)

"""The set-up of structlog that every process shares.

One line per event on standard output: JSON for machines, colours for a terminal. Each line has `time`,
`level`, `component`, `event`, the `cause` where there is one, and whatever was bound (`node`, `pod`). Time
comes from the process' `Clock`, so the lines of a simulation are the same on every run.
"""

from __future__ import annotations

import json as json_module
import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from broker.cause import current_cause
from broker.clock import Clock

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(
    component: str, *, json: bool, level: str, clock: Clock, stream: TextIO | None = None
) -> FilteringBoundLogger:
    """Sets structlog up for this process; gives a logger to start with. ValueError for an unknown level."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    output = stream if stream is not None else sys.stdout
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _origin(component, clock),
            *(_json_renderers() if json else _console_renderers(colours=output.isatty())),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    return cast(FilteringBoundLogger, structlog.get_logger())


def _origin(component: str, clock: Clock) -> Processor:
    def add_origin(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        now = clock.now()
        event["time"] = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06d}Z"
        event.setdefault("component", component)
        cause = current_cause()
        if cause:
            event.setdefault("cause", cause)
        return event

    return add_origin


def _json_renderers() -> list[Processor]:
    return [structlog.processors.format_exc_info, _render_json]


_FIRST = ("time", "level", "component", "event")


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    ordered: dict[str, Any] = {key: event.pop(key) for key in _FIRST}
    ordered.update(event)
    return json_module.dumps(ordered, ensure_ascii=False, default=str)


def _console_renderers(*, colours: bool) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours,
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=0,
        )
    ]

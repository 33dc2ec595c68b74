"""Which start of a CronJob is due: the latest one not yet acted on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.api.objects import Object
from cluster.controllers.cronjob.schedule import Schedule
from cluster.reconcile.pods import moment

MISSED_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Due:
    at: datetime | None
    """The start that is due now."""
    next: datetime | None
    """The first one in the future."""
    too_many_missed: bool = False


def due(cron_job: Object, schedule: Schedule, now: datetime) -> Due:
    earliest = moment(
        cron_job.get("status", {}).get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    )
    deadline_s = cron_job["spec"].get("startingDeadlineSeconds")
    if deadline_s is not None:
        earliest = max(earliest, now - timedelta(seconds=deadline_s))
    upcoming = schedule.next(now)
    first = schedule.next(earliest)
    if first is None or first > now:
        return Due(None, upcoming if not schedule.every_s else first)
    missed, latest = _latest(schedule, first, now)
    too_many = missed > MISSED_LIMIT and deadline_s is None
    return Due(latest, upcoming, too_many)


def _latest(schedule: Schedule, first: datetime, now: datetime) -> tuple[int, datetime]:
    """(how many starts from `first` to now, the last of them), with a leap over long gaps."""
    second = schedule.next(first)
    if second is None or second > now:
        return 1, first
    distance = second - first
    count = int((now - first) / distance)
    if count <= 2 * MISSED_LIMIT:
        missed, at = 1, first
    else:
        missed, at = count - MISSED_LIMIT, first
        leapt = schedule.next(now - distance * MISSED_LIMIT)
        at = leapt if leapt is not None and leapt <= now else first
    while (following := schedule.next(at)) is not None and following <= now:
        at = following
        missed += 1
    return missed, at


def is_too_late(cron_job: Object, at: datetime, now: datetime) -> bool:
    deadline_s = cron_job["spec"].get("startingDeadlineSeconds")
    return deadline_s is not None and at + timedelta(seconds=deadline_s) < now

"""Schedules as a table, and a week of CronJobs on virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.controllers.cronjob.due import due
from cluster.controllers.cronjob.schedule import ScheduleError, parse
from cluster.reconcile.pods import moment


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("0 3 * * *", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("30 8 * * mon-fri", "2026-01-02T09:00:00", "2026-01-05T08:30:00"),
        ("0 0 13 * fri", "2026-02-01T00:00:00", "2026-02-06T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("@hourly", "2026-01-01T00:10:00", "2026-01-01T01:00:00"),
        ("15,45 22-23 * dec ?", "2026-01-01T00:00:00", "2026-12-01T22:15:00"),
        ("@every 90s", "2026-01-01T00:00:00", "2026-01-01T00:01:30"),
        ("0 0 31 2 *", "2026-01-01T00:00:00", None),
    ],
)
def test_the_next_time(schedule: str, after: str, expected: str | None) -> None:
    assert parse(schedule).next(at(after)) == (at(expected) if expected else None)


def test_a_time_zone_moves_the_hour_and_skips_what_summer_time_skips() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    schedule = parse("30 2 * * *", berlin)
    assert schedule.next(at("2026-03-27T12:00:00")) == at("2026-03-28T01:30:00")
    assert schedule.next(at("2026-03-28T12:00:00")) == at("2026-03-30T00:30:00")


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "* * * * * *", "@never", "*/0 * * * *"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse(text)


def cron_job(**spec: Any) -> Object:
    container = {"name": "c", "image": "busybox"}
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"schedule": "*/10 * * * *", "jobTemplate": template, **spec},
    }


def test_of_many_missed_starts_only_the_last_is_due() -> None:
    found = due(cron_job(), parse("*/10 * * * *"), at("2026-01-03T00:05:00"))
    assert (found.at, found.next) == (at("2026-01-03T00:00:00"), at("2026-01-03T00:10:00"))
    assert found.too_many_missed


def test_a_deadline_narrows_what_is_due() -> None:
    found = due(cron_job(startingDeadlineSeconds=60), parse("*/10 * * * *"), at("2026-01-01T05:05:00"))
    assert found.at is None


def test_a_week_of_cron_jobs_passes_in_seconds() -> None:
    """Three schedules, 1 January 2026 (a Thursday) to the 8th: each start once and at its minute, in the
    schedule's own time zone; histories stay short."""
    week = {
        "often": ("0 */2 * * *", "", 83),
        "daily": ("30 4 * * *", "Asia/Tokyo", 7),
        "office": ("0 9 * * 1-5", "America/New_York", 5),
    }

    async def scenario(cluster: Cluster) -> None:
        cluster.finish = lambda pod: {"phase": "Succeeded"}
        started: dict[str, dict[str, int]] = {name: {} for name in week}

        def count(batch: object) -> None:
            for entry in cluster.store.list("jobs.batch"):
                meta = entry.object["metadata"]
                times = started[meta["ownerReferences"][0]["name"]]
                if meta["name"] not in seen:
                    seen[meta["name"]] = None
                    at = meta["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
                    times[at] = times.get(at, 0) + 1

        seen: dict[str, None] = {}
        cluster.store.subscribe(count)
        for name, (schedule, zone, _) in week.items():
            body = cron_job(schedule=schedule, **({"timeZone": zone} if zone else {}))
            body["metadata"]["name"] = name
            await cluster.create(kinds.CRON_JOBS, body)
        await cluster.settle(7 * 86_400 - 10)
        for name, (_, _, expected) in week.items():
            assert len(started[name]) == expected, (name, started[name])
            assert set(started[name].values()) == {1}
            found = await cluster.get(kinds.CRON_JOBS, name)
            assert moment(found["status"]["lastScheduleTime"]) == max(
                map(datetime.fromisoformat, started[name])
            )
        assert len(await cluster.list(kinds.JOBS)) == 9
        assert len(await cluster.pods()) == 9

    simulate(scenario)


@pytest.mark.parametrize(("policy", "expected"), [("Forbid", 1), ("Allow", 3), ("Replace", 1)])
def test_concurrency(policy: str, expected: int) -> None:
    """A job that never ends, started every ten minutes for half an hour."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.CRON_JOBS, cron_job(concurrencyPolicy=policy))
        await cluster.settle(1850)
        jobs = await cluster.list(kinds.JOBS)
        assert len(jobs) == expected
        found = await cluster.get(kinds.CRON_JOBS, "tick")
        assert len(found["status"]["active"]) == expected
        started = "2026-01-01T00:10:00Z" if policy == "Forbid" else "2026-01-01T00:30:00Z"
        assert found["status"]["lastScheduleTime"] == started

    simulate(scenario)

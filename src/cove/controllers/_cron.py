"""Cron schedules: when the next time is.

The grammar is the one CronJobs are validated with: five fields, names of months and
weekdays, ``@hourly`` and its like, ``@every 90m``.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from cove.kube.times import parse_duration

__all__ = ["CronError", "Schedule", "missed", "parse"]

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_YEARS = 5
# More missed times than this are worth a warning.
MANY = 100


class CronError(ValueError):
    """A schedule that cannot be read."""


class Schedule(NamedTuple):
    """The times that a schedule names; ``every`` is its period in seconds, 0 for cron fields."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    any_weekday: bool = True
    every: float = 0.0

    def _day(self, moment: datetime) -> bool:
        """Of day and weekday either may match, unless one is a star."""
        day = moment.day in self.days
        weekday = (moment.weekday() + 1) % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return day and weekday
        return day or weekday

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first time later than ``after``; None if there is none within five years."""
        if self.every:
            return (after + timedelta(seconds=self.every)).replace(microsecond=0)
        local = after.astimezone(zone).replace(tzinfo=None)
        moment = local.replace(second=0, microsecond=0) + timedelta(minutes=1)
        limit = moment.year + _YEARS
        while moment.year <= limit:
            if moment.month not in self.months:
                year, month = divmod(moment.year * 12 + moment.month, 12)
                moment = datetime(year, month + 1, 1)
            elif not self._day(moment):
                moment = datetime(moment.year, moment.month, moment.day) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                found = moment.replace(tzinfo=zone)
                # A clock that is put back shows a time twice: only the first counts.
                if found > after:
                    return found
                moment += timedelta(minutes=1)
        return None


def _number(text: str, names: tuple[str, ...], base: int) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + base
    if not text.isdigit():
        raise CronError(f"failed to parse int from {text}")
    return int(text)


def _field(
    text: str, low: int, high: int, names: tuple[str, ...] = (), base: int = 0
) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, (), 0) if slash else 1
        if step < 1:
            raise CronError(f"step of range should be a positive number: {text}")
        first_text, dash, last_text = span.partition("-")
        if first_text in ("*", "?"):
            first, last = low, high
        else:
            first = _number(first_text, names, base)
            last = _number(last_text, names, base) if dash else (high if slash else first)
        if first < low or last > high or first > last:
            raise CronError(f"value out of range: {text}")
        values.update(range(first, last + 1, step))
    return frozenset(values)


def parse(text: str) -> Schedule:
    """The schedule; raises CronError."""
    text = text.strip()
    if text.startswith("@every "):
        try:
            return Schedule(every=max(parse_duration(text[7:].strip()) / 1e9, 1.0))
        except ValueError as e:
            raise CronError(f"failed to parse duration {text}") from e
    fields = _MACROS.get(text, text).split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: {text}")
    minute, hour, day, month, weekday = fields
    return Schedule(
        _field(minute, 0, 59),
        _field(hour, 0, 23),
        _field(day, 1, 31),
        _field(month, 1, 12, _MONTHS, 1),
        _field(weekday, 0, 6, _DAYS),
        day[0] in "*?",
        weekday[0] in "*?",
    )


def missed(
    schedule: Schedule, since: datetime, now: datetime, zone: tzinfo
) -> tuple[datetime | None, bool]:
    """(the last time after ``since`` that has come, whether very many have).

    How many is estimated by the first two: a minute's schedule of a year is not walked
    through.  Like upstream's, the estimate finds none if it falls into a longer gap, such
    as a weekend; what was missed before it is not made up for.  Raises CronError for a schedule that names no time at all.
    """
    first = schedule.next(since, zone)
    if first is not None and now < first:
        return None, False
    second = schedule.next(first, zone) if first is not None else None
    if first is not None and second is not None and now < second:
        return first, False
    period = int((second - first).total_seconds() + 0.5) if first and second else 0
    if first is None or period < 1:
        raise CronError("time difference between two schedules is less than 1 second")
    count = int((now - first).total_seconds()) // period + 1
    # One period back from the estimate: not all are as long as the first one.
    moment = schedule.next(first + timedelta(seconds=(count - 2) * period), zone)
    last: datetime | None = None
    while moment is not None and moment <= now:
        last = moment
        moment = schedule.next(moment, zone)
    return last, count > MANY

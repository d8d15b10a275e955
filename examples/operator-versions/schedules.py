"""A kind that has grown: three versions served at once, converted through the newest.

    python -m schedules run      # from this folder; see `cove operator --help`

v1alpha1 said a cron line as text, v1beta1 took it apart, v1 has time zones and several
times.  Objects of all three are the same objects; the controller knows the newest alone.
"""

from __future__ import annotations

from typing import Annotated

from cove.operator import (
    Column,
    Ctx,
    Entity,
    Invalid,
    Items,
    Operator,
    Range,
    Struct,
    entity,
    field,
)

ZONE = "schedules.example.com/zone"
MORE = "schedules.example.com/more"


class Time(Struct):
    """A time of day."""

    hour: Annotated[int, Range(0, 23)] = 0
    minute: Annotated[int, Range(0, 59)] = 0

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"


class ScheduleSpec(Struct):
    """When something is to happen."""

    times: Annotated[list[Time], Items(1, 24)] = field(default_factory=lambda: [Time()])
    zone: str = "UTC"


class ScheduleStatus(Struct):
    """What was made of it."""

    next: Annotated[str, Column("Next")] = ""


@entity("schedules.example.com/v1", storage=True, short_names=["sch"])
class Schedule(Entity):
    """When something is to happen, every day."""

    spec: ScheduleSpec = field(default_factory=ScheduleSpec)
    status: ScheduleStatus = field(default_factory=ScheduleStatus)


class OneTime(Struct):
    """One time, in UTC."""

    hour: int = 0
    minute: int = 0


@entity("schedules.example.com/v1beta1", kind="Schedule", deprecated="use schedules.example.com/v1")
class ScheduleV1Beta1(Entity):
    """As it was when there was one time."""

    spec: OneTime = field(default_factory=OneTime)
    status: ScheduleStatus = field(default_factory=ScheduleStatus)


class Line(Struct):
    """``minute hour``, as crontab has it."""

    cron: str = "0 0"


@entity("schedules.example.com/v1alpha1", kind="Schedule", deprecated=True)
class ScheduleV1Alpha1(Entity):
    """As it was at first."""

    spec: Line = field(default_factory=Line)
    status: ScheduleStatus = field(default_factory=ScheduleStatus)


op = Operator("schedules")


def _remembered(old: Entity) -> tuple[str, list[Time]]:
    """What an old version has no place for, kept in annotations."""
    zone = old.metadata.annotations.pop(ZONE, "UTC")
    more = old.metadata.annotations.pop(MORE, "").split()
    times = [Time(hour=int(h), minute=int(m)) for h, _, m in (text.partition(":") for text in more)]
    return zone, times


def _remember(new: Schedule) -> Time:
    if new.spec.zone != "UTC":
        new.metadata.annotations[ZONE] = new.spec.zone
    first, *more = new.spec.times
    if more:
        new.metadata.annotations[MORE] = " ".join(map(str, more))
    return first


@op.convert(ScheduleV1Beta1, to=Schedule)
class Beta:
    """One time and several."""

    def to_hub(self, old: ScheduleV1Beta1) -> Schedule:
        zone, more = _remembered(old)
        first = Time(hour=old.spec.hour, minute=old.spec.minute)
        spec = ScheduleSpec(times=[first, *more], zone=zone)
        return Schedule(metadata=old.metadata, spec=spec, status=old.status)

    def from_hub(self, new: Schedule) -> ScheduleV1Beta1:
        first = _remember(new)
        spec = OneTime(hour=first.hour, minute=first.minute)
        return ScheduleV1Beta1(metadata=new.metadata, spec=spec, status=new.status)


@op.convert(ScheduleV1Alpha1, to=Schedule)
class Alpha:
    """A line of text and several times."""

    def to_hub(self, old: ScheduleV1Alpha1) -> Schedule:
        minute, _, hour = old.spec.cron.partition(" ")
        if not (minute.isdecimal() and hour.isdecimal()):
            raise Invalid(f'"{old.spec.cron}" is not "MINUTE HOUR"', field="spec.cron")
        zone, more = _remembered(old)
        first = Time(hour=int(hour), minute=int(minute))
        spec = ScheduleSpec(times=[first, *more], zone=zone)
        return Schedule(metadata=old.metadata, spec=spec, status=old.status)

    def from_hub(self, new: Schedule) -> ScheduleV1Alpha1:
        first = _remember(new)
        spec = Line(cron=f"{first.minute} {first.hour}")
        return ScheduleV1Alpha1(metadata=new.metadata, spec=spec, status=new.status)


@op.reconcile(Schedule)
async def tell(schedule: Schedule, ctx: Ctx) -> None:
    """Say when it is next; whatever version it was written in."""
    first = min(schedule.spec.times, key=lambda t: (t.hour, t.minute))
    schedule.status.next = f"{first} {schedule.spec.zone}"
    ctx.log.info("next at %s", schedule.status.next)


if __name__ == "__main__":
    op.main()

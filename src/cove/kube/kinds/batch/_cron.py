"""Cron schedules as github.com/robfig/cron/v3's standard parser judges them."""

from __future__ import annotations

import re

__all__ = ["schedule_problem"]

_MONTHS = {
    n: i
    for i, n in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {n: i for i, n in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_INTEGER = re.compile(r"[+-]?\d+")


class _CronError(ValueError):
    pass


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _CronError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    value = int(text)
    if value < 0:
        raise _CronError(f"negative number ({value}) not allowed: {text}")
    return value


def _value(text: str, words: dict[str, int]) -> int:
    word = words.get(text.lower())
    return word if word is not None else _integer(text)


def _range(text: str, low: int, high: int, words: dict[str, int]) -> None:
    parts = text.split("/")
    ends = parts[0].split("-")
    single = len(ends) == 1
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        start = _value(ends[0], words)
        if single:
            end = start
        elif len(ends) == 2:
            end = _value(ends[1], words)
        else:
            raise _CronError(f"too many hyphens: {text}")
    step = 1
    if len(parts) == 2:
        step = _integer(parts[1])
        if single:
            end = high
    elif len(parts) > 2:
        raise _CronError(f"too many slashes: {text}")
    if start < low:
        raise _CronError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise _CronError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise _CronError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise _CronError(f"step of range should be a positive number: {text}")


def schedule_problem(schedule: str) -> str:
    """What is wrong with ``0 0 1 1 *`` or ``@hourly``; "" for nothing."""
    if not schedule:
        return "empty spec string"
    if schedule.startswith("@"):
        return _descriptor_problem(schedule)
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for field, bounds in zip(fields, _BOUNDS, strict=True):
            for part in field.split(","):
                if part:
                    _range(part, *bounds)
    except _CronError as e:
        return str(e)
    return ""


def _descriptor_problem(text: str) -> str:
    from cove.kube.times import parse_duration

    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        try:
            parse_duration(text.removeprefix("@every "))
        except ValueError as e:
            return f"failed to parse duration {text}: {e}"
        return ""
    return f"unrecognized descriptor: {text}"

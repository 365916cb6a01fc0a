"""Daily spend of sixteen kinds of organizations, generated: what a forecast has to cope with.

A history is a function of kind, seed and the day of the forecast, because some stories are relative to it: a level that
doubled this week, a workspace that is three days old.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from random import Random

DAY = timedelta(days=1)
BEFORE = 200
"""Days of history before the day of the forecast."""
AFTER = 366

OFFICE_WEEK = (1.2, 1.26, 1.2, 1.22, 1.14, 0.5, 0.48)
WEEKEND_JOB = (0.4, 0.4, 0.4, 0.4, 0.4, 4.5, 0.5)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a story may depend on.

    Attributes:
        random: The source of chance of the history, after the noise of its days has its own.
        first: The day of the forecast; it and later days are unknown to the forecast.
    """

    random: Random
    first: date


Story = Callable[[Setting], Callable[[date], float]]
"""Makes the noiseless dollars of a day, relative to an average day of the organization."""


def office(day: date) -> float:
    return OFFICE_WEEK[day.weekday()]


def _is_last(day: date, days: int = 1) -> bool:
    return (day + days * DAY).month != day.month


def _steady(_: Setting) -> Callable[[date], float]:
    return lambda _: 1


def _weekdays(_: Setting) -> Callable[[date], float]:
    return office


def _weekend_job(_: Setting) -> Callable[[date], float]:
    return lambda day: WEEKEND_JOB[day.weekday()]


def _month_end(setting: Setting) -> Callable[[date], float]:
    days, size = setting.random.choice((1, 2, 3)), setting.random.uniform(2, 6)
    return lambda day: office(day) * (size if _is_last(day, days) else 1)


def _first_of_month(setting: Setting) -> Callable[[date], float]:
    size = setting.random.uniform(3, 10)
    return lambda day: office(day) + (size if day.day == 1 else 0)


def _doubled(setting: Setting, days: int | None = None) -> Callable[[date], float]:
    since = setting.first - (days or setting.random.randint(1, 7)) * DAY
    return lambda day: office(day) * (2 if day >= since else 1)


def _growth(setting: Setting) -> Callable[[date], float]:
    return lambda day: office(day) * 1.1 ** ((day - setting.first).days / 30.4)


def _intermittent(setting: Setting) -> Callable[[date], float]:
    share = setting.random.uniform(0.15, 0.5)
    seed = setting.random.random()

    def dollars(day: date) -> float:
        chance = _chance(f"{seed} {day}")
        return chance.lognormvariate(0, 0.5) / share if chance.random() < share else 0

    return dollars


def _new_workspace(setting: Setting) -> Callable[[date], float]:
    since = setting.first - setting.random.randint(3, 30) * DAY
    return lambda day: office(day) if day >= since else 0


def _step_down(setting: Setting) -> Callable[[date], float]:
    since = setting.first - setting.random.randint(8, 60) * DAY
    factor = setting.random.uniform(0.4, 0.7)
    return lambda day: office(day) * (factor if day >= since else 1)


def _drift(setting: Setting) -> Callable[[date], float]:
    level, start = [0.0], setting.first - BEFORE * DAY
    for _ in range(BEFORE + AFTER):
        level.append(level[-1] + setting.random.gauss(0, 0.02))
    return lambda day: office(day) * math.exp(level[(day - start).days])


def _holidays(setting: Setting) -> Callable[[date], float]:
    """Two working days a month without work, and the last week of the year."""
    seed = setting.random.random()

    def dollars(day: date) -> float:
        closed = (day.month, day.day) >= (12, 24) or _chance(f"{seed} {day}").random() < 2 / 30
        return office(day) * (0.3 if closed else 1)

    return dollars


def _spikes(setting: Setting) -> Callable[[date], float]:
    """One day a month, on average, that costs as much as three to eight."""
    seed = setting.random.random()

    def dollars(day: date) -> float:
        chance = _chance(f"{seed} {day}")
        return office(day) * (chance.uniform(3, 8) if chance.random() < 1 / 30 else 1)

    return dollars


def _persistent(setting: Setting) -> Callable[[date], float]:
    """Busy and quiet weeks: a deviation of 15% of which 70% lasts until the next day."""
    deviation, start = [0.0], setting.first - BEFORE * DAY
    for _ in range(BEFORE + AFTER):
        deviation.append(0.7 * deviation[-1] + setting.random.gauss(0, 0.15 * math.sqrt(1 - 0.7**2)))
    return lambda day: office(day) * math.exp(deviation[(day - start).days])


KINDS: dict[str, tuple[Story, float]] = {
    "steady": (_steady, 0.03),
    "weekday pattern": (_weekdays, 0.05),
    "noise of 10%": (_weekdays, 0.1),
    "noise of 35%": (_weekdays, 0.35),
    "weekend job": (_weekend_job, 0.1),
    "month-end spike": (_month_end, 0.1),
    "first-of-month batch": (_first_of_month, 0.1),
    "level doubled this week": (_doubled, 0.1),
    "growth of 10% a month": (_growth, 0.1),
    "intermittent": (_intermittent, 0.1),
    "new workspace": (_new_workspace, 0.1),
    "step down": (_step_down, 0.1),
    "drift": (_drift, 0.05),
    "holidays": (_holidays, 0.1),
    "spikes": (_spikes, 0.1),
    "busy and quiet weeks": (_persistent, 0.05),
}
"""The story, and the noise of a day (the standard deviation of its logarithm)."""


def history(kind: str, seed: int, first: date) -> dict[date, float]:
    """Dollars of each day, from `BEFORE` days before `first` to `AFTER` days after it."""
    story, noise = KINDS[kind]
    return dict(_days(story, noise, f"{kind} {seed}", first))


def doubled(days: int, seed: int, first: date) -> dict[date, float]:
    """The history of a level that doubled this many days before `first`."""
    return dict(_days(partial(_doubled, days=days), 0.1, f"doubled {days} {seed}", first))


def _days(story: Story, noise: float, name: str, first: date) -> Iterator[tuple[date, float]]:
    dollars = story(Setting(_chance(name), first))
    chance = _chance(f"{name} {first}")
    scale = 10 ** chance.uniform(0, 4)
    for number in range(BEFORE + AFTER):
        day = first + (number - BEFORE) * DAY
        yield day, round(scale * dollars(day) * math.exp(chance.gauss(0, noise)), 6)


def _chance(seed: str) -> Random:
    return Random(seed)  # noqa: S311 - the same histories in every run

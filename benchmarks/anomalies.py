"""Anomalies in simulated organizations: what is missed and what is falsely found, beside two common methods.

Spend has weekdays, slow growth and normal noise; false findings are also counted with log-normal noise. An organization
has five workspaces; each event is planted in one of them. The seeds of this run are not those that the method was
developed with.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from statistics import median
from typing import Any

from usage_cost_mcp.analysis.anomalies import HISTORY_DAYS, Anomaly, find_anomalies
from usage_cost_mcp.model.rows import Key

from .figures import Figure, counted

DEVELOPMENT_SEED, SEED = "development", "report"
NOISE = {"calm": 0.05, "normal": 0.15, "noisy": 0.35}
GROUPS = 5
ORGANIZATIONS, EVENTS = 120, 120
"""Of each noise level, and of each kind of event."""

_FIRST = date(2026, 8, 31)
_MONTH = 30
_DAYS = HISTORY_DAYS + _MONTH
_MINIMUM = 1.0
_FALSE_BOUND = {"calm": 0.1, "normal": 0.15, "noisy": 0.5}

Spend = list[float]
Span = tuple[range, int]
"""Days, and whether they are above (1) or below (-1) what is usual."""

Method = Callable[[Sequence[float]], Sequence[Span]]
"""Finds the anomalies of the last month."""


def counts() -> Iterable[Figure]:
    """False findings per organization and month, and the share of events that is missed."""
    for log_normal in (False, True):
        for level in NOISE:
            mine, *others = (
                (name, false_findings(method, level, log_normal=log_normal)) for name, method in METHODS.items()
            )
            unit = ", ".join(f"{name} {found:.2f}" for name, found in others)
            what = f"{level}{', log-normal' if log_normal else ''}: false findings per organization and month"
            yield counted(what, mine[1], unit, None if log_normal else _FALSE_BOUND[level])
    for kind, event in EVENTS_BY_KIND.items():
        for level in NOISE:
            ours, *others = ((name, missed(method, kind, level)) for name, method in METHODS.items())
            unit = ", ".join(f"{name} {share:.0f}" for name, share in others)
            yield counted(f"{kind}, {level}: missed", ours[1], f"% ({unit})", event.bounds.get(level))
    for level in NOISE:
        yield counted(f"2% a day for three weeks, {level}: not told as a drift", not_a_drift(level), "%", _DRIFT[level])
        ours, *others = ((name, monthly_job(method, level)) for name, method in METHODS.items())
        unit = ", ".join(f"{name} {share:.0f}" for name, share in others)
        yield counted(f"a monthly job for the third time, {level}: found", ours[1], f"% ({unit})", _MONTHLY[level])


_DRIFT: Mapping[str, float | None] = {"calm": 20, "normal": None, "noisy": None}
_MONTHLY: Mapping[str, float | None] = {"calm": 0, "normal": 0, "noisy": None}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is planted.

    Attributes:
        plant: Changes the spend, whose working day is the given amount, from a day on; returns the end of the event.
        sign: 1 if it costs more, -1 if less.
        last_start: The last day of the month, from zero, on which it may begin.
        bounds: The largest share of missed events in percent, by noise level.
        weekend: Whether it begins on a Saturday of a workspace that is quiet on weekends.
    """

    plant: Callable[[Spend, float, int], int]
    sign: int
    last_start: int
    bounds: Mapping[str, float]
    weekend: bool = False


def _times(factor: float, days: int = _MONTH) -> Callable[[Spend, float, int], int]:
    def plant(spend: Spend, _: float, start: int) -> int:
        end = min(start + days, len(spend))
        spend[start:end] = [factor * cost for cost in spend[start:end]]
        return end

    return plant


def _weekend_job(spend: Spend, working_day: float, start: int) -> int:
    for day in (start, start + 1):
        spend[day] += working_day
    return start + 2


EVENTS_BY_KIND = {
    "a stop": Event(_times(0), -1, 22, {"calm": 5, "normal": 5, "noisy": 5}),
    "half as much": Event(_times(0.5), -1, 22, {"calm": 15, "normal": 15}),
    "three days of 1.5 times as much": Event(_times(1.5, 3), 1, 26, {"calm": 25, "normal": 25}),
    "one day of 3 times as much": Event(_times(3, 1), 1, 28, {"calm": 0, "normal": 2}),
    "a job on a weekend": Event(_weekend_job, 1, 22, {"calm": 1, "normal": 1}, weekend=True),
}


def spend_of(
    random: Random, noise: float, *, quiet_weekend: bool = False, log_normal: bool = False
) -> tuple[Spend, float]:
    """The spend of a workspace by day, from a Monday on, and that of a working day without noise."""
    working_day = 10 ** random.uniform(1.3, 3.3)
    weekend = random.uniform(0.1, 0.3) if quiet_weekend else random.choice([random.uniform(0.1, 0.5), 1])
    growth = 1 + random.uniform(-0.02, 0.04)
    sigma = math.sqrt(math.log(1 + noise * noise))

    def factor() -> float:
        if log_normal:
            return math.exp(random.gauss(0, sigma) - sigma * sigma / 2)
        return max(0.0, random.gauss(1, noise))

    pace = [1.0] * 5 + [weekend] * 2
    return [working_day * pace[day % 7] * growth ** (day / 30) * factor() for day in range(_DAYS)], working_day


def false_findings(
    method: Method, level: str, organizations: int = ORGANIZATIONS, seed: str = SEED, *, log_normal: bool = False
) -> float:
    """The findings per organization and month in which nothing happens."""
    random = Random(f"{seed} {level}")  # noqa: S311 - no secret
    spend = (spend_of(random, NOISE[level], log_normal=log_normal)[0] for _ in range(organizations * GROUPS))
    return sum(len(method(each)) for each in spend) / organizations


def missed(method: Method, kind: str, level: str, events: int = EVENTS, seed: str = SEED) -> float:
    """The percentage of events without a finding on any of their days, in their direction."""
    event = EVENTS_BY_KIND[kind]
    random = Random(f"{seed} {kind} {level}")  # noqa: S311 - no secret
    found = 0
    for _ in range(events):
        spend, working_day = spend_of(random, NOISE[level], quiet_weekend=event.weekend)
        start = HISTORY_DAYS + random.randrange(event.last_start + 1)
        if event.weekend:
            start += (5 - start) % 7
        end = event.plant(spend, working_day, start)
        found += any(sign == event.sign and days.start < end and days.stop > start for days, sign in method(spend))
    return 100 * (1 - found / events)


def not_a_drift(level: str, events: int = EVENTS, seed: str = SEED) -> float:
    """The percentage of slow leaks without a finding of the status drift: 2% a day for 21 days, which then stay."""
    random = Random(f"{seed} drift {level}")  # noqa: S311 - no secret
    found = 0
    for _ in range(events):
        spend, _ = spend_of(random, NOISE[level])
        start = HISTORY_DAYS + random.randrange(_MONTH - 20)
        for day in range(start, len(spend)):
            spend[day] *= 1.02 ** min(day - start + 1, 21)
        found += any(each.status == "drift" and each.excess > 0 for each in _anomalies(spend))
    return 100 * (1 - found / events)


def monthly_job(method: Method, level: str, events: int = EVENTS, seed: str = SEED) -> float:
    """The percentage of months in which the third day of a monthly job of 3 to 8 working days' cost is found."""
    random = Random(f"{seed} monthly {level}")  # noqa: S311 - no secret
    found = 0
    for _ in range(events):
        spend, working_day = spend_of(random, NOISE[level])
        day, factor = HISTORY_DAYS + random.randrange(_MONTH), random.uniform(3, 8)
        for each in (day, day - random.choice([30, 31]), day - 61):
            spend[each] += factor * working_day
        found += any(day in days for days, _ in method(spend))
    return 100 * found / events


def _anomalies(spend: Sequence[float]) -> Sequence[Anomaly]:
    amounts: dict[Key, Sequence[Decimal]] = {("group",): [Decimal(f"{cost:.6f}") for cost in spend]}
    evaluate_from = _FIRST + HISTORY_DAYS * timedelta(days=1)
    return find_anomalies(amounts, _FIRST, evaluate_from, Decimal(_MINIMUM)).anomalies


def ours(spend: Sequence[float]) -> Sequence[Span]:
    """The method of `find_spend_anomalies`."""
    return [
        (range((each.start - _FIRST).days, (each.end - _FIRST).days + 1), 1 if each.excess > 0 else -1)
        for each in _anomalies(spend)
    ]


def median_by_weekday(spend: Sequence[float]) -> Sequence[Span]:
    """Days that differ from the median of eight of the same weekday by 3.5 times their scaled absolute deviation."""

    def sign(day: int) -> int:
        before = spend[day - 56 : day : 7]
        usual = median(before)
        spread = 1.4826 * median(abs(cost - usual) for cost in before)
        return _sign(spend[day] - usual, 3.5 * spread)

    return _spans(sign)


def stl(spend: Sequence[float]) -> Sequence[Span]:
    """Days whose remainder in a robust STL decomposition of all days is beyond 3.5 times its scaled deviation."""
    from statsmodels.tsa import seasonal  # pyright: ignore[reportMissingTypeStubs]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decompose: Any = seasonal
        fit = decompose.STL(spend, period=7, robust=True).fit()
    remainder = [float(each) for each in fit.resid]
    middle = median(remainder)
    spread = 1.4826 * median(abs(each - middle) for each in remainder)
    return _spans(lambda day: _sign(remainder[day] - middle, 3.5 * spread))


def _sign(deviation: float, threshold: float) -> int:
    return 0 if abs(deviation) <= max(threshold, _MINIMUM) else 1 if deviation > 0 else -1


def _spans(sign: Callable[[int], int]) -> list[Span]:
    """Consecutive days of the month with the same sign as one finding."""
    spans: list[Span] = []
    for day in range(HISTORY_DAYS, _DAYS):
        if each := sign(day):
            if spans and spans[-1][0].stop == day and spans[-1][1] == each:
                spans[-1] = range(spans[-1][0].start, day + 1), each
            else:
                spans.append((range(day, day + 1), each))
    return spans


METHODS: Mapping[str, Method] = {"ours": ours, "median/MAD": median_by_weekday, "STL": stl}

"""The sentences that state a change, its drivers, an anomaly or a forecast. Each is a function of the numbers alone."""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.billing_lag import BillGap
from usage_cost_mcp.analysis.price_volume_mix import Driver, Normalization
from usage_cost_mcp.model.money import format_dollars, format_signed
from usage_cost_mcp.model.periods import Period

from .labels import NULL_LABELS, Labels

_MAX_DRIVERS = 3


def plural(count: int, noun: str) -> str:
    """Such as "1 group", "2 groups"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def enumeration(items: Sequence[str]) -> str:
    """Such as "a", "a and b", "a, b and c"."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def whole_percent(share: Fraction) -> str:
    """A share in whole percent. Neither 0% nor 100% where there is a little or a remainder."""
    percent = round(100 * share)
    if percent == 0 < share:
        return "less than 1%"
    return "more than 99%" if percent == 100 and share < 1 else f"{percent}%"  # noqa: PLR2004 - percent


def bill_gap(gap: BillGap) -> str:
    """How much of the bill of the first incomplete day has arrived."""
    if gap.coverage is None:
        return (
            f"The bill from {gap.day} on may not be complete: that day has less cost than every earlier one, and the "
            "usage to check it by is unavailable."
        )
    if gap.coverage <= 0:
        return (
            f"No cost is reported yet for the tokens used on {gap.day}; from that day on the bill may not be complete."
        )
    share = max(1, math.floor(100 * gap.coverage))
    return (
        f"The bill for {gap.day} covers {share}% of what its usage cost at earlier prices; from that day on it may not "
        "be complete."
    )


def driver_label(driver: Driver, labels: Labels) -> str:
    """What changed and where, such as "more claude-opus-4-6 tokens in Production"."""
    group, increased = driver.group, driver.change > 0
    workspace = labels.of("workspace_id", group["workspace_id"]) if "workspace_id" in group else ""
    model = group.get("model")
    match driver.effect:
        case "volume":
            tokens = f"{model} tokens" if model else "tokens"
            return f"{'more' if increased else 'fewer'} {tokens} in {workspace}"
        case "price":
            return f"{'higher' if increased else 'lower'} price of {model or 'unknown models'}"
        case "model_mix" | "tier_mix":
            lost, gained = driver.shift or ("", "")
            place = f"{model} in {workspace}" if model else workspace
            return f"shift from {lost} to {gained} in {place}"
        case "cache_mix":
            return f"{'lower' if increased else 'higher'} cache hit rate in {workspace}"
        case "output_mix":
            return f"{'more' if increased else 'less'} output per input token in {workspace}"
        case "no_tokens":
            return f"{group['description'] or group['cost_type'] or NULL_LABELS['cost_type']} in {workspace}"


def driver_with_change(driver: Driver, labels: Labels) -> str:
    """A driver and the dollars that it added or saved."""
    return f"{driver_label(driver, labels)} {format_signed(driver.change)}"


def comparison_summary(
    current: Period,
    previous: Period,
    cost: Decimal,
    change: Decimal,
    change_ratio: float | None,
    drivers: Sequence[Driver],
    labels: Labels,
) -> str:
    """What a period cost, how that differs from the period before, and why; per day if their lengths differ."""
    per_day = " per day" if Normalization(len(current), len(previous)).per_day else ""
    if change:
        ratio = "" if change_ratio is None else f" ({abs(change_ratio):.1%})"
        difference = f"{format_dollars(abs(change))}{per_day}{ratio} {'more' if change > 0 else 'less'} than"
    else:
        difference = f"the same{per_day} as"
    summary = f"Spend for {current} was {format_dollars(cost)}, {difference} for {previous}."
    if not drivers:
        return summary
    largest = "; ".join(driver_with_change(driver, labels) for driver in drivers[:_MAX_DRIVERS])
    return f"{summary} Largest drivers{per_day}: {largest}."


def anomalies_summary(
    period: Period,
    groups: int,
    group_by: Sequence[str],
    history_days: int,
    minimum: Decimal,
    found: int,
    largest: str | None,
) -> str:
    """How many anomalies there are, what was checked, and the largest as described by `anomaly_label`."""
    checked = (
        f"Compared {_group_count(groups, group_by)} with the same weekdays of the previous {history_days} days "
        f"(threshold {format_dollars(minimum)})."
    )
    if not found:
        return f"No anomalies in spend for {period}. {checked}"
    anomalies = "1 anomaly" if found == 1 else f"{found} anomalies"
    return f"{anomalies} in spend for {period}; largest: {largest}. {checked}"


def _group_count(groups: int, group_by: Sequence[str]) -> str:
    match group_by:
        case []:
            return "the total"
        case [dimension]:
            return plural(groups, dimension.removesuffix("_id").replace("_", " "))
        case _:
            return f"{plural(groups, 'group')} by {' / '.join(group_by)}"


def anomaly_label(label: str, start: date, end: date, cost: Decimal, expected: Decimal) -> str:
    """Such as "Production on 2026-11-03: $120.00 instead of $80.00"."""
    days = f"on {start}" if start == end else f"from {start} to {end}"
    return f"{label} {days}: {format_dollars(cost)} instead of {format_dollars(expected)}"


def forecast_summary(
    subject: str,
    expected: Decimal,
    interval: tuple[Decimal, Decimal] | None,
    spent: Decimal,
    complete_days: int,
    median_error: float | None,
    tested_periods: int,
) -> str:
    """What a subject (period and filters) is expected to cost, what is spent, and how accurate past forecasts were."""
    between = f" (80% interval {' to '.join(map(format_dollars, interval))})" if interval else ""
    summary = (
        f"Spend for {subject} is expected to be {format_dollars(expected)}{between}; {format_dollars(spent)} was spent "
        f"in {plural(complete_days, 'complete day')}."
    )
    if median_error is None:
        return summary
    return f"{summary} Earlier forecasts by this method were off by {median_error:.1%} (median of {tested_periods})."


def budget_summary(budget: Decimal, overrun: Decimal, share_used: float, exhausted_on: date | None) -> str:
    """How an expected cost compares with a budget; `overrun` is negative below the budget."""
    difference = f"{format_dollars(abs(overrun))} {'over' if overrun > 0 else 'under'}"
    exhausted = f", exhausted on {exhausted_on}" if exhausted_on else ""
    return f"That is {difference} the budget of {format_dollars(budget)}{exhausted}; {share_used:.0%} of it is used."

"""The sentences that state a change, its drivers, an anomaly or a forecast. Each is a function of the numbers alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.billing_lag import BillGap
from usage_cost_mcp.analysis.cost_usage_join import WorkspacePriceKey
from usage_cost_mcp.analysis.forecasting import Backtest, LevelChange
from usage_cost_mcp.analysis.price_volume_mix import Driver, Effect, Group, variant_label
from usage_cost_mcp.analysis.working_days import WorkingDays
from usage_cost_mcp.model.dimensions import CACHE_READ, CACHE_WRITE_1H, CACHE_WRITE_5M, OUTPUT, UNCACHED
from usage_cost_mcp.model.money import exact, format_dollars, format_rate, format_signed, round_half_even
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
            f"The bill from {gap.day} on may not be complete: the cost of that day is unusually low, and the usage to "
            "check it by is unavailable."
        )
    if gap.coverage <= 0:
        return f"No cost is reported yet for the tokens of {gap.day}; from that day on the bill may not be complete."
    share = max(1, math.floor(100 * gap.coverage))
    return (
        f"The bill for {gap.day} covers {share}% of what its usage cost at earlier prices; from that day on it may not "
        "be complete."
    )


def driver_label(driver: Driver, labels: Labels) -> str:
    """What changed and where, such as "more use of claude-opus-4-6 in Production"."""
    workspace = labels.of("workspace_id", driver.group["workspace_id"]) if "workspace_id" in driver.group else ""
    model = f"{driver.group.get('model') or 'an unknown model'}{_variant(driver.group)}"
    return _LABELS[driver.effect](driver, workspace, model)


def _days_label(driver: Driver, _workspace: str, _model: str) -> str:
    first, second = driver.shift or ("", "")
    return f"{second} instead of {first} days"


def _volume_label(driver: Driver, workspace: str, model: str) -> str:
    tokens = _token_words(driver)
    if not tokens:
        return f"{'more' if driver.change > 0 else 'less'} use of {model} in {workspace}"
    amount = "more" if driver.change > 0 else "fewer" if tokens.endswith("s") else "less"
    return f"{amount} {tokens} in {workspace} / {model}"


def _price_label(driver: Driver, _workspace: str, model: str) -> str:
    tokens = _token_words(driver)
    price = "average price" if driver.status == "average" else "price"
    return f"{'higher' if driver.change > 0 else 'lower'} {price} of {f'{tokens} of ' if tokens else ''}{model}"


def _model_label(driver: Driver, workspace: str, _model: str) -> str:
    first, second = driver.shift or ("", "")
    return f"shift from {first} to {second} in {workspace}"


def _tier_label(driver: Driver, workspace: str, model: str) -> str:
    first, second = driver.shift or ("", "")
    for tier, direction in ((second, "to"), (first, "from")):
        if tier.startswith("priority"):
            return f"move of {model} in {workspace} {direction} the Priority Tier, whose cost Anthropic does not report"
    return f"shift from {first} to {second} of {model} in {workspace}"


def _cache_label(driver: Driver, workspace: str, model: str) -> str:
    """A cache hit rate only if it moved in the direction that explains the dollars."""
    first, second = driver.shift or ("", "")
    if CACHE_READ in (first, second) and driver.hit_rate and (driver.hit_rate < 0) == (driver.change > 0):
        change = f"{'lower' if driver.change > 0 else 'higher'} cache hit rate"
    else:
        change = f"shift from {_TOKENS.get(first, first)} to {_TOKENS.get(second, second)}"
    return f"{change} of {model} in {workspace}"


def _charge_label(driver: Driver, workspace: str, _model: str) -> str:
    group, increased = driver.group, driver.change > 0
    description = group["description"] or group["cost_type"] or NULL_LABELS["cost_type"]
    amount = ("smaller" if increased else "larger") if driver.effect == "credits" else "more" if increased else "less"
    words = {"new": "", "ended": "no more "}.get(driver.status or "", f"{amount} ")
    return f"{words}{description} in {workspace}"


def _unmatched_label(driver: Driver, workspace: str, model: str) -> str:
    found, lacking = ("usage", "cost") if driver.status == "without_cost" else ("cost", "usage")
    return f"{found} of {model} in {workspace} without {lacking} in the report"


_LABELS: Mapping[Effect, Callable[[Driver, str, str], str]] = {
    "days": _days_label,
    "volume": _volume_label,
    "price": _price_label,
    "model_mix": _model_label,
    "tier_mix": _tier_label,
    "cache_mix": _cache_label,
    "no_tokens": _charge_label,
    "credits": _charge_label,
    "unmatched": _unmatched_label,
}


def _token_words(driver: Driver) -> str | None:
    """The token type of a driver, if it has one."""
    token_type = driver.group.get("token_type")
    return token_type and _TOKENS.get(token_type, token_type)


_TOKENS = {
    UNCACHED: "uncached input",
    CACHE_READ: "cache reads",
    CACHE_WRITE_5M: "5-minute cache writes",
    CACHE_WRITE_1H: "1-hour cache writes",
    OUTPUT: "output",
}


def _variant(group: Group) -> str:
    """What distinguishes a variant of a model: "" or such as " (batch)"."""
    values = [variant_label(name, value) for name, value in group.items() if name in _VARIANT_DIMENSIONS]
    return f" ({', '.join(values)})" if values else ""


_VARIANT_DIMENSIONS = frozenset(WorkspacePriceKey._fields) - {"workspace_id", "model"}


def driver_with_change(driver: Driver, labels: Labels) -> str:
    """A driver and the dollars that it added or saved."""
    return f"{driver_label(driver, labels)} {format_signed(driver.change)}"


def comparison_summary(
    current: Period,
    previous: Period,
    cost: Decimal,
    previous_cost: Decimal,
    drivers: Sequence[Driver],
    labels: Labels,
) -> str:
    """What a period cost, how that differs from the earlier one, per day too if their lengths differ, and why."""
    with exact():
        change = cost - previous_cost
    summary = f"Spend for {current} was {format_dollars(cost)}, "
    summary += f"{_difference(change, change_ratio(cost, previous_cost))} {'than' if change else 'as'} for {previous}"
    if len(current) != len(previous):
        per_day = change_per_day(current, previous, cost, previous_cost)
        ratio = change_ratio(Fraction(cost) / len(current), Fraction(previous_cost) / len(previous))
        summary += f"; per day {_difference(per_day, ratio, format_rate)}"
    if not drivers:
        return f"{summary}."
    largest = "; ".join(driver_with_change(driver, labels) for driver in drivers[:_MAX_DRIVERS])
    return f"{summary}. Largest drivers: {largest}."


def _difference(change: Decimal, ratio: float | None, formatted: Callable[[Decimal], str] = format_dollars) -> str:
    """Such as "$5.00 (2.5%) more"; without a ratio where it is unknown."""
    if not change:
        return "the same"
    share = "" if ratio is None else f" ({format_ratio(abs(ratio))})"
    return f"{formatted(abs(change))}{share} {'more' if change > 0 else 'less'}"


def change_ratio(cost: Decimal | Fraction, previous_cost: Decimal | Fraction) -> float | None:
    """The change as a share of the previous cost, to four digits; None if either is a credit, or the latter zero."""
    if previous_cost <= 0 or cost < 0:
        return None
    return round(float((Fraction(cost) - Fraction(previous_cost)) / Fraction(previous_cost)), 4)


def format_ratio(ratio: float) -> str:
    """A share above zero, for people: never "0.0%"."""
    return f"{ratio:,.1%}" if ratio >= _SMALLEST_RATIO else "<0.1%"


_SMALLEST_RATIO = 0.0005


def change_per_day(current: Period, previous: Period, cost: Decimal, previous_cost: Decimal) -> Decimal:
    """The difference of the costs of an average day, rounded to a millionth of a dollar."""
    return round_half_even(Fraction(cost) / len(current) - Fraction(previous_cost) / len(previous), 6)


def unequal_lengths(days: int, previous_days: int) -> str:
    """How the drivers of a change treat periods of different lengths."""
    return (
        f"The periods have {days} and {previous_days} days. The driver days is an average day of the earlier one, "
        "without credits, times the difference; the other drivers compare with that period as if it had "
        f"{plural(days, 'day')}."
    )


def unequal_working_days(both: WorkingDays) -> str:
    """How many working days two periods have, and what that explains, if it is known."""
    (working, days), (previous_working, previous_days) = both.days, both.previous_days
    counts = f"{working} of {plural(days, 'day')} {'is' if working == 1 else 'are'} Monday to Friday"
    counts += f", {previous_working} of {previous_days} in the earlier period"
    if both.premium is None or both.effect is None:
        return f"{counts}."
    premium = f"{format_dollars(abs(both.premium))} {'more' if both.premium > 0 else 'less'}"
    return (
        f"{counts}, when such a day cost {premium} than one of a weekend (medians). "
        f"That explains about {format_signed(both.effect)} of the change."
    )


def incomparable_summary(
    current: Period,
    previous: Period,
    cost: Decimal,
    previous_cost: Decimal,
    earlier: Period,
    first: date | None,
    subject: str,
) -> str:
    """Two costs without a comparison: the earlier of the periods has no cost before its day `first`, or none at all.

    `subject` is what is compared: "" for the organization, or the filters as `filter_clause` names them.
    """
    if first is None:
        reason = f"There is no cost at all for {earlier}{subject}, so there is nothing to compare"
    else:
        reason = f"There is no cost before {first}{subject}, so {earlier} is not comparable"
    return (
        f"{reason}. Spend for {current}{subject} was {format_dollars(cost)}; for {previous} it was "
        f"{format_dollars(previous_cost)}."
    )


@dataclass(frozen=True, slots=True)
class DetectionCoverage:
    """In how many groups anomalies were looked for.

    Attributes:
        groups: All groups.
        spikes_only: Those with too little history on every day to find more than large spikes.
        not_evaluated: Those with too little history on every day to find anything.
    """

    groups: int
    spikes_only: int = 0
    not_evaluated: int = 0


def anomalies_summary(
    period: Period,
    coverage: DetectionCoverage,
    group_by: Sequence[str],
    baseline_days: int,
    minimum: Decimal,
    found: int,
    largest: str | None,
) -> str:
    """How many anomalies there are, the largest as described by `anomaly_label`, what was checked and what was not."""
    in_full = coverage.groups - coverage.spikes_only - coverage.not_evaluated
    if not coverage.groups:
        return f"There is no spend for {period} or before it in which anomalies could be found."
    if coverage.not_evaluated == coverage.groups:
        return (
            f"Anomalies in spend for {period} cannot be found: there is less than a week of history of "
            f"{_group_count(coverage.groups, group_by)}."
        )
    checked = [
        f"Compared {_group_count(in_full, group_by)} with the same weekdays of the previous {baseline_days} days "
        f"(threshold {format_dollars(minimum)})."
        if in_full
        else "",
        f"{_group_count(coverage.spikes_only, group_by)} with less than three weeks of history: only large spikes can "
        "be found."
        if coverage.spikes_only
        else "",
        f"{_group_count(coverage.not_evaluated, group_by)} with less than a week of history: not evaluated."
        if coverage.not_evaluated
        else "",
    ]
    if found:
        anomalies = "1 anomaly" if found == 1 else f"{found} anomalies"
        result = f"{anomalies} in spend for {period}; largest: {largest}."
    elif in_full:
        result = f"No anomalies in spend for {period}."
    else:
        result = f"No large spikes in spend for {period}."
    return " ".join([result, *(f"{each[0].upper()}{each[1:]}" for each in checked if each)])


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


def counterpart_clause(label: str, excess: Decimal) -> str:
    """What follows `anomaly_label` if cost moved from one model to another: the other one, and its excess."""
    return f", as cost moved {'to' if excess > 0 else 'from'} {label} ({format_signed(excess)})"


def forecast_summary(
    subject: str,
    expected: Decimal,
    interval: tuple[Decimal, Decimal] | None,
    spent: Decimal,
    complete_days: int,
    incomplete_days: Sequence[date],
    tested: Backtest,
) -> str:
    """What a subject (period and filters) is expected to cost, what is spent, and how accurate past forecasts were.

    Args:
        subject: The period and filters.
        expected: Dollars of the whole period.
        interval: Its 80% interval.
        spent: Dollars that are reported for the period.
        complete_days: The number of days that are over and billed.
        incomplete_days: The days after them that have begun: days without a complete bill, and today.
        tested: The errors of earlier forecasts.
    """
    between = f" (80% interval {' to '.join(map(format_dollars, interval))})" if interval else ""
    parts = [plural(complete_days, "complete day")] if complete_days else []
    if incomplete_days:
        since = f" since {incomplete_days[0]}" if len(incomplete_days) > 1 else f" for {incomplete_days[0]}"
        parts.append(f"what is reported so far{since}")
    covered = f"{format_dollars(spent)} is spent ({' and '.join(parts)})" if parts else "none of these days has begun"
    error = f" {past_error(tested)}" if tested.median_error is not None else ""
    return f"Spend for {subject} is expected to be {format_dollars(expected)}{between}; {covered}.{error}"


def past_error(tested: Backtest) -> str:
    """How far off the same forecast was in earlier months."""
    error = tested.median_error or 0.0
    size = f"{error:.1%}" if error >= _SMALLEST_ERROR else f"less than {_SMALLEST_ERROR:.1%}"
    if tested.months == 1:
        return f"An earlier forecast by this method was off by {size}."
    return f"Earlier forecasts by this method were off by {size} (median of {tested.months})."


_SMALLEST_ERROR = 0.001


def price_changes(models: Sequence[str]) -> str:
    """Models whose daily prices differ within a period."""
    return (
        f"Prices of {', '.join(models)} changed within the period: the average is shown, with the lowest and highest "
        "daily price as range. Use a shorter period to see each price."
    )


def level_change(change: LevelChange) -> str:
    """A change of spend that is too young to tell whether it lasts."""
    now, before = format_dollars(change.now), format_dollars(change.before)
    if change.days == 1:
        return (
            f"{change.since} cost {now}, where about {before} was usual. The forecast takes that day for an exception; "
            "if spend stays there, the outcome may be outside the interval."
        )
    return (
        f"The level of spend changed on {change.since}: an average day costs {now} since then, and {before} before. "
        "It is too early to tell whether this lasts, so the interval covers both."
    )


def credits_left_out(granted: Decimal) -> str:
    """How credits enter a forecast; `granted` is the sum, below zero, of those in the period."""
    if not granted:
        return "Credits are not forecast, and earlier ones are not part of the pattern."
    deducted = f"Credits and other negative amounts of {format_dollars(-granted)} are deducted from what is spent"
    return f"{deducted}; further ones are not forecast."


def budget_summary(
    budget: Decimal,
    expected: Decimal,
    interval: tuple[Decimal, Decimal] | None,
    spent: Decimal,
    exhausted_on: date | None,
) -> str:
    """How an expected cost compares with a budget, and how much of the budget is used."""
    difference = abs(expected - budget)
    side = f"{format_dollars(difference)} {'over' if expected > budget else 'under'}" if difference else "exactly"
    possible = ", which is within the interval" if interval and interval[0] < budget < interval[1] else ""
    tense = "was" if spent > budget else "is expected to be"
    exhausted = f"; it {tense} exhausted on {exhausted_on}" if exhausted_on else ""
    used = "none" if spent <= 0 else whole_percent(Fraction(spent) / Fraction(budget))
    return f"That is {side} the budget of {format_dollars(budget)}{possible}{exhausted}; {used} of it is used."

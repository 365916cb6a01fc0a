"""Through which day a bill is taken as complete, from rows made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from usage_cost_mcp.analysis.billing_lag import BillGap, find_gap, find_low_day
from usage_cost_mcp.model.rows import DayRows, Key, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.reports.billing import Bill

TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
OPUS: Key = ("wrkspc_a", "claude-opus-4-6", "standard", "0-200k", "global")
OPUS_ELSEWHERE: Key = ("wrkspc_b", *OPUS[1:])
SONNET: Key = ("wrkspc_b", "claude-sonnet-4-6", "standard", "0-200k", None)
PRIORITY: Key = ("wrkspc_a", "claude-opus-4-6", "priority", "0-200k", "global")


@dataclass(frozen=True)
class Use:
    """Output tokens of a key on a day, and their price in dollars per million; None where no cost is reported."""

    tokens: int
    price: str | None = "25"
    key: Key = OPUS


def day_rows(ago: int, uses: Sequence[Use], credit: str | None = None) -> tuple[DayRows, DayRows]:
    """The cost and the usage of a day that is some days before today."""
    costs: list[Row] = [
        (_cost_key(use.key, "output_tokens"), (Decimal(use.price) * use.tokens / 10**6,))
        for use in uses
        if use.price is not None
    ]
    if credit:
        costs.append((_cost_key((None,) * len(OPUS), None), (Decimal(credit),)))
    usage: list[Row] = [(use.key, (0, 0, 0, 0, use.tokens, 0)) for use in uses]
    day = TODAY - timedelta(days=ago)
    return (
        DayRows(day, COST_REPORT.base_view, {0: costs}, NOW, reported=True),
        DayRows(day, USAGE_REPORT.base_view, {0: usage}, NOW, reported=True),
    )


def _cost_key(key: Key, token_type: str | None) -> Key:
    values = {**dict(zip(USAGE_REPORT.base_view, key, strict=True)), "token_type": token_type}
    return tuple(values.get(dimension) for dimension in COST_REPORT.base_view)


NO_USE: Sequence[Use] = ()
USUAL = [Use(10**6), Use(2 * 10**6, "15", SONNET)]


def history(*recent: Sequence[Use], first: int = 10) -> tuple[list[DayRows], list[DayRows]]:
    """Usual days, then the given last days before today."""
    days = [day_rows(ago, USUAL) for ago in range(first, len(recent), -1)]
    days += [day_rows(len(recent) - place, uses) for place, uses in enumerate(recent)]
    return [cost for cost, _ in days], [usage for _, usage in days]


def billed_through(spend: Sequence[DayRows], usage: Sequence[DayRows], today: date) -> date:
    return Bill(today, find_gap(spend, usage, today)).through


@pytest.mark.parametrize(
    ("recent", "missing_days", "coverage"),
    [
        pytest.param([USUAL], 0, None, id="complete"),
        pytest.param([NO_USE], 0, None, id="a day without usage and without cost"),
        pytest.param([[Use(10**6, None), Use(10**6, None, SONNET)]], 1, 0, id="no cost at all"),
        pytest.param([[Use(10**6, "13"), Use(10**6, "7.8", SONNET)]], 1, Fraction(52, 100), id="half a bill, or a cut"),
        pytest.param([[Use(10**6), Use(10**6, None, SONNET)]], 1, Fraction(25, 40), id="one workspace has no cost"),
        pytest.param([[Use(10**6, "24.9")]], 0, None, id="all but six minutes"),
        pytest.param([[Use(10**6, "24")]], 1, Fraction(24, 25), id="all but an hour"),
        pytest.param([[Use(10)]], 0, None, id="hardly any usage"),
        pytest.param([[Use(10, None)]], 1, 0, id="hardly any usage, without cost"),
        pytest.param([[Use(10**6, "100")]], 0, None, id="a price that rose"),
        pytest.param([[Use(10**6, None, PRIORITY)]], 0, None, id="only the Priority Tier, which has no cost"),
        pytest.param([[Use(10**6), Use(10**6, None, PRIORITY)]], 0, None, id="the Priority Tier beside others"),
        pytest.param(
            [[Use(10**6), Use(10**6, "1", OPUS_ELSEWHERE)]], 1, Fraction(26, 50), id="a known model elsewhere"
        ),
        pytest.param([[Use(10**6), Use(10**6, "1", ("new",) * 5)]], 0, None, id="a new model has no earlier price"),
        pytest.param([[Use(10**6, None)], USUAL], 2, 0, id="the day before yesterday"),
        pytest.param([[Use(10**6, "1")], USUAL, USUAL], 3, Fraction(1, 25), id="three days ago"),
        pytest.param([[Use(10**6, "1")], USUAL, USUAL, USUAL], 0, None, id="four days ago counts as complete"),
    ],
)
def test_a_recent_day_is_billed_when_its_cost_covers_its_tokens(
    recent: Sequence[Sequence[Use]], missing_days: int, coverage: Fraction | None
) -> None:
    spend, usage = history(*recent)
    first = TODAY - timedelta(days=missing_days)
    assert find_gap(spend, usage, TODAY) == (None if coverage is None else BillGap(first, Fraction(coverage)))
    assert billed_through(spend, usage, TODAY) == (TODAY if coverage is None else first) - timedelta(days=1)


def test_a_price_that_fell_is_the_price_of_the_days_after_it() -> None:
    spend, usage = history([Use(10**6, "20")], [Use(10**6, "20")], [Use(10**6, "20")], [Use(10**6, "20")])
    assert find_gap(spend, usage, TODAY) is None


def test_a_cell_whose_price_varies_is_judged_by_its_lowest_price() -> None:
    spend, usage = history(*([Use(10**6, str(price))] for price in (50, 25, 30, 45, 40, 26, 25)))
    assert find_gap(spend, usage, TODAY) is None


def test_an_organization_whose_first_day_was_yesterday_is_billed_unless_it_has_no_cost() -> None:
    (spend, usage), (unbilled, used) = day_rows(1, USUAL), day_rows(1, [Use(5, None)])
    assert find_gap([spend], [usage], TODAY) is None
    assert find_gap([unbilled], [used], TODAY) == BillGap(TODAY - timedelta(days=1), Fraction(0))


def test_credits_neither_hide_a_missing_bill_nor_make_one() -> None:
    spend, usage = history()
    for day, uses, credit in ((2, USUAL, "-500"), (1, [Use(10**6, None)], "500")):
        spend[-day], usage[-day] = day_rows(day, uses, credit)
    assert find_gap(spend, usage, TODAY) == BillGap(TODAY - timedelta(days=1), Fraction(0))


def test_today_is_not_judged() -> None:
    spend, usage = history()
    cost, used = day_rows(0, [Use(10**6, None)])
    assert billed_through([*spend, cost], [*usage, used], TODAY) == TODAY - timedelta(days=1)


@pytest.mark.parametrize(("tier", "coverage"), [("standard", 0), ("priority", None)])
def test_usage_in_a_coarse_view_shows_only_that_there_is_no_cost_at_all(tier: str, coverage: int | None) -> None:
    spend, _ = history([Use(10**6, None)])
    coarse = [
        DayRows(day.day, ("model", "service_tier"), {0: [(("claude-opus-4-6", tier), (0,) * 6)]}, NOW, reported=True)
        for day in spend
    ]
    gap = find_gap(spend, coarse, TODAY)
    assert gap == (None if coverage is None else BillGap(TODAY - timedelta(days=1), Fraction(0)))


def test_usage_without_the_tier_shows_nothing_as_priority_tokens_have_no_cost() -> None:
    spend, _ = history([Use(10**6, None)])
    usage = [DayRows(day.day, ("model",), {0: [(("m",), (1,) * 6)]}, NOW, reported=True) for day in spend]
    assert find_gap(spend, usage, TODAY) is None


@pytest.mark.parametrize(
    ("recent", "low_day"),
    [
        pytest.param([USUAL], None, id="as usual"),
        pytest.param([NO_USE], 1, id="zero"),
        pytest.param([[Use(10**6)]], 1, id="less than on every earlier day"),
        pytest.param([[Use(10**6)], USUAL], 2, id="the day before yesterday"),
        pytest.param([[Use(10**6)], USUAL, USUAL, USUAL], None, id="an old day"),
        pytest.param([[Use(10**6)], *[USUAL] * 6, [Use(1_900_000)]], None, id="more than on its weekday"),
        pytest.param([[Use(10**6)], *[USUAL] * 5, [Use(1_900_000)]], 1, id="a tenth less than on its weekday"),
        pytest.param([[Use(10**6)], *[USUAL] * 5, [Use(2_100_000)]], None, id="a little less than on its weekday"),
        pytest.param([NO_USE, NO_USE, NO_USE, NO_USE, USUAL, USUAL, USUAL], None, id="after days without any cost"),
    ],
)
def test_cost_alone_shows_only_which_day_is_low(recent: Sequence[Sequence[Use]], low_day: int | None) -> None:
    spend, _ = history(*recent)
    assert find_low_day(spend, TODAY) == (None if low_day is None else TODAY - timedelta(days=low_day))

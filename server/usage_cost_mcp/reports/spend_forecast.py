"""Where spending is going: what a month, a quarter or any other days will have cost, and whether a budget holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any, ClassVar, Literal

from pydantic import Field

from usage_cost_mcp.analysis.forecasting import HISTORY_DAYS, Backtest, Forecast, backtest, exhaustion_date, forecast
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact, parse_dollars
from usage_cost_mcp.model.periods import Period, parse_horizon
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.series import aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .context import ReportContext
from .labels import fetch_labels, normalize_values, resolve_filters
from .query import RawFilters, parse_query
from .results import ResultMeta, result_meta, sorted_filters
from .tables import Bars, CsvRows, Table, readable_value

DEFAULT_UNTIL = "month_end"

_DAY = timedelta(days=1)
_CENT = Decimal("0.01")
_LINES = ("expected", "low", "high")
_MAX_TERMINAL_ROWS = 10
_SHORT_HISTORY = 60
"""Days below which the interval is known to be too narrow."""


class BudgetStatus(AnswerModel):
    """How spending stands to a budget: `pace` is the share of its days that are over, `share_used` of its dollars."""

    amount: str
    share_used: float
    pace: float
    projected_overrun: str
    exhausted_on: date | None
    over_budget: bool


class ForecastAnswer(Answer):
    """Exact spend so far, and an estimate of the rest with an 80% interval; `cumulative` covers the whole period."""

    drawable: ClassVar[bool] = True

    report: Literal["spend_forecast"] = "spend_forecast"
    period: PeriodModel
    complete_until: date | None
    filter_by: Mapping[str, Sequence[str | None]]
    spent: str
    expected: str
    low: str | None
    high: str | None
    median_error: float | None
    tested_periods: int
    budget: BudgetStatus | None = Field(default=None, exclude_if=lambda budget: budget is None)
    buckets: Sequence[date]
    cumulative: Mapping[str, Sequence[str | None]]

    def tables(self) -> Sequence[Table]:
        """The total so far, projected and at both ends of the interval; then the budget."""
        lines = [
            (f"spent until {self.complete_until}" if self.complete_until else "spent", self.spent),
            (f"expected until {self.period.end}", self.expected),
            ("80% interval from", self.low),
            ("80% interval to", self.high),
        ]
        if self.budget:
            overrun = Decimal(self.budget.projected_overrun)
            name = "projected budget overrun" if overrun > 0 else "expected under budget"
            lines += [("budget", self.budget.amount), (name, format_exact(abs(overrun)))]
        rows = [[name, readable_value(amount, "USD")] for name, amount in lines if amount is not None]
        return [Table([["", "USD"], *rows])]

    def terminal_tables(self) -> Sequence[Table]:
        """Also how the total grows, on a few days of the period."""
        last = len(self.buckets) - 1
        shown = sorted(range(last, -1, -(last // _MAX_TERMINAL_ROWS + 1)))
        days, totals = [self.buckets[index] for index in shown], [self.cumulative["expected"][index] for index in shown]
        longest = max(float(each or 0) for each in (*self.cumulative["expected"], self.budget and self.budget.amount))
        complete = sum(self.complete_until is not None and day <= self.complete_until for day in days)
        rows = [[str(day), readable_value(total, "USD")] for day, total in zip(days, totals, strict=True)]
        return [*self.tables(), Table([["until", "cumulative"], *rows], drawing=Bars(totals, longest, complete))]

    def csv_rows(self) -> CsvRows:
        """The running total at the end of each day."""
        yield ["day", *self.cumulative]
        yield from zip(self.buckets, *self.cumulative.values(), strict=True)


@dataclass(frozen=True, slots=True)
class ForecastResult:
    """All that was found out, to be told day by day, or in longer steps.

    Attributes:
        spent: The complete days of the period.
        history: How many days the forecast was made from.
    """

    period: Period
    filters: Filters
    filtered_to: str
    spent: Mapping[date, Decimal]
    to_come: Forecast
    tested: Backtest
    budget: Decimal | None
    history: int
    held: CacheResult
    notes: Sequence[Note]
    meta: ResultMeta
    default_size: bool = True

    def candidates(self) -> Iterator[ForecastAnswer]:
        """With every day, then with every other one, and so on."""
        step = 1
        while step < 2 * len(self.period):
            yield self._answer(step)
            step *= 2

    @property
    def _so_far(self) -> Decimal:
        with exact():
            return sum(self.spent.values(), Decimal(0))

    def _whole(self, to_come: Decimal | None) -> Decimal | None:
        """The period's total, as an estimate: in whole cents."""
        return None if to_come is None else (self._so_far + to_come).quantize(_CENT)

    def _answer(self, step: int) -> ForecastAnswer:
        expected = self._whole(self.to_come.expected) or Decimal(0)
        low, high = self._whole(self.to_come.low), self._whole(self.to_come.high)
        days, *lines = zip(*self._course()[::-step][::-1], strict=True)
        return ForecastAnswer(
            summary=self._summary(expected, low, high),
            period=PeriodModel(start=self.period.start, end=self.period.end),
            complete_until=max(self.spent, default=None),
            filter_by=sorted_filters(self.filters),
            spent=format_exact(self._so_far),
            expected=format_exact(expected),
            low=_said(low),
            high=_said(high),
            median_error=None if self.tested.median_error is None else round(self.tested.median_error, 4),
            tested_periods=self.tested.months,
            budget=self._stands(expected),
            buckets=days,
            cumulative={name: [*map(_said, line)] for name, line in zip(_LINES, lines, strict=True)},
            **self.meta.common_fields(self.period, [self.held], self.notes),
        )

    def _course(self) -> list[tuple[date, Decimal | None, Decimal | None, Decimal | None]]:
        """The total at the end of each day: known, then expected with its interval."""
        days = sorted(self.spent)
        with exact():
            known = list(accumulate(self.spent[day] for day in days))
        course: list[tuple[date, Decimal | None, Decimal | None, Decimal | None]] = [
            (day, total, total, total) for day, total in zip(days, known, strict=True)
        ]
        course += [
            (each.day, self._whole(each.expected), self._whole(each.low), self._whole(each.high))
            for each in self.to_come.days
        ]
        return course

    def _stands(self, expected: Decimal) -> BudgetStatus | None:
        if self.budget is None:
            return None
        with exact():
            over = expected - self.budget
        return BudgetStatus(
            amount=format_exact(self.budget),
            share_used=round(float(self._so_far) / float(self.budget), 4),
            pace=round(len(self.spent) / len(self.period), 4),
            projected_overrun=format_exact(over),
            exhausted_on=exhaustion_date(self.spent, self.to_come, self.budget),
            over_budget=over > 0,
        )

    def _summary(self, expected: Decimal, low: Decimal | None, high: Decimal | None) -> str:
        interval = (
            f" (80% interval {format_dollars(low)} to {format_dollars(high)})"
            if low is not None and high is not None
            else ""
        )
        said = (
            f"Spend {self.period}{self.filtered_to} is expected to be {format_dollars(expected)}{interval}; "
            f"{format_dollars(self._so_far)} of it in {len(self.spent)} complete days."
        )
        if self.tested.median_error is not None:
            said += f" Such forecasts were off by {self.tested.median_error:.1%} (median of {self.tested.months})."
        return f"{said}{self._about_budget(expected)}"

    def _about_budget(self, expected: Decimal) -> str:
        stands = self._stands(expected)
        if stands is None or self.budget is None:
            return ""
        over = f"{format_dollars(abs(Decimal(stands.projected_overrun)))} {'over' if stands.over_budget else 'under'}"
        when = f", used up on {stands.exhausted_on}" if stands.exhausted_on else ""
        return (
            f" That is {over} the budget of {format_dollars(self.budget)}{when}; {stands.share_used:.0%} of it is used."
        )


def _said(amount: Any) -> str | None:
    return None if amount is None else format_exact(amount)


async def run_forecast(
    until: str, filter_by: RawFilters | None, budget: str | None, context: ReportContext, call: CallContext
) -> ForecastResult:
    """Forecast the spend of the period under way.

    Raises:
        InvalidQueryError: For a day that is not to come, or a budget that is no amount.
        UpstreamError: When the history cannot be had, whole.
    """
    amount = None if budget is None else parse_dollars("budget", budget)
    today = context.today()
    period = parse_horizon(until, today)
    query = parse_query(BILLED_QUERY, today, period="yesterday", filter_by=filter_by)
    filters = await resolve_filters(query, context, call)
    known = Period(min(period.start, today - HISTORY_DAYS * _DAY), today - _DAY, today - _DAY)
    held, labels = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", known, call),
        fetch_labels(context.directory, query.filter_by, call),
    )
    filters, now = normalize_values(filters, held), context.now()
    (columns,) = aggregate(held.days, COST_REPORT, known, "day", now, (), filters).groups.values()
    history = {day: Decimal(cost) for day, (cost,) in zip(known.days, columns, strict=True)}
    begun = [day.day for day in held.days if len(day)]
    to_come = forecast(history, today, period.end)
    tested = backtest(history, period.start, today, period.end)
    return ForecastResult(
        period=period,
        filters=filters,
        filtered_to=notes.filter_clause(filters, labels),
        spent={day: cost for day, cost in history.items() if day >= period.start},
        to_come=to_come,
        tested=tested,
        budget=amount,
        history=len(history),
        held=held,
        notes=[
            *notes.freshness_notes(held, now),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *_about_trust(to_come, tested, (today - min(begun, default=today)).days),
        ],
        meta=result_meta(context, call, now),
    )


def _about_trust(to_come: Forecast, tested: Backtest, days: int) -> Iterator[Note]:
    yield Note(
        code="estimate",
        message="Days that are over are exact; today and later are an estimate from weekdays and level, without what "
        "nobody could know. Priority Tier cost is in no report.",
    )
    if to_come.low is None:
        yield Note(code="no_interval", message=f"{days} days of spend are too few for an interval.")
    elif days < _SHORT_HISTORY:
        yield Note(code="short_history", message=f"With {days} days of spend the interval is rather too narrow.")
    if not tested.months:
        yield Note(code="backtest_unavailable", message="The history is too short to test a forecast this far ahead.")

"""Forecasts the spend of a month, a quarter or other days, and compares it with a budget."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any, ClassVar, Literal

from pydantic import Field

from usage_cost_mcp.analysis.forecasting import (
    HISTORY_DAYS,
    Backtest,
    Forecast,
    History,
    allow_for_errors,
    backtest,
    exhaustion_date,
    forecast,
    include_spent,
)
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, exact_sum, format_exact, parse_dollars
from usage_cost_mcp.model.periods import Period, midnight, parse_horizon
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import COST_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .billing import find_bill
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .labels import fetch_labels
from .query import RawFilters, parse_query
from .results import ResultMeta, result_meta, sorted_filters
from .tables import Bars, CsvRows, Table, readable_value
from .wording import budget_summary, credits_left_out, forecast_summary, level_change, plural

DEFAULT_UNTIL = "month_end"

_DAY = timedelta(days=1)
_CENT = Decimal("0.01")
_LINES = ("expected", "low", "high")
_MAX_TERMINAL_ROWS = 10
_SHORT_HISTORY = 60
"""With fewer days of history, intervals are rough, and no day of the month can be told from chance."""


class BudgetStatus(AnswerModel):
    """Spend against a budget: `pace` is the share of its days that are complete, `share_used` that of its dollars."""

    amount: str
    share_used: float
    pace: float
    projected_overrun: str
    exhausted_on: date | None
    over_budget: bool


class ForecastAnswer(Answer):
    """Spend so far, and an estimate of the whole period with an 80% interval; `cumulative` is its course."""

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
            ("spent so far", self.spent),
            (f"expected through {self.period.end}", self.expected),
            ("80% interval from", self.low),
            ("80% interval to", self.high),
        ]
        if self.budget:
            overrun = Decimal(self.budget.projected_overrun)
            name = "expected over budget" if overrun > 0 else "expected under budget"
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
        return [*self.tables(), Table([["through", "cumulative"], *rows], drawing=Bars(totals, longest, complete))]

    def csv_rows(self) -> CsvRows:
        """The running total at the end of each day."""
        yield ["day", *self.cumulative]
        yield from zip(self.buckets, *self.cumulative.values(), strict=True)


@dataclass(frozen=True, slots=True)
class ForecastResult:
    """The complete forecast, from which answers with daily or longer steps are built.

    Attributes:
        complete: Dollars of the complete days of the period, credits deducted.
        begun: Dollars reported for the days of the period that have begun and are not complete.
        credits_begun: The credits among them, below zero.
        remaining: The forecast of the days after the complete ones, without credits.
    """

    period: Period
    filters: Filters
    filtered_to: str
    complete: History
    begun: History
    credits_begun: Decimal
    remaining: Forecast
    tested: Backtest
    budget: Decimal | None
    held: CacheResult
    notes: Sequence[Note]
    meta: ResultMeta
    default_size: bool = True

    def candidates(self) -> Iterator[ForecastAnswer]:
        """The answer with every day, then with every second day, every fourth day and so on."""
        step = 1
        while step < 2 * len(self.period):
            yield self._answer(step)
            step *= 2

    @property
    def _spent(self) -> Decimal:
        return exact_sum([*self.complete.values(), *self.begun.values()])

    @property
    def _interval(self) -> tuple[Decimal, Decimal] | None:
        low, high = self._period_total(self.remaining.low), self._period_total(self.remaining.high)
        return None if low is None or high is None else (low, high)

    def _period_total(self, forecast_cost: Decimal | None) -> Decimal | None:
        """The estimated total of the period, in whole cents."""
        if forecast_cost is None:
            return None
        return exact_sum([*self.complete.values(), self.credits_begun, forecast_cost]).quantize(_CENT)

    def _answer(self, step: int) -> ForecastAnswer:
        expected = self._period_total(self.remaining.expected) or Decimal(0)
        low, high = self._interval or (None, None)
        course = self._cumulative()
        days, *lines = zip(*course[::-step][::-1], strict=True)
        budget = self._budget_status(expected, [(day, total or Decimal(0)) for day, total, _, _ in course])
        return ForecastAnswer(
            summary=self._summary(expected, budget),
            period=PeriodModel(start=self.period.start, end=self.period.end),
            complete_until=max(self.complete, default=None),
            filter_by=sorted_filters(self.filters),
            spent=format_exact(self._spent),
            expected=format_exact(expected),
            low=_format_optional(low),
            high=_format_optional(high),
            median_error=None if self.tested.median_error is None else round(self.tested.median_error, 4),
            tested_periods=self.tested.months,
            budget=budget,
            buckets=days,
            cumulative={name: [*map(_format_optional, line)] for name, line in zip(_LINES, lines, strict=True)},
            **self.meta.common_fields(self.period, [self.held], self.notes),
        )

    def _cumulative(self) -> list[tuple[date, Decimal | None, Decimal | None, Decimal | None]]:
        """The total at the end of each day: actual for complete days, then expected, low and high."""
        days = sorted(self.complete)
        with exact():
            known = list(accumulate(self.complete[day] for day in days))
        path: list[tuple[date, Decimal | None, Decimal | None, Decimal | None]] = [
            (day, total, total, total) for day, total in zip(days, known, strict=True)
        ]
        path += [
            (each.day, self._period_total(each.expected), self._period_total(each.low), self._period_total(each.high))
            for each in self.remaining.days
        ]
        return path

    def _budget_status(self, expected: Decimal, course: Sequence[tuple[date, Decimal]]) -> BudgetStatus | None:
        if self.budget is None:
            return None
        overrun = exact_sum([expected, -self.budget])
        return BudgetStatus(
            amount=format_exact(self.budget),
            share_used=round(float(self._spent) / float(self.budget), 4),
            pace=round(len(self.complete) / len(self.period), 4),
            projected_overrun=format_exact(overrun),
            exhausted_on=exhaustion_date(course, self.budget),
            over_budget=overrun > 0,
        )

    def _summary(self, expected: Decimal, budget: BudgetStatus | None) -> str:
        summary = forecast_summary(
            f"{self.period}{self.filtered_to}",
            expected,
            self._interval,
            self._spent,
            len(self.complete),
            sorted(self.begun),
            self.tested,
        )
        if self.budget is None or budget is None:
            return summary
        compared = budget_summary(self.budget, expected, self._interval, self._spent, budget.exhausted_on)
        return f"{summary} {compared}"


def _format_optional(amount: Any) -> str | None:
    return None if amount is None else format_exact(amount)


async def run_forecast(
    until: str, filter_by: RawFilters | None, budget: str | None, context: ReportContext, call: CallContext
) -> ForecastResult:
    """Forecast the spend of the current period.

    Raises:
        InvalidQueryError: For an end that is not in the future, an invalid budget or an invalid filter.
        UpstreamError: If any rows of the history cannot be fetched.
    """
    amount = None if budget is None else parse_dollars("budget", budget)
    today = context.today()
    period = parse_horizon(until, today)
    query = parse_query(BILLED_QUERY, today, period="yesterday", filter_by=filter_by)
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    known = Period(min(period.start, today - HISTORY_DAYS * _DAY), today, today)
    held, labels = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", known, call),
        fetch_labels(context.directory, query.filter_by, call),
    )
    bill = await find_bill(context, held, call)
    filters, now = normalize_values(filters, held), context.now()
    charged, credited = _by_sign(held.days, filters)
    first = bill.through + _DAY
    net = {day: exact_sum([charged[day], credited[day]]) for day in known.days if day >= period.start}
    complete = {day: dollars for day, dollars in net.items() if day < first}
    begun = {day: dollars for day, dollars in net.items() if day >= first}
    tested = backtest(charged, period.start, first, period.end)
    remaining = forecast(charged, first, period.end, period.start)
    remaining = allow_for_errors(remaining, tested, exact_sum([charged[day] for day in complete]))
    left_of_today = min(1.0, 1 - (held.fetched_at - midnight(today)) / _DAY)
    return ForecastResult(
        period=period,
        filters=filters,
        filtered_to=notes.filter_clause(filters, labels),
        complete=complete,
        begun=begun,
        credits_begun=exact_sum([credited[day] for day in begun]),
        remaining=include_spent(remaining, {day: charged[day] for day in begun}, left_of_today),
        tested=tested,
        budget=amount,
        held=held,
        notes=[
            *bill.notes(period, "Days from then on are forecast, and include at least the cost reported so far."),
            *notes.freshness_notes(held, now),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *_reliability_notes(remaining, tested, _days_of_history(charged, first)),
            *_credit_notes(credited, period),
        ],
        meta=result_meta(context, call, now),
    )


def _by_sign(days: Sequence[DayRows], filters: Filters) -> tuple[History, History]:
    """The dollars charged on each day, and the credits, which are below zero."""
    charged: defaultdict[date, Decimal] = defaultdict(Decimal)
    credited: defaultdict[date, Decimal] = defaultdict(Decimal)
    with exact():
        for rows in days:
            for cost, *_ in matching([rows], filters):
                (charged if cost > 0 else credited)[rows.day] += cost
    return charged, credited


def _days_of_history(charged: History, first: date) -> int:
    return max(((first - day).days for day, dollars in charged.items() if dollars and day < first), default=0)


def _credit_notes(credited: History, period: Period) -> Iterator[Note]:
    if any(credited.values()):
        granted = exact_sum([dollars for day, dollars in credited.items() if day >= period.start])
        yield Note(code="credits_not_forecast", message=credits_left_out(granted))


def _reliability_notes(remaining: Forecast, tested: Backtest, days: int) -> Iterator[Note]:
    if remaining.change:
        code = notes.LEVEL_CHANGED if remaining.change.days > 1 else "unusual_day"
        yield Note(code=code, message=level_change(remaining.change))
    yield Note(
        code="estimate",
        message="Complete days are exact; today and later days are estimated from past weekdays, days of the month, "
        "growth and the current level of spend, which cannot anticipate new events. Excludes Priority Tier cost, which "
        "Anthropic does not report.",
    )
    if not days:
        yield Note(
            code=notes.NO_HISTORY,
            message="There is no spend on earlier days to forecast from: days to come count as $0.",
        )
    elif remaining.low is None:
        yield Note(
            code="no_interval",
            message=f"{plural(days, 'day')} of spend history {'is' if days == 1 else 'are'} too few for an interval, "
            "which needs a week.",
        )
    elif days < _SHORT_HISTORY:
        yield Note(
            code="short_history",
            message=f"With only {days} days of spend history, the interval is rough: it cannot know what recurs by "
            "month.",
        )
    if not tested.months:
        yield Note(
            code="backtest_unavailable", message="The history is too short to backtest a forecast this far ahead."
        )

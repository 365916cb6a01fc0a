"""Through which day the spend of an answer is billed. Later days have usage whose cost has not arrived."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from usage_cost_mcp.analysis.billing_lag import LOOKBACK_DAYS, MAX_LAG_DAYS, BillGap, find_gap, find_low_day
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import InvalidQueryError, KeyRefusedError, UpstreamError
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext

from . import notes, wording
from .answers import Note
from .context import ReportContext

_DAY = timedelta(days=1)

COUNTED = "Cost from then on is counted as far as it is reported."
LEFT_OUT = "These days are left out."


@dataclass(frozen=True, slots=True)
class Bill:
    """How far the bill has arrived.

    Attributes:
        today: The current UTC day.
        gap: The first day whose bill may not be complete; None if there is none before today.
    """

    today: date
    gap: BillGap | None

    @property
    def through(self) -> date:
        """The last day before today whose bill can be taken as complete."""
        return (self.gap.day if self.gap else self.today) - _DAY

    def part_of(self, period: Period) -> Period | None:
        """The billed days of a period; None if there are none."""
        end = min(period.end, self.through)
        return replace(period, end=end, requested_end=end) if period.start <= end else None

    def billed_part(self, period: Period) -> Period:
        """The billed days of a period, for reports that compare or judge days.

        Raises:
            InvalidQueryError: There are none.
        """
        if part := self.part_of(period):
            return part
        if self.gap is None or period.start >= self.today:
            raise InvalidQueryError(
                f"{self.today} (today, UTC) is not over; prices, comparisons and anomalies need complete days. Use a "
                f"period that ends by {self.through}; get_spend has what today cost so far."
            )
        raise InvalidQueryError(
            f"{wording.bill_gap(self.gap)} Prices, comparisons and anomalies need complete days. Use a period that "
            f"ends by {self.through}, or ask again later; get_spend has the cost that is reported so far."
        )

    def notes(self, period: Period, effect: str = LEFT_OUT) -> list[Note]:
        """The note on the days of a period that are not billed; it comes before all others.

        Args:
            period: As asked for, before `part_of`.
            effect: What that means for the answer, as a sentence.
        """
        return list(notes.billing_notes(period, self.gap, effect))

    def exclusion_notes(self, period: Period) -> list[Note]:
        """The note on the days of a period, as asked for, that `part_of` leaves out; it comes before all others."""
        return self.notes(period) or list(notes.today_notes(period, self.today))


async def find_bill(
    context: ReportContext, spend: CacheResult, call: CallContext, usage: CacheResult | None = None
) -> Bill:
    """How far the bill has arrived, judged by the days before today that `spend` has.

    `spend` should have `LOOKBACK_DAYS` before today: the earlier ones give the prices. Without `usage` (in its base
    view), it is fetched with one request, and only if the cost of a recent day looks too small.

    Raises:
        KeyRefusedError: The API does not accept the key.
    """
    today = context.today()
    if usage is None:
        low_day = find_low_day(spend.days, today)
        if low_day is None:
            return Bill(today, None)
        usage = await _recent_usage(context, spend, call)
        if usage is None:
            return Bill(today, BillGap(low_day, None))
    return Bill(today, find_gap(spend.days, usage.days, today))


async def _recent_usage(context: ReportContext, spend: CacheResult, call: CallContext) -> CacheResult | None:
    """The usage of the days before today that decide, as far as `spend` has them; None if it is unavailable."""
    yesterday = context.today() - _DAY
    first = max(spend.days[0].day, context.today() - LOOKBACK_DAYS * _DAY)
    try:
        return await context.cache.days(
            USAGE_REPORT, USAGE_REPORT.views_for(["service_tier"]), "1d", Period(first, yesterday, yesterday), call
        )
    except KeyRefusedError:
        raise
    except UpstreamError:
        return None


def lookback(period: Period, today: date) -> Sequence[date]:
    """The days before a period that help to judge its recent days; none if it has enough, or no recent ones."""
    first = today - LOOKBACK_DAYS * _DAY
    if period.end < today - MAX_LAG_DAYS * _DAY:
        return ()
    return [first + n * _DAY for n in range((period.start - first).days)]

"""What this server is connected to, how new its data is, and what the numbers can never say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from usage_cost_mcp.cache import CacheResult, combine_statuses
from usage_cost_mcp.model.periods import PROVISIONAL_DAYS, Period, parse_period
from usage_cost_mcp.model.rows import Number
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import notes
from .answers import Answer, AnswerModel, CacheUse, OrganizationInfo
from .context import ReportContext
from .housekeeping import UsageMix, dominant_model, usage_mix
from .query import DEFAULT_PERIOD

LIMITS = (
    "Days are UTC, but tokens may be cut by timezone; reports are usually complete in minutes, cost sometimes later.",
    f"The last {PROVISIONAL_DAYS} days before today may still be revised.",
    (
        "The cost report holds no Priority Tier cost, no seat or subscription fees, no taxes, no balance, and nothing "
        "used through other clouds. It is Anthropic's figure, but not the invoice."
    ),
    (
        "Anthropic reports spend per day by workspace, model and token type, never by hour or request; by API key, "
        "account or service account it is an estimate, the bill shared by tokens."
    ),
    (
        "Code execution and session time are in spend only; Priority Tier tokens and requests that were blocked are "
        "in usage only. There is no count of requests."
    ),
)


class KeyInfo(AnswerModel):
    """The kind of the key and the variable that it came from; never any part of it."""

    kind: str
    source: str


class NewestData(AnswerModel):
    """The newest UTC day that has a row; null when the last 30 days have none."""

    spend: date | None
    usage: date | None


class CacheSize(AnswerModel):
    """What is held in memory."""

    days: int
    rows: int


class StatusAnswer(Answer):
    """What this server is connected to, how new its data is, and what the data can never tell."""

    report: Literal["status"] = "status"
    version: str
    key: KeyInfo
    today: date
    newest_data: NewestData
    usage_mix: UsageMix
    cached: CacheSize
    limits: Sequence[str]

    def details(self) -> Sequence[str]:
        """A line per fact."""
        organization = self.organization
        return [
            f"Organization: {organization.name} ({organization.id})" if organization else "Organization: unknown",
            f"Key: {self.key.kind}, from {self.key.source}",
            f"Today (UTC): {self.today}",
            f"Newest data: spend {self.newest_data.spend or 'none'}, usage {self.newest_data.usage or 'none'}",
            f"Usage mix {_usage_mix_line(self.usage_mix)}",
            f"Cached: {self.cached.days} days, {self.cached.rows} rows",
            f"Version: {self.version}",
            *(f"Limit: {limit}" for limit in self.limits),
        ]


def _usage_mix_line(mix: UsageMix) -> str:
    shares = [
        ("of the tokens, batch", mix.batch_share),
        ("long context", mix.long_context_share),
        ("Priority Tier", mix.priority_share),
        (f"of the spend, {mix.largest_model}", mix.largest_model_cost_share),
    ]
    named = [f"{name} {share:.1%}" for name, share in shares if share is not None]
    return f"{mix.start} to {mix.end}: {', '.join(named) or 'no usage'}"


@dataclass(frozen=True, slots=True)
class StatusResult:
    """One answer, always short."""

    status: StatusAnswer
    default_size: bool = True

    def candidates(self) -> Iterator[StatusAnswer]:
        """The one answer."""
        yield self.status


async def run_status(version: str, key_source: str, context: ReportContext, call: CallContext) -> StatusResult:
    """Ask for the organization, and both reports for the last 30 days and today.

    Raises:
        UpstreamError: When any of it cannot be had.
    """
    today = context.today()
    complete = parse_period(DEFAULT_PERIOD, today)
    recent = Period(complete.start, today, today)
    (organization_id, name), (spend, usage) = await gather_pair(
        context.directory.organization(call),
        gather_pair(
            context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", recent, call),
            context.cache.days(
                USAGE_REPORT, USAGE_REPORT.views_for(["service_tier", "context_window"]), "1d", recent, call
            ),
        ),
    )
    costs = _cost_by_model(spend.within(complete), complete, context)
    days, rows = context.cache.size()
    newest = NewestData(spend=_newest(spend), usage=_newest(usage))
    return StatusResult(
        StatusAnswer(
            summary=f"Connected to {name}; newest spend {newest.spend or 'none'}, newest usage "
            f"{newest.usage or 'none'} (UTC); {days} days held.",
            version=version,
            organization=OrganizationInfo(id=organization_id, name=name),
            key=KeyInfo(kind="admin", source=key_source),
            today=today,
            newest_data=newest,
            usage_mix=usage_mix(costs, usage.within(complete), complete),
            cached=CacheSize(days=days, rows=rows),
            limits=LIMITS,
            provisional_since=today - timedelta(days=PROVISIONAL_DAYS),
            fetched_at=min(spend.fetched_at, usage.fetched_at),
            cache=CacheUse(status=combine_statuses([spend.status, usage.status]), upstream_requests=call.requests),
            demo=context.demo,
            notes=[
                *(note for each in (spend, usage) for note in notes.freshness_notes(each, context.now())),
                *dominant_model(costs),
            ],
        )
    )


def _cost_by_model(spend: CacheResult, period: Period, context: ReportContext) -> dict[str | None, Number]:
    table = aggregate(spend.days, COST_REPORT, period, "total", context.now(), ["model"])
    return {key[0]: add_up(columns)[0] for key, columns in table.groups.items()}


def _newest(held: CacheResult) -> date | None:
    return max((day.day for day in held.days if len(day)), default=None)

"""The connected organization, the age of its data, and the limits of the numbers."""

from collections.abc import Iterator, Mapping, Sequence
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
from .billing import find_bill
from .context import ReportContext
from .credits import before_credits, credits_by_group
from .housekeeping import UsageMix, dominant_model, usage_mix
from .query import DEFAULT_PERIOD

LIMITS = (
    "Days are UTC; token usage also accepts a timezone. Usage arrives within minutes, cost up to days later.",
    f"The last {PROVISIONAL_DAYS} days before today are provisional: Anthropic may still revise them.",
    (
        "The cost report excludes Priority Tier cost, seat and subscription fees, taxes, the account balance, and "
        "usage through other clouds. It is Anthropic's figure, but not the invoice."
    ),
    (
        "Anthropic reports spend per day by workspace, model and token type, never by hour or request. Spend by API "
        "key, account or service account is an estimate: reported cost allocated in proportion to tokens."
    ),
    (
        "Code execution and session time appear in spend only; Priority Tier tokens and blocked requests appear in "
        "usage only. The number of requests is not reported."
    ),
)


class KeyInfo(AnswerModel):
    """The kind of the key and the variable that holds it; never any part of the key."""

    kind: str
    source: str


class NewestData(AnswerModel):
    """The latest UTC day with data; null if the last 30 days have none.

    `billed_through` is the last day before today whose spend can be taken as complete.
    """

    spend: date | None
    usage: date | None
    billed_through: date


class CacheSize(AnswerModel):
    """The content of the in-memory cache."""

    days: int
    rows: int


class StatusAnswer(Answer):
    """The connected organization, the newest data, and the limits of the data."""

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
            f"Billed through {self.newest_data.billed_through}",
            f"Usage mix {_usage_mix_line(self.usage_mix)}",
            f"Cached: {self.cached.days} days, {self.cached.rows} rows",
            f"Version: {self.version}",
            *(f"Limit: {limit}" for limit in self.limits),
        ]


def _usage_mix_line(mix: UsageMix) -> str:
    shares = [
        ("batch", mix.batch_share, "tokens"),
        ("long context", mix.long_context_share, "tokens"),
        ("Priority Tier", mix.priority_share, "tokens"),
        (mix.largest_model, mix.largest_model_cost_share, "spend before credits"),
    ]
    named = [f"{name} {share:.1%} of {total}" for name, share, total in shares if share is not None]
    return f"{mix.start} to {mix.end}: {', '.join(named) or 'no usage'}"


@dataclass(frozen=True, slots=True)
class StatusResult:
    """The single answer, which always fits."""

    status: StatusAnswer
    default_size: bool = True

    def candidates(self) -> Iterator[StatusAnswer]:
        yield self.status


async def run_status(version: str, key_source: str, context: ReportContext, call: CallContext) -> StatusResult:
    """The status, from the organization and both reports of the last 30 days and today.

    Raises:
        UpstreamError: If any of these cannot be fetched.
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
    charged, has_credits = _charged_by_model(spend.within(complete), complete, context)
    bill = await find_bill(context, spend, call, usage)
    days, rows = context.cache.size()
    newest = NewestData(spend=_newest(spend), usage=_newest(usage), billed_through=bill.through)
    return StatusResult(
        StatusAnswer(
            summary=f"Connected to {name}; latest spend {newest.spend or 'none'}, latest usage "
            f"{newest.usage or 'none'}, billed through {newest.billed_through} (UTC); {days} days cached.",
            version=version,
            organization=OrganizationInfo(id=organization_id, name=name),
            key=KeyInfo(kind="admin", source=key_source),
            today=today,
            newest_data=newest,
            usage_mix=usage_mix(charged, usage.within(complete), complete),
            cached=CacheSize(days=days, rows=rows),
            limits=LIMITS,
            provisional_since=today - timedelta(days=PROVISIONAL_DAYS),
            fetched_at=min(spend.fetched_at, usage.fetched_at),
            cache=CacheUse(status=combine_statuses([spend.status, usage.status]), upstream_requests=call.requests),
            demo=context.demo,
            notes=[
                *bill.notes(recent, "Spend from then on may still rise."),
                *(note for each in (spend, usage) for note in notes.freshness_notes(each, context.now())),
                *dominant_model(charged, has_credits=has_credits),
            ],
        )
    )


def _charged_by_model(
    spend: CacheResult, period: Period, context: ReportContext
) -> tuple[Mapping[str | None, Number], bool]:
    """The cost of each model before credits, and whether there are any."""
    now = context.now()
    table = aggregate(spend.days, COST_REPORT, period, "total", now, ["model"])
    costs = {key: add_up(columns)[0] for key, columns in table.groups.items()}
    credited = credits_by_group(spend, period, now, ["model"])
    return {key[0]: amount for key, amount in before_credits(costs, credited).items()}, bool(credited)


def _newest(held: CacheResult) -> date | None:
    return max((day.day for day in held.days if len(day)), default=None)

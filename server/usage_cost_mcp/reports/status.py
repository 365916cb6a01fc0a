"""What this server is connected to, how new its data is, and what the numbers can never say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from usage_cost_mcp.cache import Held, together
from usage_cost_mcp.model.dimensions import SPEND, USAGE
from usage_cost_mcp.model.periods import PROVISIONAL_DAYS, Period, parse_period
from usage_cost_mcp.model.rows import Number
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import both

from . import notes
from .answers import CacheUse, Part, Provenance
from .context import Desk
from .housekeeping import Mix, dominant_model, mix_of
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


class OrganizationEcho(Part):
    """Whom the key belongs to."""

    id: str
    name: str


class KeyEcho(Part):
    """The kind of the key and the variable that it came from; never any part of it."""

    kind: str
    source: str


class NewestData(Part):
    """The newest UTC day that has a row; null when the last 30 days have none."""

    spend: date | None
    usage: date | None


class CacheSize(Part):
    """What is held in memory."""

    days: int
    rows: int


class _StatusBody(Part):
    summary: str
    version: str
    organization: OrganizationEcho
    key: KeyEcho
    today: date
    newest_data: NewestData
    mix: Mix
    held: CacheSize
    limits: Sequence[str]


class StatusAnswer(Provenance, _StatusBody):
    """What this server is connected to, how new its data is, and what the numbers can never say."""


@dataclass(frozen=True, slots=True)
class StatusFinding:
    """One answer, always short."""

    status: StatusAnswer
    by_default: bool = True

    def answers(self) -> Iterator[StatusAnswer]:
        """The one answer."""
        yield self.status


async def find_status(version: str, key_source: str, desk: Desk, call: Call) -> StatusFinding:
    """Ask for the organization, and both reports for the last 30 days and today.

    Raises:
        UpstreamError: When any of it cannot be had.
    """
    today = desk.today()
    complete = parse_period(DEFAULT_PERIOD, today)
    recent = Period(complete.start, today, today)
    (organization_id, name), (spend, usage) = await both(
        desk.directory.organization(call),
        both(
            desk.ledger.days(SPEND, [SPEND.base], "1d", recent, call),
            desk.ledger.days(USAGE, USAGE.views_for(["service_tier", "context_window"]), "1d", recent, call),
        ),
    )
    costs = _cost_by_model(spend.within(complete), complete, desk)
    days, rows = desk.ledger.size()
    newest = NewestData(spend=_newest(spend), usage=_newest(usage))
    return StatusFinding(
        StatusAnswer(
            summary=f"Connected to {name}; newest spend {newest.spend or 'none'}, newest usage "
            f"{newest.usage or 'none'} (UTC); {days} days held.",
            version=version,
            organization=OrganizationEcho(id=organization_id, name=name),
            key=KeyEcho(kind="admin", source=key_source),
            today=today,
            newest_data=newest,
            mix=mix_of(costs, usage.within(complete), complete),
            held=CacheSize(days=days, rows=rows),
            limits=LIMITS,
            provisional_since=today - timedelta(days=PROVISIONAL_DAYS),
            fetched_at=min(spend.fetched_at, usage.fetched_at),
            cache=CacheUse(status=together([spend.status, usage.status]), upstream_requests=call.requests),
            demo=desk.demo,
            notes=[
                *(note for each in (spend, usage) for note in notes.about_age(each, desk.now())),
                *dominant_model(costs),
            ],
        )
    )


def _cost_by_model(spend: Held, period: Period, desk: Desk) -> dict[str | None, Number]:
    table = aggregate(spend.days, SPEND, period, "total", desk.now(), ["model"])
    return {key[0]: add_up(columns)[0] for key, columns in table.groups.items()}


def _newest(held: Held) -> date | None:
    return max((day.day for day in held.days if len(day)), default=None)

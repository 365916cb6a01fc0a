"""The demo organization: two years of usage and costs of a fictional company, a pure function of the current date.

The story, in months before the current one (0 is the current month, 24 the first with data):
    24  two products on older models; prompt caching has just started
    14  a two-month hackathon in a workspace that is archived afterwards
     9  the migration to the 4.6 models
     7  a broken prompt prefix: for one month, Production reads far less from its cache;
        Support starts to use managed agents
     5  Sonnet 4.6 becomes cheaper
     3  Support moves its chat from Sonnet 4.5 to Haiku 4.5
     1  a runaway evaluation in Research on the third Wednesday (the cost spike), a service credit on the 25th

Prices are fictional. Counts are integers and amounts are exact, so that tests can require equality.
"""

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b

MONTHS = 24
MINUTES_PER_DAY = 24 * 60

ORGANIZATION = {
    "id": "d3300000-0000-4000-8000-000000000001",
    "name": "Demo Organization",
    "type": "organization",
}

PRODUCTION, SUPPORT, RESEARCH, DATA, HACKATHON, SANDBOX = (
    f"wrkspc_demo{name}" for name in ("Production", "Support", "Research", "DataPlatform", "Hackathon", "Sandbox")
)
WORKSPACES = {
    PRODUCTION: "Production",
    SUPPORT: "Support",
    RESEARCH: "Research",
    DATA: "Data Platform",
    HACKATHON: "Hackathon",
    SANDBOX: "Sandbox",
}
ARCHIVED_WORKSPACES = frozenset({HACKATHON})

WEB, MOBILE, CHAT, EVALS, NOTEBOOKS, NIGHTLY, CI, HACKING, FORGOTTEN = (
    f"apikey_demo{name}"
    for name in ("Web", "Mobile", "Chat", "Evals", "Notebooks", "Nightly", "Ci", "Hacking", "Forgotten")
)
API_KEYS = {
    WEB: ("web-backend", PRODUCTION),
    MOBILE: ("mobile-backend", PRODUCTION),
    CHAT: ("support-chat", SUPPORT),
    EVALS: ("evaluations", RESEARCH),
    NOTEBOOKS: ("notebooks", RESEARCH),
    NIGHTLY: ("nightly-enrichment", DATA),
    CI: ("ci", None),
    HACKING: ("hackathon", HACKATHON),
    FORGOTTEN: ("old-prototype", SANDBOX),
}
ARCHIVED_KEYS = frozenset({HACKING})

ANALYST, ENGINEER = "user_demoAnalyst", "user_demoEngineer"
USERS = {ANALYST: "Demo Analyst", ENGINEER: "Demo Engineer"}

OPUS, SONNET, HAIKU = "claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"
OLD_OPUS, OLD_SONNET = "claude-opus-4-1", "claude-sonnet-4-5"
_WITH_GEO = frozenset({OPUS, SONNET})

OFFICE = (1, 1, 1, 1, 1, 2, 4, 9, 14, 16, 16, 14, 13, 15, 16, 16, 14, 11, 8, 5, 4, 3, 2, 1)
NIGHT = (20, 30, 30, 25, 12, 4, *(1,) * 18)
AROUND_THE_CLOCK = (6, 5, 4, 4, 4, 5, 7, 9, 11, 12, 12, 12, 12, 12, 12, 12, 12, 11, 11, 10, 9, 9, 8, 7)


@dataclass(frozen=True, slots=True)
class Stream:
    """A steady workload on one model.

    Attributes:
        thousand_tokens: Total input on an average working day of the current month, in thousands of tokens.
        output: Output tokens per thousand input tokens.
        cached: Cache reads per thousand input tokens, two years ago and over the last year.
        written: Cache writes per thousand input tokens, for 5 minutes and for an hour.
        growth: Per month, in thousandths.
        weekend: The share of a working day's traffic on Saturdays and Sundays, in thousandths.
        since: The first month, in months before the current one.
        until: The last month, counted the same way.
        searches: Web searches per million input tokens.
    """

    workspace: str | None
    api_key: str | None
    model: str
    thousand_tokens: int
    output: int = 80
    cached: tuple[int, int] = (0, 0)
    written: tuple[int, int] = (0, 0)
    account: str | None = None
    tier: str = "standard"
    context: str = "0-200k"
    geo: str = "global"
    hours: Sequence[int] = AROUND_THE_CLOCK
    growth: int = 25
    weekend: int = 450
    since: int = MONTHS
    until: int = 0
    searches: int = 0

    @property
    def inference_geo(self) -> str:
        """Older models have no choice of geo."""
        return self.geo if self.model in _WITH_GEO else "not_available"


STREAMS = (
    Stream(PRODUCTION, WEB, OLD_SONNET, 42_000, 60, (300, 700), (60, 10), until=10),
    Stream(PRODUCTION, WEB, SONNET, 46_000, 60, (300, 760), (60, 10), since=9),
    Stream(PRODUCTION, WEB, SONNET, 9_000, 60, (300, 760), (60, 10), since=9, geo="us"),
    Stream(PRODUCTION, MOBILE, OLD_OPUS, 2_200, 90, (250, 600), (70, 0), until=10),
    Stream(PRODUCTION, MOBILE, OPUS, 7_500, 90, (250, 640), (70, 0), since=9),
    Stream(PRODUCTION, WEB, OPUS, 3_000, 70, (500, 500), (20, 0), tier="priority", since=6, growth=0),
    Stream(SUPPORT, CHAT, OLD_SONNET, 16_000, 110, (400, 640), (50, 20), hours=OFFICE, growth=0, until=4, searches=60),
    Stream(SUPPORT, CHAT, HAIKU, 16_000, 110, (400, 640), (50, 20), hours=OFFICE, growth=0, since=3, searches=60),
    Stream(RESEARCH, EVALS, OLD_OPUS, 900, 200, hours=OFFICE, weekend=100, until=10, growth=10),
    Stream(RESEARCH, EVALS, OPUS, 5_200, 200, hours=OFFICE, weekend=100, since=9, growth=10),
    Stream(RESEARCH, NOTEBOOKS, SONNET, 3_400, 45, context="200k-1M", hours=OFFICE, weekend=150, since=9),
    Stream(RESEARCH, None, OPUS, 450, 250, account=ANALYST, hours=OFFICE, weekend=50, since=9, searches=400),
    Stream(DATA, NIGHTLY, HAIKU, 60_000, 35, tier="batch", hours=NIGHT, weekend=1000, growth=15),
    Stream(DATA, NIGHTLY, SONNET, 9_000, 30, tier="batch", hours=NIGHT, weekend=1000, since=9, growth=15),
    Stream(HACKATHON, HACKING, OLD_SONNET, 12_000, 150, since=14, until=13, growth=0, weekend=900),
    Stream(None, CI, HAIKU, 5_000, 20, (800, 850), (30, 0), hours=OFFICE, weekend=60),
    Stream(None, None, OLD_SONNET, 260, 300, account=ENGINEER, hours=OFFICE, weekend=80, growth=5),
)

_PRICES = {
    OPUS: (Decimal(5), Decimal(25)),
    SONNET: (Decimal(3), Decimal(15)),
    HAIKU: (Decimal(1), Decimal(5)),
    OLD_OPUS: (Decimal(15), Decimal(75)),
    OLD_SONNET: (Decimal(3), Decimal(15)),
}
_SONNET_SINCE_MONTH_5 = (Decimal("2.5"), Decimal("12.5"))
_CENTS_PER_SEARCH = Decimal(1)
_CENTS_PER_CONTAINER_HOUR = Decimal(5)
_CENTS_PER_SESSION_HOUR = Decimal(8)

TOKEN_TYPES = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    OUTPUT := "output_tokens",
)
_INPUT_FACTORS = (Decimal(1), Decimal("0.1"), Decimal("1.25"), Decimal(2))

SPIKE_MONTH = 1
SPIKE_FACTOR = 14
CREDIT = (1, 25)
"""Months before the current one, day of the month."""
CREDIT_CENTS = Decimal(-45_000)
REGRESSION_MONTH = 7
PRICE_CUT_MONTH = 5
_SESSIONS_SINCE = 7

Counts = tuple[int, ...]
"""The five token counts in the order of `TOKEN_TYPES`, then web searches."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of a day's bill, in cents."""

    workspace: str | None
    description: str
    cents: Decimal
    cost_type: str | None
    token_type: str | None = None
    model: str | None = None
    tier: str | None = None
    context: str | None = None
    geo: str | None = None


class Organization:
    """The demo organization as of a day.

    Args:
        today: The current UTC day, to which the months of the story count back.
        price_cut_month: The month in which Sonnet 4.6 becomes cheaper, in months before the current one; None for
            never.
        regression_month: The month of the broken prompt prefix; None for never.
        spike_factor: How much traffic the runaway evaluation has on its day, as a multiple of the usual.
    """

    def __init__(
        self,
        today: date,
        *,
        price_cut_month: int | None = PRICE_CUT_MONTH,
        regression_month: int | None = REGRESSION_MONTH,
        spike_factor: int = SPIKE_FACTOR,
    ) -> None:
        self._month = today.year * 12 + today.month
        self._price_cut_month = price_cut_month
        self._regression_month = regression_month
        self._spike_factor = spike_factor

    def months_back(self, day: date) -> int:
        """How many months before the current one a day lies."""
        return self._month - (day.year * 12 + day.month)

    def usage(self, day: date, start: int, end: int) -> Iterator[tuple[Stream, Counts]]:
        """The usage of each active stream between two minutes of a day.

        However a day is split, the counts of its parts add up to the day's.
        """
        for stream in STREAMS:
            counts = self._day(stream, day)
            if any(counts):
                first, last, whole = (_weight(stream.hours, minute) for minute in (start, end, MINUTES_PER_DAY))
                part = tuple(count * last // whole - count * first // whole for count in counts)
                if any(part):
                    yield stream, part

    def costs(self, day: date, end: int = MINUTES_PER_DAY) -> Iterator[CostLine]:
        """The bill of a day up to a minute. It excludes Priority Tier, as the real cost report does."""
        for stream, counts in self.usage(day, 0, end):
            if stream.tier != "priority":
                yield from self._token_costs(stream, counts, day)
            if counts[-1]:
                cents = _CENTS_PER_SEARCH * counts[-1]
                yield CostLine(stream.workspace, "Web Search Usage", cents, "web_search")
        yield from self._other_costs(day, end)

    def price(self, stream: Stream, token_type: str, day: date) -> Decimal:
        """Dollars per million tokens."""
        cut = self._price_cut_month
        cheaper = stream.model == SONNET and cut is not None and self.months_back(day) <= cut
        into, out = _SONNET_SINCE_MONTH_5 if cheaper else _PRICES[stream.model]
        long = stream.context == "200k-1M"
        if token_type == OUTPUT:
            price = out * (Decimal("1.5") if long else 1)
        else:
            price = into * _INPUT_FACTORS[TOKEN_TYPES.index(token_type)] * (2 if long else 1)
        price *= Decimal("0.5") if stream.tier == "batch" else 1
        return price * (Decimal("1.1") if stream.inference_geo == "us" else 1)

    def _token_costs(self, stream: Stream, counts: Counts, day: date) -> Iterator[CostLine]:
        for token_type, tokens in zip(TOKEN_TYPES, counts, strict=False):
            if tokens:
                yield CostLine(
                    workspace=stream.workspace,
                    description=_description(stream, token_type),
                    cents=tokens * self.price(stream, token_type, day) / 10_000,
                    cost_type="tokens",
                    token_type=token_type,
                    model=stream.model,
                    tier=stream.tier,
                    context=stream.context,
                    geo=stream.inference_geo,
                )

    def _other_costs(self, day: date, end: int) -> Iterator[CostLine]:
        back = self.months_back(day)
        if not 0 <= back <= MONTHS or not end:
            return
        minutes = (600 + _noise("containers", day, 900)) * end // MINUTES_PER_DAY
        yield CostLine(RESEARCH, "Code Execution Usage", minutes * _CENTS_PER_CONTAINER_HOUR / 64, "code_execution")
        if back <= _SESSIONS_SINCE:
            minutes = (200 + _noise("sessions", day, 400)) * end // MINUTES_PER_DAY
            yield CostLine(SUPPORT, "Session Usage", minutes * _CENTS_PER_SESSION_HOUR / 64, "session_usage")
        if (back, day.day) == CREDIT:
            yield CostLine(None, "Service Credit", CREDIT_CENTS, None)

    def _day(self, stream: Stream, day: date) -> Counts:
        back = self.months_back(day)
        if not max(0, stream.until) <= back <= stream.since:
            return (0,) * (len(TOKEN_TYPES) + 1)
        total = stream.thousand_tokens * self._pace(stream, day, back)
        read = _interpolate(*stream.cached, back) * 100 + _noise(f"{stream}cache", day, 1_500)
        if stream.cached == (0, 0):
            read = 0
        elif back == self._regression_month and stream.workspace == PRODUCTION:
            read //= 4
        cache_read = total * read // 100_000
        short, long = (total * share // 1000 for share in stream.written)
        output = total * stream.output * (990 + _noise(f"{stream}out", day, 20)) // 1_000_000
        return (
            total - cache_read - short - long,
            cache_read,
            short,
            long,
            output,
            total * stream.searches // 10**6,
        )

    def _pace(self, stream: Stream, day: date, back: int) -> int:
        """The stream's traffic on a day, in thousandths of an average working day of the current month."""
        pace = 1000 * 1000**back // (1000 + stream.growth) ** back
        pace = pace * (900 + _noise(str(stream), day, 200)) // 1000
        if day.weekday() >= calendar.SATURDAY:
            pace = pace * stream.weekend // 1000
        if stream.api_key == EVALS and back == SPIKE_MONTH and is_third_wednesday(day):
            pace *= self._spike_factor
        return pace


def is_third_wednesday(day: date) -> bool:
    """Whether it is the third Wednesday of its month."""
    return day.weekday() == calendar.WEDNESDAY and (day.day - 1) // 7 == 2  # noqa: PLR2004 - the third, counted from zero


def minute_of(moment: datetime) -> int:
    """The minute of the UTC day."""
    moment = moment.astimezone(UTC)
    return moment.hour * 60 + moment.minute


def _weight(hours: Sequence[int], minute: int) -> int:
    """The cumulative weight of a day up to a minute; 60 times the sum of the hours at its end."""
    hour, rest = divmod(minute, 60)
    return 60 * sum(hours[:hour]) + (hours[hour] * rest if rest else 0)


def _interpolate(then: int, now: int, back: int) -> int:
    """Linear from `then`, two years ago, to `now`, a year ago; constant since."""
    return now - (now - then) * max(0, back - _LAST_YEAR) // (MONTHS - _LAST_YEAR)


_LAST_YEAR = 12
"""Months with the current share of cache reads."""


def _noise(what: str, day: date, size: int) -> int:
    """A deterministic pseudo-random number from 0 to size - 1."""
    digest = blake2b(f"{what}{day}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) % size


_TYPE_LABELS: dict[str, str] = dict(
    zip(
        TOKEN_TYPES,
        (
            "Input Tokens",
            "Input Tokens, Cache Hit",
            "Input Tokens, Cache Write",
            "Input Tokens, Cache Write 1h",
            "Output Tokens",
        ),
        strict=True,
    )
)


def _description(stream: Stream, token_type: str) -> str:
    """A label in Anthropic's style, one per price."""
    family, major, minor = stream.model.removeprefix("claude-").split("-")
    name = f"Claude {family.title()} {major}.{minor} Usage"
    kinds = {"batch": " (Batch)"}.get(stream.tier, "")
    kinds += " (Long Context)" if stream.context == "200k-1M" else ""
    kinds += " (US)" if stream.inference_geo == "us" else ""
    return f"{name}{kinds} - {_TYPE_LABELS[token_type]}"

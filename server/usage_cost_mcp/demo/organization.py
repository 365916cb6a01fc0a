"""The demo organization: two years of a believable company, made anew from a date, always the same for that date.

The story, in months before the current one (0 is the current month, 24 the first with data):
    24  two products on older models; caching has just begun
    14  a two-month hackathon in a workspace that was archived afterwards
     9  the move to the 4.6 models
     7  a broken prompt prefix: for this month, Production reads far less from its cache
     5  Sonnet 4.6 becomes cheaper
     3  Support moves its chat from Sonnet 4.5 to Haiku 4.5
     1  a runaway evaluation in Research on the third Wednesday (the cost spike), a service credit on the 25th

Prices are the demo's own. Every count is an integer and every amount exact, so that tests can demand equality.
"""

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b

MONTHS = 24
MINUTES_A_DAY = 24 * 60

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
    """One steady use of one model.

    Attributes:
        thousand_tokens: All input on an average working day of the current month, in thousands.
        output: Output tokens per thousand input tokens.
        cached: Of a thousand input tokens, how many are read from the cache, two years ago and in the last year.
        written: Of a thousand input tokens, how many are written to the cache for 5 minutes and for an hour.
        growth: Per month, in thousandths.
        weekend: What is left on Saturday and Sunday, in thousandths.
        since: The first month, counted back from the current one.
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
        """Older models cannot choose where they run."""
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
_CENTS_A_SEARCH = Decimal(1)
_CENTS_A_CONTAINER_HOUR = Decimal(5)
_CENTS_A_SESSION_HOUR = Decimal(8)

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
"""Months back, day of the month."""
CREDIT_CENTS = Decimal(-45_000)
REGRESSION_MONTH = 7
PRICE_CUT_MONTH = 5

Counts = tuple[int, ...]
"""The five token counts in the order of `TOKEN_TYPES`, then web searches."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of the bill of a day, in cents."""

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
    """The demo organization as it stands on a day.

    Args:
        today: The day that the story leads up to (UTC).
    """

    def __init__(self, today: date) -> None:
        self._month = today.year * 12 + today.month

    def months_back(self, day: date) -> int:
        """How many months a day lies before the current one."""
        return self._month - (day.year * 12 + day.month)

    def usage(self, day: date, start: int, end: int) -> Iterator[tuple[Stream, Counts]]:
        """What each stream used from one minute of the day to another; nothing where it used nothing.

        Cut a day into any pieces: their counts add up to the day's.
        """
        for stream in STREAMS:
            counts = self._day(stream, day)
            if any(counts):
                first, last, whole = (_weight(stream.hours, minute) for minute in (start, end, MINUTES_A_DAY))
                part = tuple(count * last // whole - count * first // whole for count in counts)
                if any(part):
                    yield stream, part

    def costs(self, day: date, end: int = MINUTES_A_DAY) -> Iterator[CostLine]:
        """The bill of a day, up to a minute of it. Priority Tier is billed elsewhere."""
        for stream, counts in self.usage(day, 0, end):
            if stream.tier != "priority":
                yield from self._token_costs(stream, counts, day)
            if counts[-1]:
                cents = _CENTS_A_SEARCH * counts[-1]
                yield CostLine(stream.workspace, "Web Search Usage", cents, "web_search")
        yield from self._other_costs(day, end)

    def price(self, stream: Stream, token_type: str, day: date) -> Decimal:
        """Dollars per million tokens."""
        cheaper = stream.model == SONNET and self.months_back(day) <= PRICE_CUT_MONTH
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
        minutes = (600 + _noise("containers", day, 900)) * end // MINUTES_A_DAY
        yield CostLine(RESEARCH, "Code Execution Usage", minutes * _CENTS_A_CONTAINER_HOUR / 64, "code_execution")
        if back <= REGRESSION_MONTH:
            minutes = (200 + _noise("sessions", day, 400)) * end // MINUTES_A_DAY
            yield CostLine(SUPPORT, "Session Usage", minutes * _CENTS_A_SESSION_HOUR / 64, "session_usage")
        if (back, day.day) == CREDIT:
            yield CostLine(None, "Service Credit", CREDIT_CENTS, None)

    def _day(self, stream: Stream, day: date) -> Counts:
        back = self.months_back(day)
        if not max(0, stream.until) <= back <= stream.since:
            return (0,) * (len(TOKEN_TYPES) + 1)
        total = stream.thousand_tokens * self._pace(stream, day, back)
        read = _between(*stream.cached, back) * 100 + _noise(f"{stream}cache", day, 1_500)
        if stream.cached == (0, 0):
            read = 0
        elif back == REGRESSION_MONTH and stream.workspace == PRODUCTION:
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
        """How busy the stream is on the day, in thousandths of an average working day of the current month."""
        pace = 1000 * 1000**back // (1000 + stream.growth) ** back
        pace = pace * (900 + _noise(str(stream), day, 200)) // 1000
        if day.weekday() >= calendar.SATURDAY:
            pace = pace * stream.weekend // 1000
        if stream.api_key == EVALS and back == SPIKE_MONTH and is_third_wednesday(day):
            pace *= SPIKE_FACTOR
        return pace


def is_third_wednesday(day: date) -> bool:
    """Whether it is the third Wednesday of its month."""
    return day.weekday() == calendar.WEDNESDAY and (day.day - 1) // 7 == 2  # noqa: PLR2004 - third, from zero


def minute_of(moment: datetime) -> int:
    """The minute of the UTC day."""
    moment = moment.astimezone(UTC)
    return moment.hour * 60 + moment.minute


def _weight(hours: Sequence[int], minute: int) -> int:
    """How much of a day's weight has passed by a minute; 60 times the hours' sum at its end."""
    hour, rest = divmod(minute, 60)
    return 60 * sum(hours[:hour]) + (hours[hour] * rest if rest else 0)


def _between(then: int, now: int, back: int) -> int:
    """A way that was gone in the first year."""
    return now - (now - then) * max(0, back - _LAST_YEAR) // (MONTHS - _LAST_YEAR)


_LAST_YEAR = 12
"""Months in which caching is as good as it is now."""


def _noise(what: str, day: date, size: int) -> int:
    """A number from 0 to size - 1 that looks random and is always the same."""
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
    """As Anthropic words it: a label for people, one per price."""
    family, major, minor = stream.model.removeprefix("claude-").split("-")
    name = f"Claude {family.title()} {major}.{minor} Usage"
    kinds = {"batch": " (Batch)"}.get(stream.tier, "")
    kinds += " (Long Context)" if stream.context == "200k-1M" else ""
    kinds += " (US)" if stream.inference_geo == "us" else ""
    return f"{name}{kinds} - {_TYPE_LABELS[token_type]}"

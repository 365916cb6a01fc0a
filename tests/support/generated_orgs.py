"""Organizations that Hypothesis makes up, the smallest Admin API that serves them, and a client that asks about them.

How many examples: 300 of each property, always the same; `HYPOTHESIS_PROFILE=nightly` makes new ones, 10,000 of each.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from math import prod
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st
from mcp import Client

from tests.support.harness import NOW, FixedPrincipal, FrozenClock, text_of
from usage_cost_mcp.app import build_server
from usage_cost_mcp.auth.principals import OPERATOR, Principal
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.settings import Settings

Group = tuple[str | None, ...]
Body = dict[str, Any]

COUNTS = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "output_tokens",
    "web_search_requests",
)
_SHARED: dict[str, Sequence[str | None]] = {
    "workspace_id": (None, "wrkspc_one", "wrkspc_two"),
    "model": ("claude-opus-4-6", "claude-haiku-4-5", "claude-not-yet-9", None),
    "service_tier": ("standard", "batch", None),
    "context_window": ("0-200k", "200k-1M", None),
    "inference_geo": ("global", "us", "not_available"),
}
SPEND_VALUES: dict[str, Sequence[str | None]] = {
    **_SHARED,
    "cost_type": ("tokens", "web_search", "a_new_cost_type", None),
    "token_type": ("output_tokens", "uncached_input_tokens", None),
    "description": ("Some Usage", "Other Usage", None),
}
USAGE_VALUES: dict[str, Sequence[str | None]] = {
    **_SHARED,
    "api_key_id": (None, "apikey_one", "apikey_two"),
    "account_id": (None, "user_one"),
    "service_account_id": (None, "svac_one"),
    "speed": ("standard", "fast"),
}
SPEND, USAGE = "get_spend", "get_token_usage"
VALUES = {SPEND: SPEND_VALUES, USAGE: USAGE_VALUES}
_REPORTS = {"/v1/organizations/cost_report": SPEND, "/v1/organizations/usage_report/messages": USAGE}
_STEPS = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}


@dataclass(frozen=True)
class Row:
    """What happened in one minute under one group: one amount in cents as it is written, or the six counts."""

    moment: datetime
    group: Mapping[str, str | None]
    values: tuple[str | int, ...]

    def key(self, dimensions: Iterable[str]) -> Group:
        return tuple(self.group[dimension] for dimension in dimensions)


@dataclass(frozen=True)
class GeneratedOrg:
    """What one report holds of an organization, and the manner in which it is told: in whatever pages and order.

    Attributes:
        tool: The tool that reads the report.
        period: The days that most of the rows are on, both included.
        edit: A last change to the body of a page.
        beside: What the other report holds.
    """

    tool: str
    period: tuple[date, date]
    rows: Sequence[Row]
    page_size: int = 10_000
    shuffled: int | None = None
    edit: Callable[[Body], object] = field(default=lambda _: None)
    other_report: Sequence[Row] = ()

    @property
    def asked(self) -> str:
        return "..".join(map(str, self.period))

    @property
    def dimensions(self) -> Sequence[str]:
        return list(VALUES[self.tool])

    @property
    def inside(self) -> list[Row]:
        first, last = self.period
        return [row for row in self.rows if first <= row.moment.date() <= last]


@dataclass
class TinyApi:
    """Serves the world that it is given: the two reports, lists of names, or nothing at all.

    Attributes:
        beside: The rows of the report that the world does not hold.
        keys: The list of API keys; the other lists are empty.
    """

    world: GeneratedOrg | None = None
    beside: Sequence[Row] = ()
    keys: Sequence[Body] = ()
    pages: int = 0

    def __call__(self, request: Request) -> Response:
        if self.world is None:
            return Response({"type": "error", "error": {"type": "permission_error", "message": "no"}}, 403)
        report = _REPORTS.get(request.path)
        if report is None:
            listed: Sequence[Body] = self.keys if request.path.endswith("api_keys") else ()
            return Response({"data": listed, "has_more": False, "first_id": None, "last_id": None})
        query = dict(request.query)
        group_by = [value for name, value in request.query if name == "group_by[]"]
        beside = self.world.other_report or self.beside
        rows: Sequence[Row] = self.world.rows if self.world.tool == report else beside
        if report == SPEND:
            page = _page(self.world, query, rows, _cost)
        else:
            sums = _grouped(rows, _STEPS[query["bucket_width"]], group_by)
            page = _page(self.world, query, sums, partial(_counts, group_by))
        self.pages += 1
        self.world.edit(page)
        return Response(page)


def _grouped(rows: Iterable[Row], step: timedelta, group_by: Sequence[str]) -> list[Row]:
    """One row per bucket and group, as the usage report has it."""
    sums: dict[tuple[datetime, Group], list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for row in rows:
        bucket = sums[_snapped(row.moment, step), row.key(group_by)]
        bucket[:] = [left + int(right) for left, right in zip(bucket, row.values, strict=True)]
    return [Row(start, dict(zip(group_by, key, strict=True)), tuple(values)) for (start, key), values in sums.items()]


def _snapped(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0)
    return midnight + (moment - midnight) // step * step


def _page(world: GeneratedOrg, query: Mapping[str, str], rows: Iterable[Row], wire: Callable[[Row], Body]) -> Body:
    step = _STEPS[query["bucket_width"]]
    start, end = datetime.fromisoformat(query["starting_at"]), datetime.fromisoformat(query["ending_at"])
    results: dict[datetime, list[Body]] = {start + n * step: [] for n in range((end - start) // step)}
    for row in rows:
        if start <= row.moment < end:
            results[_snapped(row.moment, step)].append(wire(row))
    buckets = [
        {"starting_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{at + step:%Y-%m-%dT%H:%M:%SZ}", "results": each}
        for at, each in results.items()
    ]
    if world.shuffled is not None:
        shuffle = random.Random(world.shuffled).shuffle  # noqa: S311 - no secret
        for part in (buckets, *results.values()):
            shuffle(part)
    begin = int(query.get("page", "page_0").removeprefix("page_"))
    has_more = begin + world.page_size < len(buckets)
    return {
        "data": buckets[begin : begin + world.page_size],
        "has_more": has_more,
        "next_page": f"page_{begin + world.page_size}" if has_more else None,
    }


def _cost(row: Row) -> Body:
    return {"amount": row.values[0], "currency": "USD", **row.group}


def _counts(group_by: Sequence[str], row: Row) -> Body:
    uncached, read, short, long, output, searches = row.values
    return {
        **dict.fromkeys(USAGE_VALUES),
        **{dimension: row.group[dimension] for dimension in group_by},
        "uncached_input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": searches},
    }


@dataclass
class Harness:
    """A server with a client, and the Admin API that it asks; made once, for many worlds.

    Attributes:
        made: How many rows the worlds had.
        reached: How many of them were under the sums that were asked for.
    """

    portal: BlockingPortal
    client: Client
    api: TinyApi
    made: int = 0
    reached: int = 0

    def enter(self, world: GeneratedOrg) -> None:
        """Ask about this world from now on, with nothing known of any other: a refused key makes a server forget."""
        self.api.world = None
        assert "may not read" in self.refusal("get_spend", period="2001-01-01")
        self.api.world, self.api.pages = world, 0
        self.made += len(world.rows)
        self.reached += len(world.inside)

    def ask(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        result = self.portal.call(self.client.call_tool, tool, arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content

    def refusal(self, tool: str, /, **arguments: Any) -> str:
        result = self.portal.call(self.client.call_tool, tool, arguments)
        assert result.is_error, result.structured_content
        return text_of(result)


@contextmanager
def open_harness(principal: Principal = OPERATOR) -> Generator[Harness]:
    api = TinyApi()
    with serve_on_loopback(api) as url, start_blocking_portal() as portal:
        bounded = replace(Settings.for_demo({}, url), max_answer_characters=None)
        server = build_server(bounded, FrozenClock(), access=FixedPrincipal(lambda: principal))
        with portal.wrap_async_context_manager(Client(server)) as client:
            yield Harness(portal, client, api)


_FIRST_DAY = date(2026, 9, 24)
"""Early enough for periods over three months, two month ends and today."""
_DAYS = (NOW.date() - _FIRST_DAY).days
_MINUTES_OF_TODAY = 14 * 60 + 30
_MOST_GROUPINGS = 5

periods = st.tuples(st.integers(0, _DAYS), st.integers(0, _DAYS)).map(
    lambda pair: (_FIRST_DAY + timedelta(days=min(pair)), _FIRST_DAY + timedelta(days=max(pair)))
)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@st.composite
def amounts(draw: st.DrawFn) -> tuple[str]:
    """Cents as the wire has them: up to 18 digits before the point and 30 after it, negative ones too."""
    sign = draw(st.sampled_from(["", "", "-"]))
    whole = draw(st.integers(0, 10**4) | st.integers(0, 10**18 - 1))
    places = draw(st.integers(0, 30))
    return (f"{sign}{whole}.{draw(st.integers(0, 10**places - 1)):0{places}}" if places else f"{sign}{whole}",)


def counts() -> st.SearchStrategy[tuple[int, ...]]:
    """The six counts, now and then beyond what a float can tell apart."""
    return st.tuples(*[st.integers(0, 10**5) | st.integers(0, 2**64)] * len(COUNTS))


@st.composite
def row_of(draw: st.DrawFn, tool: str, period: tuple[date, date]) -> Row:
    minute = draw(st.integers(0, (period[1] - period[0]).days * 1440 + _MINUTES_OF_TODAY - 1))
    nth = draw(st.integers(0, prod(map(len, VALUES[tool].values())) - 1))
    group: dict[str, str | None] = {}
    for dimension, known in VALUES[tool].items():
        nth, place = divmod(nth, len(known))
        group[dimension] = known[place]
    return Row(midnight(period[0]) + timedelta(minutes=minute), group, draw(amounts() if tool == SPEND else counts()))


@st.composite
def worlds(draw: st.DrawFn, tools: Sequence[str] = (SPEND, USAGE)) -> GeneratedOrg:
    """A few rows on the days that will be asked for, and hardly any on the day before."""
    tool, period = draw(st.sampled_from(tools)), draw(periods)
    rows = draw(st.lists(row_of(tool, period), min_size=1, max_size=15))
    if len(rows) > 5:
        rows.append(replace(rows[0], moment=midnight(period[0]) - timedelta(minutes=1)))
    return GeneratedOrg(tool, period, rows)


def groupings(tool: str) -> st.SearchStrategy[list[str]]:
    """Any dimensions that can be asked for together: the usage report takes five at most."""
    most = len(VALUES[tool]) if tool == SPEND else _MOST_GROUPINGS
    return st.lists(st.sampled_from(list(VALUES[tool])), unique=True, max_size=most)


def measured(tool: str, row: Row) -> dict[str, Fraction]:
    """The measures of one row, cents as dollars."""
    if tool == SPEND:
        return {"cost": Fraction(row.values[0]) / 100}
    each = {name: Fraction(value) for name, value in zip(COUNTS, row.values, strict=True)}
    return {**each, "input_tokens": sum((each[name] for name in COUNTS[:4]), Fraction())}


DAY = date(2026, 10, 6)
GROUP: dict[str, str | None] = {
    **{dimension: values[0] for dimension, values in USAGE_VALUES.items()},
    "cost_type": "tokens",
    "description": "Some Usage",
}
"""The day and the group of the rows that `billed` and `used` make."""


def billed(cents: str, token_type: str, **group: str | None) -> Row:
    return Row(midnight(DAY), {**GROUP, "token_type": token_type, **group}, (cents,))


def used(*counts: int, **group: str | None) -> Row:
    return Row(midnight(DAY), {**GROUP, **group}, (*counts, *[0] * (6 - len(counts))))

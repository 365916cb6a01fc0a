"""Organizations with one planted story each, served as the Admin API would: their true costs and causes are known."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from mcp import Client

from tests.support.harness import FrozenClock
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.settings import Settings

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
PRODUCTION, RESEARCH = "wrkspc_production", "wrkspc_research"
OPUS, SONNET, HAIKU = "claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"
UNCACHED, CACHE_READ, OUTPUT = "uncached_input_tokens", "cache_read_input_tokens", "output_tokens"
WRITE_5M, WRITE_1H = "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"
FAST_MODE = "fast-mode-2026-02-01"

LIST_PRICES = {
    "claude-opus-5": (Decimal(5), Decimal(25)),
    OPUS: (Decimal(5), Decimal(25)),
    "claude-opus-4-1": (Decimal(15), Decimal(75)),
    SONNET: (Decimal(3), Decimal(15)),
    "claude-sonnet-4-5": (Decimal(3), Decimal(15)),
    HAIKU: (Decimal(1), Decimal(5)),
}
"""Dollars per million input and output tokens."""

_FACTORS = {UNCACHED: "1", CACHE_READ: "0.1", WRITE_5M: "1.25", WRITE_1H: "2", OUTPUT: "1"}
_MINUTES = 24 * 60
_STEPS = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}

Tokens = Mapping[str, int]
"""Tokens by token type."""


@dataclass(frozen=True)
class Workload:
    """What one key, account or service account uses, spread evenly over each day.

    Attributes:
        tokens: Tokens of a day, or a function of the day.
        start: The first day; None for always.
        end: The last day; None for always.
        discount: What the list price is multiplied by on a day.
        searches: Web searches of a day, at one cent each.
        in_costs: Whether the cost report has it.
        in_usage: Whether the usage report has it.
    """

    tokens: Tokens | Callable[[date], Tokens]
    workspace: str | None = PRODUCTION
    model: str = OPUS
    api_key: str | None = "apikey_main"
    account: str | None = None
    service_account: str | None = None
    tier: str = "standard"
    context: str = "0-200k"
    geo: str = "global"
    speed: str = "standard"
    start: date | None = None
    end: date | None = None
    discount: Callable[[date], Decimal] = lambda _: Decimal(1)
    searches: int = 0
    in_costs: bool = True
    in_usage: bool = True

    def on(self, day: date) -> Tokens:
        """Tokens of a day."""
        if (self.start and day < self.start) or (self.end and day > self.end):
            return {}
        return self.tokens(day) if callable(self.tokens) else self.tokens

    def price(self, token_type: str, day: date) -> Decimal:
        """Dollars per million tokens."""
        into, out = LIST_PRICES[self.model]
        price = (out if token_type == OUTPUT else into) * Decimal(_FACTORS.get(token_type, "1"))
        if self.context == "200k-1M":
            price *= Decimal("1.5") if token_type == OUTPUT else 2
        price *= Decimal("0.5") if self.tier == "batch" else 1
        price *= Decimal("1.1") if self.geo == "us" else 1
        return price * (2 if self.speed == "fast" else 1) * self.discount(day)

    def cost(self, day: date) -> dict[str, Decimal]:
        """Dollars of a day by token type; none for the Priority Tier."""
        if self.tier.startswith("priority") or not self.in_costs:
            return {}
        return {name: self.price(name, day) * count / 10**6 for name, count in self.on(day).items()}


@dataclass(frozen=True)
class Charge:
    """A line of the bill that is not for tokens, in dollars; negative for a credit."""

    day: date
    dollars: Decimal
    description: str = "Service Credit"
    cost_type: str | None = None
    workspace: str | None = None


@dataclass
class PlantedOrg:
    """An Admin API that serves an organization made of workloads and charges.

    Attributes:
        billing_lag: How far the cost report is behind; usage is current.
        fast_mode: Whether the organization may send the fast mode header: without, a request with it gets 400.
        speed_in_costs: Whether the cost report then tells the speed of its rows.
        keys: The listed API keys and their workspaces; deleted keys are not listed.
    """

    workloads: Sequence[Workload]
    charges: Sequence[Charge] = ()
    now: datetime = NOW
    billing_lag: timedelta = timedelta()
    fast_mode: bool = True
    speed_in_costs: bool = True
    keys: Mapping[str, str | None] = field(default_factory=lambda: {"apikey_main": PRODUCTION})
    workspaces: Mapping[str, str] = field(default_factory=lambda: {PRODUCTION: "Production", RESEARCH: "Research"})
    requests: list[Request] = field(default_factory=list[Request])

    def cost(self, first: date, last: date, matches: Callable[[Workload], bool] = lambda _: True) -> Decimal:
        """The true dollars for tokens of some days."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        costs = (sum(each.cost(day).values(), Decimal(0)) for each in self.workloads if matches(each) for day in days)
        return sum(costs, Decimal(0))

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if _beta(request) and not self.fast_mode:
            message = "anthropic-beta: fast mode is not enabled for your organization"
            return Response({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, 400)
        match request.path.removeprefix("/v1/organizations/"):
            case "usage_report/messages":
                return self._page(request, self._usage)
            case "cost_report":
                return self._page(request, self._costs)
            case "me":
                return Response({"id": "org_planted", "type": "organization", "name": "Planted"})
            case other:
                return _list(self._lists().get(other, []))

    def _lists(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        return {
            "workspaces": [_named(workspace, name) for workspace, name in self.workspaces.items()],
            "api_keys": [
                {**_named(key, key), "status": "active", "workspace_id": workspace}
                for key, workspace in self.keys.items()
            ],
        }

    def _page(self, request: Request, rows: Callable[[Request, datetime, datetime], list[Any]]) -> Response:
        query = dict(request.query)
        step = _STEPS[query["bucket_width"]]
        start, end = (datetime.fromisoformat(query[name]) for name in ("starting_at", "ending_at"))
        begin, limit = int(query.get("page", "page_0").removeprefix("page_")), int(query.get("limit", 7))
        starts = [start + n * step for n in range((end - start) // step)]
        data = [
            {"starting_at": _rfc3339(at), "ending_at": _rfc3339(at + step), "results": rows(request, at, at + step)}
            for at in starts[begin : begin + limit]
        ]
        more = begin + limit < len(starts)
        return Response({"data": data, "has_more": more, "next_page": f"page_{begin + limit}" if more else None})

    def _usage(self, request: Request, start: datetime, end: datetime) -> list[Any]:
        group_by = [value for name, value in request.query if name == "group_by[]"]
        speeds = {value for name, value in request.query if name == "speeds[]"}
        groups: defaultdict[tuple[str | None, ...], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        for each in self.workloads:
            if (speeds and each.speed not in speeds) or not each.in_usage:
                continue
            counts = groups[tuple(_dimensions(each)[name] for name in group_by)]
            for name, count in (*each.on(start.date()).items(), ("searches", _searches(each, start.date()))):
                counts[name] += _share(count, start, min(end, self.now))
        rows = (
            (dict(zip(group_by, key, strict=True)), counts) for key, counts in groups.items() if any(counts.values())
        )
        return [_usage_row(group, counts) for group, counts in rows]

    def _costs(self, request: Request, start: datetime, end: datetime) -> list[Any]:
        with_speed = _beta(request) and self.speed_in_costs
        until = min(end, self.now - self.billing_lag)
        lines: defaultdict[tuple[tuple[str, str | None], ...], Decimal] = defaultdict(Decimal)
        for each in self.workloads:
            dimensions = _dimensions(each)
            searches = _searches(each, start.date())
            if searches:
                lines[_line(each.workspace, "Web Search Usage", "web_search")] += _share(searches, start, until)
            for token_type, dollars in each.cost(start.date()).items():
                group = {name: dimensions[name] for name in _PRICED_BY}
                speed = {"speed": each.speed} if with_speed else {}
                description = f"{each.model} {token_type}{' (fast mode)' if each.speed == 'fast' else ''}"
                line = _line(each.workspace, description, "tokens", token_type=token_type, **group, **speed)
                lines[line] += _fraction(dollars * 100, start, until)
        for charge in self.charges:
            if charge.day == start.date() and until > start:
                lines[_line(charge.workspace, charge.description, charge.cost_type)] += charge.dollars * 100
        return [
            {**_NO_COST, **({"speed": None} if with_speed else {}), **dict(line), "amount": f"{cents:f}"}
            for line, cents in lines.items()
            if cents
        ]


_PRICED_BY = ("model", "service_tier", "context_window", "inference_geo")
_NO_COST = {"currency": "USD", "token_type": None, **dict.fromkeys(_PRICED_BY)}


def _line(workspace: str | None, description: str, cost_type: str | None, **group: str | None) -> Any:
    return tuple({"workspace_id": workspace, "description": description, "cost_type": cost_type, **group}.items())


def _dimensions(each: Workload) -> dict[str, str | None]:
    return {
        "workspace_id": each.workspace,
        "api_key_id": each.api_key,
        "account_id": each.account,
        "service_account_id": each.service_account,
        "model": each.model,
        "service_tier": each.tier,
        "context_window": each.context,
        "inference_geo": each.geo,
        "speed": each.speed,
    }


def _searches(each: Workload, day: date) -> int:
    return each.searches if each.on(day) else 0


def _usage_row(group: Mapping[str, str | None], counts: Mapping[str, int]) -> Any:
    absent = {name: None for name in _dimensions(Workload({})) if name != "speed"}
    written = {name: count for name, count in counts.items() if name.startswith("cache_creation.")}
    empty = {WRITE_5M: 0, WRITE_1H: 0}
    return {
        **absent,
        **group,
        **{name: counts[name] for name in (UNCACHED, CACHE_READ, OUTPUT)},
        "cache_creation": {name.partition(".")[2]: count for name, count in {**empty, **written}.items()},
        "server_tool_use": {"web_search_requests": counts["searches"]},
    }


def _minutes(start: datetime, until: datetime) -> tuple[int, int]:
    """The first and the last minute, of the day of `start`, that lie before `until`."""
    first = start.hour * 60 + start.minute
    return first, max(first, min(_MINUTES, first + int((until - start).total_seconds()) // 60))


def _share(count: int, start: datetime, until: datetime) -> int:
    first, last = _minutes(start, until)
    return count * last // _MINUTES - count * first // _MINUTES


def _fraction(amount: Decimal, start: datetime, until: datetime) -> Decimal:
    first, last = _minutes(start, until)
    return round(amount * (last - first) / _MINUTES, 9)


def _beta(request: Request) -> bool:
    return FAST_MODE in request.headers.get("anthropic-beta", "")


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _named(identity: str, name: str) -> dict[str, Any]:
    return {"id": identity, "name": name, "archived_at": None}


def _list(items: Sequence[Mapping[str, Any]]) -> Response:
    last = items[-1]["id"] if items else None
    return Response({"data": items, "has_more": False, "first_id": items[0]["id"] if items else None, "last_id": last})


@asynccontextmanager
async def client_of(org: PlantedOrg, clock: FrozenClock | None = None) -> AsyncGenerator[Client]:
    """An MCP client on a server of the organization, by default at its moment."""
    with serve_on_loopback(org) as url:
        async with Client(build_server(Settings.for_demo({}, url), clock or FrozenClock(org.now))) as client:
            yield client


def days(first: date, last: date) -> Iterator[date]:
    """Every day, both included."""
    yield from (first + timedelta(days=n) for n in range((last - first).days + 1))

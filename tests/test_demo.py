"""The demo organization is plausible and adds up; its API rejects what the real one rejects."""

import json
import urllib.error
import urllib.request
from collections.abc import Generator
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracle
from tests.support.harness import NOW
from usage_cost_mcp.demo import DemoApi, Organization, organization, serve_on_loopback
from usage_cost_mcp.demo.organization import MINUTES_PER_DAY, is_third_wednesday

DEMO = Organization(NOW.date())
SIX_GROUPINGS = "&".join(
    f"group_by[]={dimension}"
    for dimension in ("model", "workspace_id", "account_id", "api_key_id", "service_tier", "inference_geo")
)
DAYS = st.dates(date(2024, 11, 1), date(2026, 11, 21))


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serve_on_loopback(DemoApi(lambda: NOW).respond) as url:
        yield url


def get(url: str, path: str, key: str = "sk-ant-admin01-demo", version: str = "2023-06-01") -> tuple[int, str]:
    """The status and the error type of an answer."""
    headers = {"x-api-key": key, **({"anthropic-version": version} if version else {})}
    request = urllib.request.Request(f"{url}/v1/organizations/{path}", headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - loopback
            return response.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["type"]


@given(DAYS, st.lists(st.integers(1, MINUTES_PER_DAY - 1), max_size=5, unique=True))
def test_any_pieces_of_a_day_add_up_to_the_day(day: date, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), MINUTES_PER_DAY]
    pieces: dict[object, list[int]] = {}
    for start, end in pairwise(edges):
        for stream, counts in DEMO.usage(day, start, end):
            sums = pieces.setdefault(stream, [0] * len(counts))
            pieces[stream] = [left + right for left, right in zip(sums, counts, strict=True)]
    assert pieces == {stream: list(counts) for stream, counts in DEMO.usage(day, 0, MINUTES_PER_DAY)}


@given(DAYS)
def test_every_token_cost_is_tokens_times_price(day: date) -> None:
    expected = sum(
        (
            tokens * DEMO.price(stream, token_type, day) / 10_000
            for stream, counts in DEMO.usage(day, 0, MINUTES_PER_DAY)
            if stream.tier != "priority"
            for token_type, tokens in zip(organization.TOKEN_TYPES, counts, strict=False)
        ),
        Decimal(0),
    )
    assert sum(line.cents for line in DEMO.costs(day) if line.cost_type == "tokens") == expected


def test_a_day_is_always_the_same() -> None:
    again = Organization(NOW.date())
    assert list(again.costs(date(2026, 5, 5))) == list(DEMO.costs(date(2026, 5, 5)))


def test_weekends_are_quieter_and_one_day_of_last_month_is_a_spike() -> None:
    days = [date(2026, 10, 1) + timedelta(days=n) for n in range(31)]
    spend = {day: sum(line.cents for line in DEMO.costs(day) if line.cents > 0) for day in days}
    (spike,) = (day for day in days if is_third_wednesday(day))
    assert max(spend, key=lambda day: spend[day]) == spike
    assert spend[spike] > 3 * spend[spike - timedelta(days=7)]
    assert max(spend[day] for day in days if day.weekday() >= 5) < min(spend[day] for day in days if day.weekday() < 5)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("me", 200),
        ("cost_report?starting_at=2026-11-01", 200),
        ("cost_report?starting_at=2026-11-22", 400),
        ("cost_report?starting_at=2026-11-01&ending_at=2026-11-01T12:00:00Z", 400),
        ("cost_report?starting_at=2026-11-01&limit=32", 400),
        ("cost_report?starting_at=2026-11-01&bucket_width=1h", 400),
        ("cost_report?starting_at=2026-11-01&group_by[]=model", 400),
        ("cost_report?starting_at=2026-11-01&page=page_nonsense", 400),
        ("cost_report?starting_at=soon", 400),
        ("cost_report?starting_at=2026-11-01&models[]=x", 400),
        ("usage_report/messages?starting_at=2026-11-01&group_by[]=speed", 400),
        (f"usage_report/messages?starting_at=2026-11-01&{SIX_GROUPINGS}", 400),
        ("invoices", 404),
    ],
)
def test_the_demo_api_refuses_what_the_real_one_refuses(url: str, path: str, status: int) -> None:
    assert get(url, path)[0] == status


@pytest.mark.parametrize(
    ("key", "version", "refused"),
    [
        ("sk-ant-api03-demo", "2023-06-01", (401, "authentication_error")),
        ("sk-ant-admin01-demo", "", (400, "invalid_request_error")),
    ],
)
def test_the_demo_api_wants_an_admin_key_and_a_version(
    url: str, key: str, version: str, refused: tuple[int, str]
) -> None:
    assert get(url, "me", key, version) == refused


def test_pages_of_a_week_give_the_same_rows_as_one_page(url: str) -> None:
    weekly = oracle.dollars(url, "2026-10-01", "2026-10-31", ["model"])
    daily = {
        day: oracle.dollars(url, day, day, ["model"]) for day in (f"2026-10-{number:02}" for number in range(1, 32))
    }
    for group, days in weekly.items():
        assert days == {day: daily[day][group][day] for day in daily if group in daily[day]}


def test_an_ungrouped_report_has_one_row_a_day_with_only_an_amount(url: str) -> None:
    rows = [row for _, row in oracle.rows(url, "cost_report", "2026-10-01", "2026-10-02", [])]
    assert len(rows) == 2
    assert {name for row in rows for name, value in row.items() if value is not None} == {"amount", "currency"}

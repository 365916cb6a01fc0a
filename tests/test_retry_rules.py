from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import NOW
from usage_cost_mcp.admin_api.retry import TOO_MANY_REQUESTS, backoff, may_retry, retry_after_seconds

RESET = "anthropic-ratelimit-requests-reset"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 14:30:20 GMT"}, 20),
        ({"retry-after": "Sun, 22 Nov 2026 15:31:00 +0100"}, 60),
        ({"retry-after": "Sun, 22 Nov 2026 14:30:20 -0000"}, 20),
        ({"retry-after": "Sun, 22 Nov 2026 14:29:00 GMT"}, 0),
        ({RESET: "2026-11-22T14:31:00Z"}, 60),
        ({RESET: "2026-11-22T15:31:00+01:00"}, 60),
        ({RESET: "2026-11-22T14:31:00"}, 60),
        ({RESET: "2026-11-22T14:29:59Z"}, 0),
    ],
)
def test_upstream_says_how_long_to_wait(headers: Mapping[str, str], seconds: float) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    "value", ["", " ", "-1", "-0.5", "nan", "inf", "-inf", "1e999", "1e9", "soon", "1,5", "7 seconds"]
)
@pytest.mark.parametrize("name", ["retry-after-ms", "retry-after", RESET])
def test_an_implausible_wait_is_ignored(name: str, value: str) -> None:
    assert retry_after_seconds({name: value}, NOW) is None


def test_without_a_hint_from_upstream_the_wait_is_ours() -> None:
    assert retry_after_seconds({}, NOW) is None


@pytest.mark.parametrize(
    ("milliseconds", "retry_after", "seconds"),
    [("2000", "3", 2), ("soon", "3", 3), ("-1", "Sun, 22 Nov 2026 14:30:04 GMT", 4), ("nan", "inf", 5)],
)
def test_the_most_precise_plausible_header_counts(milliseconds: str, retry_after: str, seconds: float) -> None:
    headers = {"retry-after-ms": milliseconds, "retry-after": retry_after, RESET: "2026-11-22T14:30:05Z"}
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_transient_status_is_retried(status: int) -> None:
    assert may_retry(status, {})
    assert may_retry(status, {"x-should-retry": "perhaps"})
    assert not may_retry(status, {"x-should-retry": "false"})


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_a_permanent_status_is_not_retried(status: int) -> None:
    assert not may_retry(status, {})
    assert not may_retry(status, {"x-should-retry": "perhaps"})
    assert may_retry(status, {"x-should-retry": "true"})


CHANCES = st.floats(0, 1)
FAILURES = st.integers(1, 100)


@given(st.sampled_from([None, 408, 500, 529]), FAILURES, CHANCES)
def test_a_failure_is_followed_by_a_short_wait(status: int | None, failures: int, chance: float) -> None:
    assert 0 <= backoff(status, failures, chance) <= 8


@given(FAILURES, CHANCES)
def test_a_rate_limit_is_waited_out_longer(failures: int, chance: float) -> None:
    assert 5 <= backoff(TOO_MANY_REQUESTS, failures, chance) <= 31


@pytest.mark.parametrize(
    ("status", "chance", "waits"),
    [
        (None, 1, [1, 2, 4, 8, 8]),
        (500, 1, [1, 2, 4, 8, 8]),
        (500, 0.5, [0.5, 1, 2, 4, 4]),
        (429, 0, [5, 15, 30, 30, 30]),
    ],
)
def test_every_wait_is_longer_than_the_one_before_up_to_a_limit(
    status: int | None, chance: float, waits: list[float]
) -> None:
    assert [backoff(status, attempt, chance) for attempt in range(1, 6)] == waits


@pytest.mark.parametrize("status", [None, 429, 500])
@pytest.mark.parametrize("attempt", range(1, 4))
def test_clients_do_not_all_retry_at_once(status: int | None, attempt: int) -> None:
    assert len({backoff(status, attempt, chance) for chance in (0, 0.3, 0.6, 1)}) == 4

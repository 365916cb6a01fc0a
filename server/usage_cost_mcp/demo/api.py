"""The Admin API as documented, serving the demo organization, with the real paths, parameters, limits and errors.

Source: https://platform.claude.com/docs/en/manage-claude/usage-cost-api
"""

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http import HTTPStatus
from itertools import count

from . import organization as org
from .http import Request, Response
from .organization import CostLine, Counts, Organization, Stream, minute_of

_STEPS = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
_LIMITS = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
_MAX_GROUPINGS = 5
_LIST_LIMITS = (20, 1000)

_USAGE_DIMENSIONS: dict[str, Callable[[Stream], str | None]] = {
    "account_id": lambda stream: stream.account,
    "api_key_id": lambda stream: stream.api_key,
    "context_window": lambda stream: stream.context,
    "inference_geo": lambda stream: stream.inference_geo,
    "model": lambda stream: stream.model,
    "service_account_id": lambda _: None,
    "service_tier": lambda stream: stream.tier,
    "speed": lambda _: _SPEED,
    "workspace_id": lambda stream: stream.workspace,
}
_SPEED_BETA = "fast-mode-2026-02-01"

_PAGING = frozenset({"starting_at", "ending_at", "bucket_width", "limit", "page", "group_by[]"})
_SPEED = "standard"
"""The demo organization does not use fast mode."""


class _RefusedError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def _bad_request(message: str) -> _RefusedError:
    return _RefusedError(HTTPStatus.BAD_REQUEST, "invalid_request_error", message)


class DemoApi:
    """Answers requests as the real API would.

    Args:
        now: Returns the current time in UTC; data ends there.
        organization: By default the demo organization as of today.
    """

    def __init__(self, now: Callable[[], datetime], organization: Organization | None = None) -> None:
        self._now = now
        self._organization = organization or Organization(now().date())
        self._ids = count(1)
        self._routes: dict[str, Callable[[Request], object]] = {
            "/v1/organizations/me": lambda _: org.ORGANIZATION,
            "/v1/organizations/workspaces": lambda request: _list(request, _workspaces(request)),
            "/v1/organizations/api_keys": lambda request: _list(request, _api_keys()),
            "/v1/organizations/users": lambda request: _list(request, _users()),
            "/v1/organizations/usage_report/messages": self._usage_report,
            "/v1/organizations/cost_report": self._cost_report,
        }

    def respond(self, request: Request) -> Response:
        """The response to a GET, including errors."""
        headers = {"request-id": f"req_demo{next(self._ids):08}", "date": format_datetime(self._now(), usegmt=True)}
        try:
            _check_headers(request.headers)
            return Response(self._routes.get(request.path, _not_found)(request), headers=headers)
        except _RefusedError as refused:
            error = {"type": refused.kind, "message": str(refused)}
            body = {"type": "error", "error": error, "request_id": headers["request-id"]}
            return Response(body, refused.status, headers)

    def _usage_report(self, request: Request) -> object:
        query = _Query.of(request, _USAGE_DIMENSIONS, self._now(), filters=("speeds[]",))
        speeds = [value for name, value in request.query if name == "speeds[]"]
        if ("speed" in query.group_by or speeds) and not _has_speed_beta(request):
            raise _bad_request("group_by[], speeds[]: speed is not available without the beta header.")
        if set(speeds) - {_SPEED, "fast"}:
            raise _bad_request("speeds[]: Input should be 'standard' or 'fast'")
        if speeds and _SPEED not in speeds:
            return query.page(lambda _start, _end: [])
        return query.page(lambda start, end: self._usage_results(start, end, query.group_by))

    def _usage_results(self, start: datetime, end: datetime, group_by: Sequence[str]) -> list[object]:
        first, last = minute_of(start), self._last_minute(start, end)
        groups: dict[tuple[str | None, ...], Counts] = {}
        for stream, counts in self._organization.usage(start.date(), first, max(first, last)):
            key = tuple(_USAGE_DIMENSIONS[dimension](stream) for dimension in group_by)
            running = groups.get(key, (0,) * len(counts))
            groups[key] = tuple(left + right for left, right in zip(running, counts, strict=True))
        return [_usage_result(dict(zip(group_by, key, strict=True)), sums) for key, sums in groups.items()]

    def _cost_report(self, request: Request) -> object:
        query = _Query.of(request, ("workspace_id", "description"), self._now(), widths=("1d",))
        with_speed = _has_speed_beta(request)
        return query.page(lambda start, end: self._cost_results(start, end, query.group_by, with_speed=with_speed))

    def _cost_results(
        self, start: datetime, end: datetime, group_by: Sequence[str], *, with_speed: bool
    ) -> list[object]:
        groups: dict[tuple[str | None, ...], list[CostLine]] = defaultdict(list)
        for line in self._organization.costs(start.date(), self._last_minute(start, end)):
            by = {"workspace_id": line.workspace, "description": line.description}
            groups[tuple(by[dimension] for dimension in group_by)].append(line)
        return [_cost_result(lines, group_by, with_speed=with_speed) for lines in groups.values()]

    def _last_minute(self, start: datetime, end: datetime) -> int:
        """The minute of the bucket's day at which data ends."""
        known = min(end, self._now())
        if known <= start:
            return minute_of(start)
        return org.MINUTES_PER_DAY if known.date() > start.date() else minute_of(known)


def _not_found(_request: Request) -> object:
    raise _RefusedError(HTTPStatus.NOT_FOUND, "not_found_error", "Not found")


def _has_speed_beta(request: Request) -> bool:
    return _SPEED_BETA in request.headers.get("anthropic-beta", "")


def _check_headers(headers: Mapping[str, str]) -> None:
    if not headers.get("x-api-key", "").startswith("sk-ant-admin"):
        raise _RefusedError(HTTPStatus.UNAUTHORIZED, "authentication_error", "invalid x-api-key")
    if "anthropic-version" not in headers:
        raise _bad_request("anthropic-version: header is required")


@dataclass(frozen=True, slots=True)
class _Query:
    """The validated parameters of a report request."""

    start: datetime
    end: datetime
    step: timedelta
    limit: int
    group_by: Sequence[str]

    @classmethod
    def of(
        cls,
        request: Request,
        dimensions: Iterable[str],
        now: datetime,
        widths: Sequence[str] = tuple(_STEPS),
        filters: Sequence[str] = (),
    ) -> "_Query":
        single = dict(request.query)
        if unknown := single.keys() - _PAGING - {*filters}:
            raise _bad_request(f"{', '.join(sorted(unknown))}: Extra inputs are not permitted")
        width = single.get("bucket_width", "1d")
        if width not in widths:
            raise _bad_request(f"bucket_width: {width} is not available")
        group_by = [value for name, value in request.query if name == "group_by[]"]
        if len(group_by) > _MAX_GROUPINGS:
            raise _bad_request("Cannot specify more than 5 group_by[] dimensions.")
        if set(group_by) - set(dimensions):
            raise _bad_request("group_by[]: Input should be a dimension of this report")
        start = _floor(_moment(single.get("starting_at", ""), "starting_at"), _STEPS[width])
        default_end = now.replace(hour=0, minute=0, second=0, microsecond=0)
        end = _moment(single["ending_at"], "ending_at") if "ending_at" in single else default_end
        if _floor(end, _STEPS[width]) <= start:
            raise _bad_request("Invalid date range: ending date must be after starting date")
        if "page" in single:
            start = _moment(_decode_token(single["page"]), "page")
        return cls(start, end, _STEPS[width], _limit(single, *_LIMITS[width]), group_by)

    def page(self, results: Callable[[datetime, datetime], list[object]]) -> object:
        """One page: a bucket per step, oldest first, including empty ones, up to the limit."""
        starts = [self.start + n * self.step for n in range(min(self.limit, (self.end - self.start) // self.step))]
        following = self.start + len(starts) * self.step
        has_more = following + self.step <= self.end
        return {
            "data": [
                {
                    "starting_at": _rfc3339(start),
                    "ending_at": _rfc3339(start + self.step),
                    "results": results(start, start + self.step),
                }
                for start in starts
            ],
            "has_more": has_more,
            "next_page": _encode_token(_rfc3339(following)) if has_more else None,
        }


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad_request(f"{name}: Input should be a valid datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = datetime.combine(moment.date(), datetime.min.time(), UTC)
    return midnight + (moment - midnight) // step * step


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _encode_token(text: str) -> str:
    return f"page_{base64.urlsafe_b64encode(text.encode()).decode()}"


def _decode_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.removeprefix("page_")).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _bad_request("page: invalid page token") from None


def _limit(single: Mapping[str, str], default: int, maximum: int) -> int:
    limit = single.get("limit", str(default))
    if not (limit.isdigit() and 1 <= int(limit) <= maximum):
        raise _bad_request(f"limit: Input should be from 1 to {maximum}")
    return int(limit)


def _usage_result(group: Mapping[str, str | None], sums: Counts) -> object:
    uncached, read, short, long, output, searches = sums
    absent = dict.fromkeys(_USAGE_DIMENSIONS.keys() - {"speed"})
    return {
        "uncached_input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": searches},
        **absent,
        **group,
    }


def _cost_result(lines: Sequence[CostLine], group_by: Sequence[str], *, with_speed: bool) -> object:
    first = lines[0]
    by_workspace, by_description = ("workspace_id" in group_by), ("description" in group_by)
    parsed = {
        "description": first.description,
        "cost_type": first.cost_type,
        "token_type": first.token_type,
        "model": first.model,
        "service_tier": first.tier,
        "context_window": first.context,
        "inference_geo": first.geo,
        **({"speed": first.token_type and _SPEED} if with_speed else {}),
    }
    return {
        "amount": f"{sum((line.cents for line in lines), Decimal(0)):f}",
        "currency": "USD",
        "workspace_id": first.workspace if by_workspace else None,
        **(parsed if by_description else dict.fromkeys(parsed)),
    }


def _list(request: Request, items: Sequence[Mapping[str, object]]) -> object:
    single = dict(request.query)
    ids = [item["id"] for item in items]
    begin = ids.index(single["after_id"]) + 1 if single.get("after_id") in ids else 0
    shown = items[begin : begin + _limit(single, *_LIST_LIMITS)]
    return {
        "data": shown,
        "has_more": begin + len(shown) < len(items),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


_CREATED = _rfc3339(datetime(2024, 1, 15, 9, tzinfo=UTC))


def _workspaces(request: Request) -> list[dict[str, object]]:
    include_archived = dict(request.query).get("include_archived") == "true"
    return [
        {
            "id": workspace,
            "type": "workspace",
            "name": name,
            "created_at": _CREATED,
            "archived_at": _CREATED if workspace in org.ARCHIVED_WORKSPACES else None,
            "display_color": "#6C5BB9",
        }
        for workspace, name in org.WORKSPACES.items()
        if include_archived or workspace not in org.ARCHIVED_WORKSPACES
    ]


def _api_keys() -> list[dict[str, object]]:
    return [
        {
            "id": key,
            "type": "api_key",
            "name": name,
            "workspace_id": workspace,
            "created_at": _CREATED,
            "created_by": {"id": org.ENGINEER, "type": "user"},
            "expires_at": None,
            "partial_key_hint": "sk-ant-api03-dem...demo",
            "status": "archived" if key in org.ARCHIVED_KEYS else "active",
        }
        for key, (name, workspace) in org.API_KEYS.items()
    ]


def _users() -> list[dict[str, object]]:
    return [
        {
            "id": user,
            "type": "user",
            "name": name,
            "email": f"{user.removeprefix('user_demo').lower()}@demo.example",
            "role": "developer",
            "added_at": _CREATED,
        }
        for user, name in org.USERS.items()
    ]

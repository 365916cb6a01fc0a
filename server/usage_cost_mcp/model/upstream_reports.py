"""The reports of the Admin API as data: endpoint, parameters, limits, measures and lifetimes.

To add a source, add a value here, its row parser in `admin_api.row_parsing` and its path in `admin_api.auth`. The
cache, its codec and the fetch windows take everything that they need from the value. Reports are compared by value: an
equal copy is the same report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from usage_cost_mcp.errors import InvalidQueryError

from .dimensions import API_KEY, CHARGE_CATEGORY, FAST_SPEED, SEARCHES, USAGE_MEASURES, WORKSPACE

Width = Literal["1d", "1h", "1m"]

_BUCKETS_PER_DAY: Mapping[Width, int] = {"1d": 1, "1h": 24, "1m": 24 * 60}

_TTL_BY_AGE = ((0, timedelta(seconds=60)), (3, timedelta(minutes=15)), (35, timedelta(hours=24)))


class RowMeasure(NamedTuple):
    """A number that every row of a report holds: dollars (a Decimal) or a count (an int)."""

    name: str
    kind: Literal["money", "count"]


@dataclass(frozen=True, slots=True)
class UpstreamReport:
    """One upstream report.

    Attributes:
        name: Anthropic's word for it, as in "the cost report"; also its identity in the shared cache.
        path: The endpoint.
        dimensions: The dimensions that its rows can have.
        groupings: The dimensions that it accepts as `group_by[]`.
        max_groupings: The most `group_by[]` that it accepts in one request.
        base_view: The dimensions that are fetched together unless others are needed: any query within them is a
            roll-up of cached rows.
        caveat_dimension: A dimension that is fetched too where it fits, because a caveat depends on it.
        measures: What a row holds, in this order.
        page_limits: The most buckets of a page, by bucket width; only these widths exist.
        grouping_headers: Headers that a request needs when it groups by a dimension.
        headers: Headers of every request.
        parameters: Query parameters of every request.
        without_headers: The report to read while the API does not accept `headers`, with the same dimensions.
        ttl_by_age: How long the rows of a day stay fresh, by the largest age in days at which this holds, ascending.
        ttl: The same for older days.
    """

    name: str
    path: str
    dimensions: tuple[str, ...]
    groupings: tuple[str, ...]
    max_groupings: int
    base_view: tuple[str, ...]
    measures: tuple[RowMeasure, ...]
    page_limits: Mapping[Width, int]
    grouping_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    parameters: tuple[tuple[str, str], ...] = ()
    without_headers: "UpstreamReport | None" = None
    caveat_dimension: str = ""
    ttl_by_age: tuple[tuple[int, timedelta], ...] = _TTL_BY_AGE
    ttl: timedelta = timedelta(days=30)

    def __hash__(self) -> int:
        """The hash of the name: reports are part of every cache key, and equal ones have equal names."""
        return hash(self.name)

    @property
    def measure_names(self) -> tuple[str, ...]:
        return tuple(measure.name for measure in self.measures)

    def measure_places(self, more_inputs: Iterable[str]) -> dict[str, int]:
        """The position of each measure in the sums of a row that also has some further counts of input."""
        return {name: place for place, name in enumerate((*self.measure_names, *more_inputs))}

    def views_for(self, needed: Iterable[str]) -> list[tuple[str, ...]]:
        """The views that hold some dimensions, the best one first: the base view where it suffices, then a narrow one.

        Raises:
            InvalidQueryError: More dimensions are needed than can be fetched together.
        """
        wanted = set(needed)
        if self.base_view == self.dimensions:
            return [self.base_view]
        view = tuple(dimension for dimension in self.dimensions if dimension in wanted)
        if len(view) > self.max_groupings:
            raise InvalidQueryError(
                f"group_by and filter_by have {len(view)} dimensions together ({', '.join(view)}); "
                f"Anthropic's {self.name} report takes at most {self.max_groupings}. "
                "Use fewer dimensions, or make two calls."
            )
        if wanted < set(self.base_view):
            return [self.base_view, view]
        if self.caveat_dimension in {"", *view} or len(view) == self.max_groupings:
            return [view]
        return [tuple(each for each in self.dimensions if each in {*view, self.caveat_dimension}), view]

    def group_by(self, view: Iterable[str]) -> tuple[str, ...]:
        """What to send as `group_by[]` so that rows have the dimensions of a view.

        A dimension that cannot be sent is filled in by upstream when the report is grouped by all that can.
        """
        wanted = tuple(view)
        return wanted if set(wanted) <= set(self.groupings) else self.groupings

    def days_per_page(self, width: Width) -> int:
        """How many whole days fit one page."""
        return self.page_limits[width] // _BUCKETS_PER_DAY[width]

    def lifetime(self, day: date, fetched_at: datetime) -> timedelta:
        """How long a day's rows stay fresh: the younger the day was when it was read, the sooner it may change.

        Source: the API's advice to poll at most once a minute; revisions of closed days are undocumented.
        """
        age = (fetched_at.date() - day).days
        return next((ttl for oldest, ttl in self.ttl_by_age if age <= oldest), self.ttl)


FAST_MODE_BETA = {"anthropic-beta": "fast-mode-2026-02-01"}
"""Without it the cost report does not have the speed, and the usage report cannot be grouped or filtered by it."""

_COST_DIMENSIONS = (
    WORKSPACE,
    "model",
    "cost_type",
    "token_type",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
    "description",
    CHARGE_CATEGORY,
)

COST_REPORT_WITHOUT_SPEED = UpstreamReport(
    name="cost_without_speed",
    path="/v1/organizations/cost_report",
    dimensions=_COST_DIMENSIONS,
    groupings=(WORKSPACE, "description"),
    max_groupings=2,
    base_view=_COST_DIMENSIONS,
    measures=(RowMeasure("cost", "money"),),
    page_limits={"1d": 31},
)
"""The cost report for organizations whose requests may not have the beta header: its speed is null.

Why a report of its own: days with and without the speed must not be taken for each other in a cache.
"""

COST_REPORT = replace(
    COST_REPORT_WITHOUT_SPEED, name="cost", headers=FAST_MODE_BETA, without_headers=COST_REPORT_WITHOUT_SPEED
)
"""The bill by UTC day. Grouped by description, each row also has the model, the tier and so on.

The charge category is derived from the other fields of a row.
"""

_USAGE_DIMENSIONS = (
    WORKSPACE,
    API_KEY,
    "account_id",
    "service_account_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
)

USAGE_REPORT = UpstreamReport(
    name="usage",
    path="/v1/organizations/usage_report/messages",
    dimensions=_USAGE_DIMENSIONS,
    groupings=_USAGE_DIMENSIONS,
    max_groupings=5,  # A sixth is refused; the page that lists nine does not say so.
    base_view=(WORKSPACE, "model", "service_tier", "context_window", "inference_geo"),
    measures=tuple(RowMeasure(name, "count") for name in (*USAGE_MEASURES.values(), SEARCHES)),
    page_limits={"1d": 31, "1h": 168, "1m": 1440},
    caveat_dimension="service_tier",
    grouping_headers={"speed": FAST_MODE_BETA},
)
"""Tokens and web searches."""

FAST_USAGE_REPORT = replace(
    USAGE_REPORT, name="fast_usage", headers=FAST_MODE_BETA, parameters=(("speeds[]", FAST_SPEED),)
)
"""The part of the usage in fast mode. All usage minus this is standard: a sixth dimension, which one request lacks."""

ALL_DIMENSIONS = tuple(dict.fromkeys(USAGE_REPORT.dimensions + COST_REPORT.dimensions))

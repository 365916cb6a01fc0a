"""Exact series: spend, tokens and the cache hit ratio as one value per bucket, measure and group."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SkipValidation

from usage_cost_mcp.model.periods import Granularity

from .answers import Answer, AnswerModel, PeriodModel
from .tables import Bars, CsvRows, Sparklines, Table, Value, group_cells, readable_value

SeriesReport = Literal["spend", "token_usage", "cache_hit_ratio"]

Values = Annotated[dict[str, list[Value]], SkipValidation]
"""A value per bucket for each measure. Not validated: there are hundreds, and they are our own."""

MAX_COLUMNS = 12
"""How many buckets stand side by side; more become rows."""

_MIN_SPARKLINE_BUCKETS = 4


class Series(AnswerModel):
    """One group: a value per bucket and measure. Other has a null group and says how many groups it holds."""

    label: str
    group: dict[str, str | None] | None
    values: Values
    totals: dict[str, Value]
    other_groups: int | None = Field(default=None, exclude_if=lambda count: count is None)


class SeriesAnswer(Answer):
    """Exact series: one value per bucket for every group, with totals that add up."""

    drawable: ClassVar[bool] = True

    report: SeriesReport
    estimated: bool = Field(default=False, exclude_if=lambda estimated: not estimated)
    measures: dict[str, str]
    period: PeriodModel
    granularity: Granularity
    group_by: Sequence[str]
    filter_by: Mapping[str, Sequence[str | None]]
    buckets: Sequence[str]
    series: Sequence[Series]
    bucket_totals: Values
    totals: dict[str, Value]
    partial_buckets: Sequence[str]

    def tables(self) -> Sequence[Table]:
        """One table, or one for each measure when groups meet buckets."""
        if not self.group_by:
            return [self._buckets_table()]
        if len(self.buckets) == 1:
            return [self._groups_table()]
        captions = {name: f"{name}:" if len(self.measures) > 1 else "" for name in self.measures}
        return [self._cross_table(name, caption) for name, caption in captions.items()]

    def terminal_tables(self) -> Sequence[Table]:
        """Few buckets side by side; else the groups with sparklines, and the buckets with bars."""
        if not self.group_by:
            return [self._buckets_table()]
        if len(self.buckets) == 1:
            return [self._groups_table()]
        if len(self.measures) == 1 and len(self.buckets) <= MAX_COLUMNS:
            return [self._cross_table(next(iter(self.measures)))]
        return [self._groups_table(), self._buckets_table()]

    def csv_rows(self) -> CsvRows:
        """A row per group and bucket. An estimate says so in each row."""
        estimated = ["estimated"] if self.estimated else []
        yield ["bucket", "partial", *self.group_by, "label", "other_groups", *self.measures, *estimated]
        for series in self.series:
            for index, bucket in enumerate(self.buckets):
                yield [
                    bucket,
                    bucket in self.partial_buckets,
                    *group_cells(series.group, self.group_by),
                    series.label,
                    series.other_groups,
                    *(series.values[measure][index] for measure in self.measures),
                    *([True] if self.estimated else []),
                ]

    def partial(self) -> Sequence[str]:
        return self.partial_buckets

    def _cross_table(self, measure: str, caption: str = "") -> Table:
        """Every group in every bucket: groups down and buckets across where these are few, else the other way round."""
        unit = self.measures[measure]
        groups = [(series.label, series.values[measure], series.totals[measure]) for series in self.series]
        lines = [*groups, ("Total", self.bucket_totals[measure], self.totals[measure])]
        wide = [
            [" / ".join(self.group_by), *map(_without_year, self.buckets), "Total"],
            *([label, *(readable_value(v, unit) for v in (*values, total))] for label, values, total in lines),
        ]
        if len(self.buckets) <= MAX_COLUMNS:
            return Table(wide, caption, self._sparklines(measure))
        head, *tall = [list(column) for column in zip(*wide, strict=True)]
        return Table([[self.granularity, *head[1:]], *tall], caption)

    def _groups_table(self) -> Table:
        """Each group with its total of every measure shown."""
        rows = [
            [" / ".join(self.group_by), *self.measures],
            *([series.label, *self._total_cells(series.totals)] for series in self.series),
            ["Total", *self._total_cells(self.totals)],
        ]
        return Table(rows, drawing=self._sparklines(next(iter(self.measures))))

    def _buckets_table(self) -> Table:
        """Each bucket with its total of every measure shown; for a single bucket the total alone."""
        first, unit = next(iter(self.measures.items()))
        total = ["Total", *self._total_cells(self.totals)]
        head = [self.granularity, *self.measures]
        if len(self.buckets) == 1:
            return Table([head, total])
        columns = [[readable_value(v, unit) for v in self.bucket_totals[name]] for name, unit in self.measures.items()]
        buckets = [list(row) for row in zip(self.buckets, *columns, strict=True)]
        longest = 1.0 if unit.startswith("ratio") else None
        return Table([head, *buckets, total], drawing=Bars(self.bucket_totals[first], longest))

    def _sparklines(self, measure: str) -> Sparklines | None:
        enough = len(self.buckets) >= _MIN_SPARKLINE_BUCKETS
        return Sparklines([series.values[measure] for series in self.series]) if enough else None

    def _total_cells(self, totals: Mapping[str, Value]) -> list[str]:
        return [readable_value(totals[name], unit) for name, unit in self.measures.items()]


def _without_year(bucket: str) -> str:
    """A table of days is narrower without the year, which is in the headline."""
    return bucket[5:] if re.fullmatch(r"\d{4}-\d{2}-\d{2}", bucket) else bucket

"""Every kind of answer, by the `report` that it names."""

from collections.abc import Mapping
from typing import Any, get_args

from .answers import Answer
from .dimension_values import ValuesAnswer
from .effective_prices import PricesAnswer
from .series_answer import SeriesAnswer
from .spend_anomalies import AnomaliesAnswer
from .spend_comparison import ComparisonAnswer
from .spend_forecast import ForecastAnswer
from .status import StatusAnswer

ANSWERS: tuple[type[Answer], ...] = (
    SeriesAnswer,
    ComparisonAnswer,
    ForecastAnswer,
    AnomaliesAnswer,
    PricesAnswer,
    ValuesAnswer,
    StatusAnswer,
)

BY_REPORT: Mapping[str, type[Answer]] = {
    report: answer for answer in ANSWERS for report in get_args(answer.model_fields["report"].annotation)
}


def parse_answer(structured: Mapping[str, Any]) -> Answer:
    """The answer that a tool result's `structuredContent` holds."""
    return BY_REPORT[structured["report"]].model_validate(structured)

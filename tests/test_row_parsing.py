"""Rows of the reports as the API sends them, and what is refused."""

import re
from typing import Any

import pytest

from usage_cost_mcp.admin_api.row_parsing import row_parser
from usage_cost_mcp.errors import ContractError
from usage_cost_mcp.model.upstream_reports import COST_REPORT

DIMENSIONS = ("workspace_id", "model", "inference_geo")
ROW = {"amount": "150", "currency": "USD", "workspace_id": None, "model": "claude-opus-4-6", "inference_geo": "us"}


def parse(*rows: dict[str, Any]) -> Any:
    return row_parser(COST_REPORT, DIMENSIONS)(rows).rows


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != field}


def test_cents_become_dollars_under_the_values_of_the_dimensions() -> None:
    ((key, (dollars,)),) = parse(ROW)
    assert (key, str(dollars)) == ((None, "claude-opus-4-6", "us"), "1.50")


def test_older_rows_without_a_geo_have_none() -> None:
    ((key, _),) = parse(without("inference_geo"))
    assert key == (None, "claude-opus-4-6", None)


@pytest.mark.parametrize("field", ["workspace_id", "model", "amount", "currency"])
def test_a_missing_field_is_refused_by_name_and_report(field: str) -> None:
    with pytest.raises(ContractError, match=re.escape(f"{field} of a row")) as refusal:
        parse(ROW, without(field))
    assert COST_REPORT.path in str(refusal.value)


@pytest.mark.parametrize("field", ["model", "amount", "currency"])
def test_a_number_where_text_belongs_is_refused(field: str) -> None:
    with pytest.raises(ContractError, match=re.escape(f"{field} of a row")) as refusal:
        parse({**ROW, field: 7})
    assert COST_REPORT.path in str(refusal.value)


def test_another_currency_is_refused_because_amounts_cannot_be_added() -> None:
    with pytest.raises(ContractError) as refusal:
        parse(ROW, {**ROW, "currency": "EUR"})
    assert str(refusal.value) == (
        "The cost report contains an amount in a currency other than USD. No total is reported, because amounts in "
        "different currencies cannot be added."
    )

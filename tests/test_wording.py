"""Every sentence that states a change, a cause, a forecast or an oddity, against the numbers that it is made of."""

from datetime import date
from fractions import Fraction

import pytest

from usage_cost_mcp.analysis.billing_lag import BillGap
from usage_cost_mcp.reports import wording

DAY = date(2026, 11, 20)

COVERS = "of what its usage cost at earlier prices; from that day on it may not be complete."
NO_COST = "No cost is reported yet for the tokens of 2026-11-20; from that day on the bill may not be complete."
UNKNOWN = (
    "The bill from 2026-11-20 on may not be complete: that day has less cost than every earlier one, and the usage to "
    "check it by is unavailable."
)


@pytest.mark.parametrize(
    ("coverage", "sentence"),
    [
        (None, UNKNOWN),
        (Fraction(0), NO_COST),
        (Fraction(1, 1000), f"The bill for 2026-11-20 covers 1% {COVERS}"),
        (Fraction(529, 1000), f"The bill for 2026-11-20 covers 52% {COVERS}"),
        (Fraction(9949, 10000), f"The bill for 2026-11-20 covers 99% {COVERS}"),
    ],
)
def test_an_incomplete_bill_is_told_by_the_share_that_has_arrived(coverage: Fraction | None, sentence: str) -> None:
    assert wording.bill_gap(BillGap(DAY, coverage)) == sentence

"""A gate for CI: is this month's spend going to stay within the budget?

Exit status: 0 within the budget, 1 over it, 2 when that cannot be told.

python examples/budget_gate.py 8000                            your organization (ANTHROPIC_ADMIN_API_KEY)
python examples/budget_gate.py 25000 until=quarter_end --demo  any argument of forecast_spend; the demo organization
"""

import json
import subprocess
import sys
from decimal import Decimal

WITHIN, OVER, UNKNOWN = range(3)


def dollars(amount: str) -> str:
    """An amount as a person says it: -$1,234.50."""
    value = Decimal(amount)
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def main() -> int:
    """Ask for the forecast, say in one sentence how the budget stands."""
    if not sys.argv[1:]:
        print("Say the budget in dollars, such as 8000.", file=sys.stderr)
        return UNKNOWN
    budget, *words = sys.argv[1:]
    command = [sys.executable, "-m", "usage_cost_mcp", "call", "forecast_spend", f"budget={budget}", *words, "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        print(f"Whether the budget holds cannot be told: {done.stderr.strip()}", file=sys.stderr)
        return UNKNOWN
    forecast = json.loads(done.stdout)
    stands = forecast["budget"]
    interval = f" (80% interval {dollars(forecast['low'])} to {dollars(forecast['high'])})" if forecast["low"] else ""
    runs_out = f", used up on {stands['runs_out_on']}" if stands["runs_out_on"] else ""
    print(
        f"{'OVER' if stands['over_budget'] else 'Within'} the budget of {dollars(stands['amount'])}{runs_out}: "
        f"{dollars(forecast['expected'])} expected until {forecast['period']['end']}{interval}, "
        f"{dollars(forecast['spent'])} spent so far."
    )
    return OVER if stands["over_budget"] else WITHIN


if __name__ == "__main__":
    sys.exit(main())

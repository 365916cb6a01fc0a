"""Budget gate for CI: is this month's spend forecast to stay within the budget?

Exit status: 0 within the budget, 1 over it, 2 if there is no forecast.

python examples/budget_gate.py 8000                            your organization (ANTHROPIC_ADMIN_API_KEY)
python examples/budget_gate.py 25000 until=quarter_end --demo  any argument of forecast_spend; the demo organization
"""

import json
import subprocess
import sys
from decimal import Decimal

WITHIN, OVER, UNKNOWN = range(3)


def dollars(amount: str) -> str:
    """A readable amount, such as -$1,234.50."""
    value = Decimal(amount)
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def main() -> int:
    """Print the forecast against the budget in one sentence; return the exit status."""
    if not sys.argv[1:]:
        print("Give the budget in dollars, such as 8000.", file=sys.stderr)
        return UNKNOWN
    budget, *options = sys.argv[1:]
    command = [sys.executable, "-m", "usage_cost_mcp", "call", "forecast_spend", f"budget={budget}", *options, "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        print(f"No forecast: {done.stderr.strip()}", file=sys.stderr)
        return UNKNOWN
    print(done.stderr, end="", file=sys.stderr)  # warnings, such as data that is stale
    forecast = json.loads(done.stdout)
    status = forecast["budget"]
    interval = f" (80% interval {dollars(forecast['low'])} to {dollars(forecast['high'])})" if forecast["low"] else ""
    exhausted = f", exhausted on {status['exhausted_on']}" if status["exhausted_on"] else ""
    print(
        f"{'OVER' if status['over_budget'] else 'Within'} the budget of {dollars(status['amount'])}{exhausted}: "
        f"{dollars(forecast['expected'])} expected by {forecast['period']['end']}{interval}, "
        f"{dollars(forecast['spent'])} spent so far."
    )
    return OVER if status["over_budget"] else WITHIN


if __name__ == "__main__":
    sys.exit(main())

"""Chargeback: last month's spend per workspace and API key as CSV, adding up to the bill exactly.

python examples/chargeback.py > chargeback.csv                 your organization (ANTHROPIC_ADMIN_API_KEY)
python examples/chargeback.py period=2026-10 --demo            any period; the demo organization
"""

import csv
import json
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from typing import Any


def spend(*arguments: str) -> dict[str, Any]:
    """The complete answer of get_spend. An error ends the script with its message."""
    command = [sys.executable, "-m", "usage_cost_mcp", "call", "get_spend", *arguments, "granularity=total", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def text_cell(name: str) -> str:
    """A name that no spreadsheet runs as a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def main() -> None:
    """Get the bill and its allocation, check that they agree, print."""
    arguments = sys.argv[1:]
    if not any(argument.startswith("period=") for argument in arguments):
        arguments.append("period=last_month")
    bill = spend("group_by=workspace_id", *arguments)
    allocation = spend("group_by=workspace_id,api_key_id", *arguments)

    total = Decimal(bill["totals"]["cost"])
    allocated: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for each in allocation["series"]:
        allocated[each["group"]["workspace_id"]] += Decimal(each["totals"]["cost"])
    billed = {each["group"]["workspace_id"]: Decimal(each["totals"]["cost"]) for each in bill["series"]}
    if allocated != billed or sum(allocated.values()) != total:
        sys.exit(
            f"The keys add up to {sum(allocated.values())}, the bill is {total}: it changed in between, run again."
        )

    names = {each["group"]["workspace_id"]: each["label"] for each in bill["series"]}
    lines: list[list[str]] = []
    for each in allocation["series"]:
        workspace, cost = names[each["group"]["workspace_id"]], each["totals"]["cost"]
        key = each["label"].removeprefix(f"{workspace} / ")
        share = f"{Decimal(cost) / total:.4f}" if total else ""
        # The cost report has no keys: the workspace's cost is allocated to them by tokens.
        lines.append([text_cell(workspace), text_cell(key), cost, share, "yes"])
    lines.sort(key=lambda line: line[0].casefold())  # a stable sort: within a workspace the largest key stays first

    sheet = csv.writer(sys.stdout, lineterminator="\n")
    sheet.writerow(["workspace", "key", "cost", "share", "estimated"])
    sheet.writerows(lines)
    sheet.writerow(["total", "", bill["totals"]["cost"], "1" if total else "", "no"])


if __name__ == "__main__":
    main()

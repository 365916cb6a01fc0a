"""Who pays what: a CSV of last month's bill per workspace and API key, which adds up to the bill exactly.

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


def spend(*words: str) -> dict[str, Any]:
    """The whole answer of get_spend; a refused question ends the script with its reason."""
    command = [sys.executable, "-m", "usage_cost_mcp", "call", "get_spend", *words, "granularity=total", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def text(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def main() -> None:
    """Ask for the bill and for its parts, check one against the other, print."""
    words = sys.argv[1:]
    if not any(word.startswith("period=") for word in words):
        words.append("period=last_month")
    bill = spend("group_by=workspace_id", *words)
    parts = spend("group_by=workspace_id,api_key_id", *words)

    total = Decimal(bill["totals"]["cost"])
    shared: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for each in parts["series"]:
        shared[each["group"]["workspace_id"]] += Decimal(each["totals"]["cost"])
    billed = {each["group"]["workspace_id"]: Decimal(each["totals"]["cost"]) for each in bill["series"]}
    if shared != billed or sum(shared.values()) != total:
        sys.exit(f"The keys add up to {sum(shared.values())}, the bill is {total}: it changed in between, ask again.")

    names = {each["group"]["workspace_id"]: each["label"] for each in bill["series"]}
    lines: list[list[str]] = []
    for each in parts["series"]:
        workspace, cost = names[each["group"]["workspace_id"]], each["totals"]["cost"]
        key = each["label"].removeprefix(f"{workspace} / ")
        share = f"{Decimal(cost) / total:.4f}" if total else ""
        # The report has no keys: what each one costs is the bill of its workspace, shared by tokens.
        lines.append([text(workspace), text(key), cost, share, "yes"])
    lines.sort(key=lambda line: line[0].casefold())  # within a workspace the largest key stays first

    sheet = csv.writer(sys.stdout, lineterminator="\n")
    sheet.writerow(["workspace", "key", "cost", "share", "estimated"])
    sheet.writerows(lines)
    sheet.writerow(["total", "", bill["totals"]["cost"], "1" if total else "", "no"])


if __name__ == "__main__":
    main()

"""`python -m usage_cost_mcp`: the same as the `usage-cost-mcp` command."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""The entry point of the bundle: the same as the command `usage-cost-mcp`."""

import sys

from usage_cost_mcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

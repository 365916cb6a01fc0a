"""Where a host enters the bundle: the same as the `usage-cost-mcp` command."""

import sys

from usage_cost_mcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

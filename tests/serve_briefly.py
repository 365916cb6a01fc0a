"""The real server over stdio, with the short bounds and the hand-moved clock of the fault table."""

import sys

from conftest import FrozenClock
from test_faults import SOMEWHAT_PATIENT

from usage_cost_mcp.app import build_server
from usage_cost_mcp.settings import Settings

if __name__ == "__main__":
    build_server(Settings.for_demo({}, sys.argv[1]), FrozenClock(), SOMEWHAT_PATIENT).run("stdio")

"""Charts as PNG, drawn in a process of their own by the optional renderer."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from .vega_lite import Spec

_RENDERER = Path(__file__).with_name("vega_to_png.py")
_MAX_SECONDS = 15.0
_PRIVATE_PREFIXES = ("ANTHROPIC_", "USAGE_COST_")
"""Environment variables that the renderer does not get: the key is among them."""


async def render_png(specification: Spec, seconds: float) -> bytes | None:
    """The PNG; None when the `charts` extra is not installed, or when drawing takes longer than `seconds`."""
    return await asyncio.to_thread(_run_renderer, json.dumps(specification).encode(), min(seconds, _MAX_SECONDS))


def _run_renderer(specification: bytes, seconds: float) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE_PREFIXES)}
    command = [sys.executable, "-P", str(_RENDERER)]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, input=specification, capture_output=True, check=True, timeout=seconds, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

"""Answers as pictures, for clients that cannot draw them."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path

from mcp.types import ImageContent

from usage_cost_mcp.reports.answers import Note

from .charts import Drawable, specification

UNAVAILABLE = Note(
    code="chart_unavailable",
    message="No picture could be drawn. It needs the extra: pip install 'usage-cost-mcp[charts]'.",
)

_RENDER = Path(__file__).with_name("vega_to_png.py")
_MAX_SECONDS = 15.0
_OURS = ("ANTHROPIC_", "USAGE_COST_")
"""Settings that are not for other programs: the key is among them."""


async def render_png(answer: Drawable, seconds: float) -> ImageContent | None:
    """The answer as a PNG; None when the extra is not installed, or takes longer than that."""
    png = await asyncio.to_thread(_drawn, answer, min(seconds, _MAX_SECONDS))
    return ImageContent(data=base64.b64encode(png).decode(), mime_type="image/png") if png else None


def _drawn(answer: Drawable, seconds: float) -> bytes | None:
    drawing = json.dumps(specification(answer)).encode()
    others = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    command = [sys.executable, "-P", str(_RENDER)]
    try:
        done = subprocess.run(command, input=drawing, capture_output=True, check=True, timeout=seconds, env=others)  # noqa: S603 - our own
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

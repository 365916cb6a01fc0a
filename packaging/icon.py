"""Draw the icon of the bundle: stacked bars of daily spend.

.venv/bin/python packaging/icon.py
"""

import struct
import zlib
from pathlib import Path

ICON = Path(__file__).parent / "mcpb" / "icon.png"

SIZE = 512
RADIUS = 96
BACKGROUND = (28, 36, 52)
SERIES = [(116, 192, 252), (255, 169, 77), (105, 219, 124)]  # from the bottom up
BARS = [(90, 40, 30), (110, 60, 20), (80, 30, 60), (140, 70, 40), (160, 80, 60)]
LEFT, BOTTOM, WIDTH, STEP = 84, 420, 52, 73


def _opacity(x: int, y: int) -> int:
    """The alpha of a pixel, 0 to 255: the corners are round."""
    dx, dy = (max(RADIUS - at - 0.5, at + 0.5 - (SIZE - RADIUS), 0) for at in (x, y))
    return round(255 * min(max(RADIUS - (dx * dx + dy * dy) ** 0.5 + 0.5, 0), 1))


def _colour(x: int, y: int) -> tuple[int, int, int]:
    """The colour of a pixel: a segment of a bar, or the background."""
    bar, across = divmod(x - LEFT, STEP)
    height = BOTTOM - y
    if bar not in range(len(BARS)) or across >= WIDTH or height <= 0:
        return BACKGROUND
    for colour, segment in zip(SERIES, BARS[bar], strict=True):
        if height <= segment:
            return colour
        height -= segment
    return BACKGROUND


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def icon_png() -> bytes:
    rows = (b"".join(bytes((*_colour(x, y), _opacity(x, y))) for x in range(SIZE)) for y in range(SIZE))
    pixels = b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


if __name__ == "__main__":
    ICON.write_bytes(icon_png())

"""The key that every test uses, and the search for it in whatever a test prints."""

import base64
import html
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import pytest

_BODY = "q7Zt4mXw9KcV2nRb8LsYh3JdF6pGuE5aNw1T"
KEY = f"sk-ant-admin01-{_BODY}-not-a-real-key"
"""An Admin key that never existed."""

_SHORTEST = 12
"""How many characters of the key in a row are a leak."""

_ALNUM = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LOWER = bytes(range(256)).lower()
_REST = bytes(byte for byte in range(256) if byte not in _ALNUM)


def _bare(text: bytes) -> bytes:
    """Letters and digits alone, in small letters: whatever stands between the characters of the key, it is gone."""
    return text.translate(_LOWER, _REST)


def _pieces(text: bytes, length: int) -> frozenset[bytes]:
    bare = _bare(text)
    return frozenset(bare[start : start + length] for start in range(len(bare) - length + 1))


def _base64(shift: int) -> bytes:
    """What base64 makes of the key behind `shift` other bytes, without the ends that depend on the neighbours."""
    encoded = base64.b64encode(bytes(shift) + _BODY.encode())
    return encoded[-(-shift * 8 // 6) : (shift + len(_BODY)) * 8 // 6]


_FORMS = {
    "plain": _pieces(_BODY.encode(), _SHORTEST),
    "reversed": _pieces(_BODY[::-1].encode(), _SHORTEST),
    "hex": _pieces(_BODY.encode().hex().encode(), 2 * _SHORTEST),
    "base64": frozenset[bytes]().union(*(_pieces(_base64(shift), _SHORTEST * 8 // 6) for shift in range(3))),
}

_ESCAPE = re.compile(rb"\\+(?:x|u00)([0-9a-f]{2})", re.IGNORECASE)
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|x[\x01\x5e\x9c\xda]")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_MOST_INFLATED = 2**22
_PIECE = 16
_MOST_LAYERS = 3


def _inflated(said: bytes) -> bytes:
    """All that is compressed in it, as far as it can be read."""
    found = bytearray()
    for start in _COMPRESSED.finditer(said):
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        with suppress(zlib.error):  # what came before the garbled piece is kept
            for at in range(start.start(), len(said), _PIECE):
                found += inflater.decompress(said[at : at + _PIECE], _MOST_INFLATED)
    return bytes(found)


_DECODERS: tuple[Callable[[bytes], bytes], ...] = (
    unquote_to_bytes,
    lambda said: html.unescape(said.decode("latin-1")).encode("latin-1", "replace"),
    lambda said: _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), said),
    _inflated,
)


def _layers(said: bytes) -> Iterator[bytes]:
    """What was said, and what is left when escapes and compression are taken off, in any order, a few times."""
    layers = {said}
    for _ in range(_MOST_LAYERS):
        yield from layers
        layers = {decode(layer) for layer in layers for decode in _DECODERS} - layers - {b""}


def leaks_in(said: str | bytes) -> set[str]:
    """The forms in which the key, or a part of it, is in there; none when all is well."""
    raw = said.encode("utf-8", "surrogatepass") if isinstance(said, str) else said
    bare = {_bare(layer) for layer in _layers(raw)}
    return {form for form, pieces in _FORMS.items() if any(piece in each for each in bare for piece in pieces)}


def keeps_silent(*said: str | bytes) -> bool:
    """Whether the key is in none of it."""
    return not any(leaks_in(each) for each in said)


def judged(report: pytest.TestReport) -> pytest.TestReport:
    """A test's report; failed when the key is in the test's stdout, stderr or log records."""
    leaking = [title for title, printed in report.sections if leaks_in(printed)]
    if leaking:
        report.outcome = "failed"
        report.longrepr = f"The key is in: {', '.join(leaking)}"
    return report

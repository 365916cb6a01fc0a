"""A name from upstream cannot control a terminal; an id is unchanged."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from usage_cost_mcp.admin_api.sanitise import MAX_CHARACTERS, sanitised

ANYTHING = st.text(st.characters())
"""Including lone surrogates, which JSON can encode."""


@given(ANYTHING)
@example(" \u200b a")
@example("a" * 199 + " b")
@example("a" * 199 + "\u200b\u3000b")
@example("\ud83d\u202e\ude00")
def test_safe_text_is_unchanged(text: str) -> None:
    assert sanitised(sanitised(text)) == sanitised(text)


@given(ANYTHING)
def test_the_result_is_safe_and_short(text: str) -> None:
    safe = sanitised(text)
    assert not {unicodedata.category(character) for character in safe} & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    assert len(safe) <= 200
    assert safe.encode().decode() == safe


@given(ANYTHING.map(lambda text: "a" + text + "z"))
def test_the_result_is_a_subsequence_of_the_text(text: str) -> None:
    following = iter(text)
    assert all(character in following for character in sanitised(text))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2066b\u2069\u200f", "ab"),
        ("Pro\u200bduc\u200dtion\ufeff", "Production"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x9b31mred", "31mred"),
        ("one\r\ntwo\tthree\x00", "onetwothree"),
        ("one\u2028two\u2029three\x85", "onetwothree"),
        ("\ue000\U000f0000private", "private"),
        ("\U000e0041\U000e0042tags", "tags"),
        ("half\ud83d of a pair\ude00", "half of a pair"),
        (" \u200b padded \u200b ", "padded"),
        ("\u00a0padded\u3000", "padded"),
        ("", ""),
        ("\u200b\x00 ", ""),
    ],
)
def test_invisible_characters_are_removed(given: str, shown: str) -> None:
    assert sanitised(given) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ", "apikey_01Rj2N8SVvo6BePZj99NhmiT", "user_01WCz1FkmYMm4gnmykNKUu3Q"),
        *("claude-opus-4-6", "claude-sonnet-4-5-20250929", "0-200k", "cache_creation.ephemeral_5m_input_tokens"),
        *("Two  words", "R&D / <b>", "\u00dcn\u00ef\u20ac", "\u65e5\u672c\u8a9e", "\u05e2\u05d1\u05e8\u05d9\u05ea"),
        *("e\u0301", "\U0001f642", "x" * MAX_CHARACTERS),
    ],
)
def test_ids_and_visible_characters_are_kept(text: str) -> None:
    assert sanitised(text) == text


@given(st.from_regex(r"[A-Za-z0-9_.:/-]{1,200}", fullmatch=True))
def test_every_character_of_an_id_is_kept(text: str) -> None:
    assert sanitised(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("x" * 100_000, "x" * 200),
        ("\u202e" * 100_000 + "end", "end"),
        (" " * 100_000 + "end", "end"),
        ("x" * 199 + " " * 100_000 + "end", "x" * 199),
        ("\U0001f642" * 25_000, "\U0001f642" * 200),
        ("\ud800" * 100_000, ""),
    ],
)
def test_a_name_of_100_kilobytes_becomes_a_short_one(given: str, shown: str) -> None:
    assert sanitised(given) == shown

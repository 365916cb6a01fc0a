"""The machine-independent benchmark figures stay within their bounds; answer sizes are reviewed in a snapshot."""

from collections.abc import Callable, Iterable

import pytest
from inline_snapshot import external_file

from benchmarks import answers, callers, cold, conversation, startup
from benchmarks.figures import Figure

COUNTS = [startup.counts, cold.counts, conversation.counts, callers.counts, answers.counts]


@pytest.mark.parametrize("counts", COUNTS, ids=lambda counts: counts.__module__.rpartition(".")[2])
def test_no_figure_exceeds_its_bound(counts: Callable[[], Iterable[Figure]]) -> None:
    figures = list(counts())
    assert figures
    assert [figure for figure in figures if figure.over] == []


def test_answer_sizes_match_the_reviewed_snapshot() -> None:
    characters = {figure.what: f"{figure.value:g} {figure.unit}" for figure in answers.counts()}
    assert characters == external_file("snapshots/characters.json")

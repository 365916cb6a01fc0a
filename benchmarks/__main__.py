"""`python -m benchmarks`: run the benchmarks, print a table, write a JSON file.

Exit status: 1 if a machine-independent figure exceeds its bound. Times never fail a run.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import anomalies, answers, callers, cold, conversation, forecasts, large, peers, startup, warm
from .figures import Figure, Measure, as_table, nothing, save


class Part(NamedTuple):
    """A part that can be run by name.

    Attributes:
        counts: Machine-independent figures; quick.
        times: Figures that are only meaningful as ratios to a baseline.
    """

    counts: Measure = nothing
    times: Measure = nothing


PARTS = {
    "startup": Part(startup.counts, startup.times),
    "warm": Part(times=warm.times),
    "cold": Part(cold.counts, cold.times),
    "conversation": Part(conversation.counts),
    "callers": Part(callers.counts, callers.times),
    "large": Part(times=large.times),
    "answers": Part(answers.counts),
    "forecasts": Part(forecasts.counts),
    "anomalies": Part(anomalies.counts),
    "peers": Part(times=peers.times),
}
USUAL = [name for name in PARTS if name not in {"forecasts", "anomalies", "peers"}]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the selected parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="NAME", help=f"only these of: {', '.join(PARTS)}")
    parser.add_argument("--counts", action="store_true", help="only what is the same on every machine")
    parser.add_argument("--peers", action="store_true", help="also the public peers, which are installed for it")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    names = [*(arguments.parts or USUAL), *(["peers"] if arguments.peers else [])]
    found = {name: list(_figures(name, counts_only=arguments.counts)) for name in dict.fromkeys(names)}
    save(found)
    print(as_table(found))
    return int(any(figure.counted and figure.over for figures in found.values() for figure in figures))


def _figures(name: str, *, counts_only: bool) -> Iterable[Figure]:
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    yield from PARTS[name].counts()
    if not counts_only:
        yield from PARTS[name].times()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks`: measure, print the table, write the file.

Exit status: 1 when a number that is the same on every machine is over its bound. Times never fail a run.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import answers, callers, cold, conversation, large, peers, startup, warm
from .figures import Figure, Measure, as_table, nothing, save


class Part(NamedTuple):
    """What can be asked for by name.

    Attributes:
        counts: What is the same on every machine, and quick.
        times: What only means something side by side.
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
    "peers": Part(times=peers.times),
}
USUAL = [name for name in PARTS if name != "peers"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
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

"""How few requests, how little waiting, how small the answers: measured, side by side with the floor, in one run.

`python -m benchmarks` measures everything, `--counts` only what is the same on every machine, a name only that part.
"""

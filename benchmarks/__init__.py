"""Benchmarks: requests, latency, memory and answer sizes, each compared with a baseline in the same run.

`python -m benchmarks` runs all parts, `--counts` only the machine-independent figures, a name only that part.
"""

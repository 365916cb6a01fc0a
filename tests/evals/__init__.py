"""Sixty questions with known answers: does a model choose the right tool and arguments, and report the facts?

`python -m tests.evals --model NAME --base-url URL` evaluates a model; `test_evals.py` checks answers and runner.
"""

"""Does a model choose the right tool and arguments, and say what is true? Sixty questions with known answers.

`python -m tests.evals --model NAME --base-url URL` asks a model; `test_evals.py` checks the answers and the runner.
"""

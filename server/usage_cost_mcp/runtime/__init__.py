"""What every part runs on: time, concurrency, limits, and the context of a call. Nothing here knows reports."""

"""What every part runs on: time, concurrency, limits, and the context of one call. Nothing here knows a report."""

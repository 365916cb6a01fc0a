"""The command line: serve, call, demo, doctor, token."""

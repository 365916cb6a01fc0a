"""The front over HTTP: who may come in, and what is written down of it."""

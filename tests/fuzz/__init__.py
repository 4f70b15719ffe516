"""Hostile and wrong inputs from a seed: `python -m tests.fuzz --help`."""

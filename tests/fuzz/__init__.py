"""Inputs nobody meant: the parsers that read what strangers send, fuzzed, and what was found replayed."""

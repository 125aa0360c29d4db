"""Readers of labelled sets, one module per layout."""

"""Readers of labelled sets, one for each layout."""

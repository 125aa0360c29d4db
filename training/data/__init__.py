"""Readers of public data layouts; each yields `Sample`s."""

"""Bundles while the service runs: load, try, promote, roll back."""

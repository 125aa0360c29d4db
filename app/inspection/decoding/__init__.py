"""Bytes to pixels, or a named error."""

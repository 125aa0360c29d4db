"""Decode image bytes to pixels, or raise a named error."""

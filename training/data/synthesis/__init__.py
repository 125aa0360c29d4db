"""Procedural pictures of textured surfaces, good and defective, with exact masks."""

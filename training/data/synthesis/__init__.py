"""Procedural images of textured surfaces, good and defective, with exact masks."""

"""Artifacts beside fp32: the same network in half precision and 8-bit integers, each measured by itself."""

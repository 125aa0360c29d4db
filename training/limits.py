"""Limits of the image size, from the service's environment variables, so that both accept the same images."""

import os

from app.inspection.decoding.decode import DecodeLimits
from training.config import ConfigError

MAX_PIXELS = "PASSLINE_MAX_PIXELS"
MAX_BYTES = "PASSLINE_MAX_UPLOAD_BYTES"


def limits(min_side_px: int = 1) -> DecodeLimits:
    """The limits of an image; raises ConfigError for a variable that is not a whole number above 0."""
    usual = DecodeLimits()
    return DecodeLimits(
        max_bytes=_number(MAX_BYTES, usual.max_bytes),
        max_pixels=_number(MAX_PIXELS, usual.max_pixels),
        min_side_px=min_side_px,
    )


def _number(name: str, usual: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return usual
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name} is {text!r}; give a whole number above 0")
    return int(text)

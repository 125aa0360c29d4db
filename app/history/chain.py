"""The chain of hashes: each row holds the hash of the row before it of the same box."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Columns that the hash covers, in order; what may change later (files, queue, reviews) is not among them.
HASHED = (
    *("id", "time_us", "request_id", "key_name", "camera_id", "part_id", "filename", "recipe"),
    *(
        "recipe_version",
        "bundle",
        "bundle_version",
        "manifest_sha256",
        "class_names",
        "artifact",
        "execution_provider",
    ),
    *("verdict", "defects", "image_probability", "image_threshold", "dice_estimated", "width", "height"),
    *("pixel_format", "stride", "significant_bits", "image_sha256", "mask_sha256", "total_ms", "answer"),
    *("sample_weight", "box", "position"),
)
FIRST = "0" * 64  # stands for the hash before the first row


def chained(before: str, columns: Mapping[Any, Any]) -> str:
    """The SHA-256 of a row after the row with the hash `before`."""
    text = json.dumps([before, *(columns[name] for name in HASHED)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

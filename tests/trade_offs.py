"""The tiny bundle with a trade-off table, as the operating point of a published bundle has one."""

import json
from pathlib import Path
from typing import Any

from tests.tiny_bundle import write_tiny_bundle

THRESHOLDS = (0.3, 0.5, 0.8)


def trade_off() -> dict[str, Any]:
    """A table of 100 defective and 100 good images, two of a part; the middle row is the bundle's own."""
    rows = []
    for threshold, escapes, overkills in zip(THRESHOLDS, (0, 1, 6), (12, 3, 0), strict=True):
        by_picture = {"escapes": escapes, "escape_bound": 0.03 + escapes / 50}
        by_picture |= {"overkills": overkills, "overkill_bound": 0.03 + overkills / 50}
        by_group = {name: 2 * value if "bound" in name else value for name, value in by_picture.items()}
        rows.append({"image_threshold": threshold, "picture": by_picture, "group": by_group})
    trials = {"defective": 100, "good": 100}
    return {
        "confidence": 0.95,
        "picture": trials,
        "group": {name: number // 2 for name, number in trials.items()},
        "rows": rows,
    }


def write_bundle_with_trade_off(directory: Path, table: dict[str, Any] | None = None) -> Path:
    """Write the tiny bundle with `trade_off()` or another table; return its directory.

    The pixel threshold is so low that a region's probability can be below any of the table's thresholds, and
    the head threshold so high that only regions decide.
    """
    path = write_tiny_bundle(directory) / "bundle.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    changes = {"trade_off": table or trade_off(), "pixel_threshold": 0.3, "head_threshold": 0.95}
    manifest["artifacts"][0]["operating_point"] |= changes
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return directory

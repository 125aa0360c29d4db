"""Example answers for the OpenAPI document; a test validates them against the schemas."""

from typing import Any

INSPECTION: dict[str, Any] = {
    "id": "0f6a2c1e5b7d4e0f9a3b8c7d6e5f4a3b",
    "verdict": "fail",
    "reasons": [
        {
            "rule": "max_count",
            "defect_class": "crack",
            "measured": 1.0,
            "limit": 0.0,
            "unit": "count",
            "zone": None,
            "defect": None,
            "verdict": "fail",
        }
    ],
    "defects": [
        {
            "defect_class": "crack",
            "score": 0.984,
            "area_px": 412,
            "area_mm2": 1.03,
            "length_px": 96.2,
            "length_mm": 4.81,
            "width_px": 7.4,
            "width_mm": 0.37,
            "mean_width_px": 4.283,
            "mean_width_mm": 0.21415,
            "equivalent_diameter_px": 22.904,
            "equivalent_diameter_mm": 1.1452,
            "orientation_deg": 128.4,
            "bbox": [120, 44, 61, 78],
            "centroid": [151.3, 82.9],
            "touches_border": False,
            "nearest_px": None,
            "nearest_mm": None,
            "probability": 0.997,
            "runner_up": "scratch",
        }
    ],
    "mask": {
        "format": "polygons",
        "data": [{"defect_class": "crack", "exterior": [[120, 44], [124, 44], [180, 121]], "holes": []}],
    },
    "dice": {"measured": None, "estimated": {"any_defect": 0.87, "reason": None, "low": 0.66, "high": 1.0}},
    "image": {
        "width": 384,
        "height": 384,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "pixel_format": None,
    },
    "model": {
        "name": "magnetic-tile",
        "version": "1",
        "artifact": "fp32",
        "execution_provider": "CPUExecutionProvider",
    },
    "timings_ms": {
        "queue": 0.1,
        "decode": 2.3,
        "preprocess": 0.6,
        "inference": 41.0,
        "gate": 0.4,
        "mask": 1.2,
        "measure": 0.4,
        "verdict": 0.1,
        "encode": 0.5,
        "total": 46.2,
    },
    "image_probability": 0.997,
    "image_threshold": 0.42,
    "head_probability": 0.991,
    "unexplained_probability": None,
    "head_threshold": 0.97,
    "recipe": "default",
    "recipe_version": 1,
    "part_id": "tile-000117",
    "camera_id": "line-2-top",
    "overlay": None,
    "gate_scores": {
        "sharpness": 0.93,
        "brightness": 112.0,
        "clipped_share": 0.0002,
        "short_side_px": 384.0,
        "long_side_px": 384.0,
        "feature_distance": 0.88,
    },
    "part": None,
    "heatmap": None,
    "certificate": None,
}

BATCH: dict[str, Any] = {
    "counts": {"images": 2, "passed": 0, "failed": 1, "review": 0, "problems": 1},
    "results": [
        {"filename": "tile-000117.png", "inspection": INSPECTION, "problem": None},
        {
            "filename": "tile-000118.png",
            "inspection": None,
            "problem": {
                "type": "urn:passline:problem:image_truncated",
                "title": "The image is cut off",
                "status": 400,
                "detail": "the file ends before the image does; send it whole",
                "code": "image_truncated",
                "instance": "urn:passline:request:line-2-20260117-000117",
                "request_id": "line-2-20260117-000117",
                "fields": None,
                "cause": None,
            },
        },
    ],
}

PART_OF_TWO: dict[str, Any] = {
    "part_id": "tile-000117",
    "verdict": "fail",
    "reasons": [
        {
            "rule": "image_failed",
            "verdict": "fail",
            "image": 0,
            "rules": ["max_count"],
            "problem": None,
            "measured": None,
            "limit": None,
        },
        {
            "rule": "image_not_inspected",
            "verdict": "review",
            "image": 1,
            "rules": [],
            "problem": "image_truncated",
            "measured": None,
            "limit": None,
        },
    ],
    "rule": "worst",
    "defect_probability": None,
    "part_threshold": None,
    "recipe": "default",
    "recipe_version": 1,
    "camera_id": "line-2-top",
    "model": INSPECTION["model"],
    "images": BATCH["results"],
}

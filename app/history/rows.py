"""Rows of the database as answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.database.times import from_us
from app.schemas.history import ChainPlace, InspectionDetail, ReviewAnswer, Row
from app.schemas.inspections import InspectionAnswer

# Columns that a row of a list needs; the answer, which may be large, is not among them.
IN_ROW = (
    *("seq", "id", "time_us", "key_name", "camera_id", "part_id", "filename", "recipe", "recipe_version"),
    *("bundle", "bundle_version", "artifact", "execution_provider", "verdict", "defects"),
    *("image_probability", "image_threshold", "dice_estimated", "width", "height", "total_ms"),
    *("image_file", "mask_file", "queue_reason"),
)
_SAME = (
    *("id", "camera_id", "part_id", "filename", "recipe", "recipe_version", "bundle", "bundle_version"),
    *("artifact", "execution_provider", "verdict", "defects", "image_probability", "image_threshold"),
    *("dice_estimated", "width", "height", "total_ms", "queue_reason"),
)
Columns = Mapping[Any, Any]


def row_of(columns: Columns, classes: Sequence[str], reviews: Sequence[Columns] = ()) -> Row:
    """One inspection of a list; `reviews` are its rows of the table of reviews, oldest first."""
    return Row(
        **{name: columns[name] for name in _SAME},
        time=from_us(columns["time_us"]),
        classes=tuple(classes),
        key=columns["key_name"],
        has_image=columns["image_file"] is not None,
        has_mask=columns["image_file"] is not None,  # one without defects needs no file
        review=in_force(reviews),
    )


def detail_of(columns: Columns, classes: Sequence[str], reviews: Sequence[Columns]) -> InspectionDetail:
    """One inspection with everything that is kept of it."""
    same = ("request_id", "image_sha256", "mask_sha256", "manifest_sha256", "pixel_format", "sample_weight")
    return InspectionDetail(
        **{name: columns[name] for name in same},
        row=row_of(columns, classes, reviews),
        answer=InspectionAnswer.model_validate_json(columns["answer"]),
        chain=ChainPlace(box=columns["box"], position=columns["position"], hash=columns["hash"]),
        reviews=reviews_of(reviews),
    )


def in_force(rows: Sequence[Columns]) -> ReviewAnswer | None:
    """The last review that was not taken back; None if there is none. `rows` are oldest first."""
    standing = [each for each in reviews_of(rows) if not each.withdrawn]
    return standing[-1] if standing else None


def reviews_of(rows: Sequence[Columns]) -> list[ReviewAnswer]:
    """Reviews of one inspection, oldest first; rows that only take another back are not among them."""
    withdrawn = {row["withdraws"] for row in rows}
    return [
        ReviewAnswer(
            number=row["number"],
            verdict=row["verdict"],
            classes=tuple(json.loads(row["classes"])),
            who=row["who"],
            time=from_us(row["time_us"]),
            comment=row["comment"],
            corrected=row["mask_file"] is not None,
            withdrawn=row["number"] in withdrawn,
        )
        for row in rows
        if row["withdraws"] is None
    ]

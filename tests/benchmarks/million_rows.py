"""Rows of a plant's history by bulk insert: each a copy of a real inspection, with values of its own."""

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy

from app.database.connection import Database
from app.database.tables import INSPECTION_CLASSES, INSPECTIONS, REVIEWS
from app.database.times import SECOND_US, to_us
from app.history.chain import chained
from app.history.hourly import add_to_hours

DAYS = 90.0  # that the rows are spread over
CAMERAS = ("line-1", "line-2", "line-3", "press-2")
RECIPES = ("magnetic-tile", "strict", "housing")
CLASSES = ("blowhole", "break", "crack", "fray")
RARE = 0.00001  # share of rows of a class, a recipe and a bundle that hardly ever occur
SHARES = {"pass": 95, "fail": 4, "review": 1}
REVIEWED = 0.2  # of fails and reviews
AT_ONCE = 20_000
SEED = 1


def fill(database: Database, count: int) -> None:
    """Add `count` rows after the first one, which is a real inspection and the pattern of all others."""
    with database.reading() as connection:
        pattern = dict(connection.execute(sqlalchemy.select(INSPECTIONS).limit(1)).mappings().one())
    rows = _rows(pattern, count)
    while chunk := list(itertools.islice(rows, AT_ONCE)):
        with database.transaction() as connection:
            connection.execute(INSPECTIONS.insert(), [row for row, _ in chunk])
            connection.execute(
                INSPECTION_CLASSES.insert(),
                [
                    {"seq": row["seq"], "time_us": row["time_us"], "class_name": name, "count": number}
                    for row, classes in chunk
                    for name, number in classes.items()
                ],
            )
            connection.execute(REVIEWS.insert(), [_review(row) for row, _ in chunk if row["reviewed"]])
            add_to_hours(connection, chunk)


def _rows(pattern: Mapping[str, Any], count: int) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    chance = random.Random(SEED)
    start, step = to_us(datetime.now(UTC) - timedelta(days=DAYS)), int(DAYS * 86400 * SECOND_US / count)
    before = pattern["hash"]
    for number in range(1, count + 1):
        verdict = chance.choices(list(SHARES), list(SHARES.values()))[0]
        classes = {} if verdict == "pass" else {chance.choice(CLASSES): chance.randint(1, 4)}
        row = (
            dict(pattern)
            | _own(number, chance)
            | {
                "seq": pattern["seq"] + number,
                "time_us": start + number * step,
                "verdict": verdict,
                "defects": sum(classes.values()),
                "position": pattern["position"] + number,
                "reviewed": verdict != "pass" and chance.random() < REVIEWED,
                "queue_reason": None if verdict == "pass" else "verdict",
                "queue_rank": None if verdict == "pass" else chance.random(),
            }
        )
        if chance.random() < RARE:
            row |= {"recipe": "rare", "bundle_version": "1", "camera_id": "laboratory"}
            classes = {"rare": 1}
        before = row["hash"] = chained(before, row)
        yield row, classes


def _own(number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"{chance.getrandbits(128):032x}",
        "camera_id": chance.choice(CAMERAS),
        "part_id": f"P-{number:07d}",
        "filename": f"frame-{number:07d}.png",
        "recipe": chance.choice(RECIPES),
        "image_sha256": f"{chance.getrandbits(256):064x}",
        "image_probability": chance.random(),
        "total_ms": chance.gauss(30, 4),
        "image_file": None,
        "mask_file": None,
        "sample_weight": None,
    }


def _review(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "inspection_id": row["id"],
        "time_us": row["time_us"] + 3600 * SECOND_US,
        "who": "anna",
        "verdict": "fail",
        "classes": json.dumps(["crack"]),
    }

"""Slices: the planted weak one is named, one of few images is not."""

from dataclasses import replace
from typing import Any

import pytest

from training.evaluation.compared import Compared
from training.evaluation.slices import slice_figures
from training.statistics import interval


def _rows() -> list[Compared]:
    """Forty defective images of two classes and forty good ones; each is a part; all verdicts are correct."""
    rows = []
    for n in range(80):
        kind = ("crack" if n % 4 else "crack,pit") if n < 40 else "good"
        dice, class_dice = (0.8, {"crack": 0.8}) if n < 40 else (None, {})
        row = Compared(str(n), str(n), kind, n < 40, "fail" if n < 40 else "pass", 0.5, dice, class_dice, 50)
        look = {"brightness": 10.0 + n % 40, "sharpness": 5.0, "height": 10, "width": 20 + n % 2}
        rows.append(replace(row, source="line 1", defect_px=50 if n < 40 else 0, **look))  # type: ignore[arg-type]
    return rows


def _row(figures: dict[str, Any], by: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in figures["table"] if (row["by"], row["slice"]) == (by, name))
    return found


def test_slices_hold_the_pictures_they_name() -> None:
    figures = slice_figures(_rows(), 0.95)
    assert {row["by"] for row in figures["table"]} == {
        "class",
        "brightness",
        "image size",
    }  # others: one value
    assert _row(figures, "class", "crack")["pictures"] == 40  # those that show a pit too are in both
    assert _row(figures, "class", "pit")["pictures"] == 10
    assert _row(figures, "image size", "200 px")["pictures"] == 40
    quarters = [row for row in figures["table"] if row["by"] == "brightness"]
    assert sum(row["pictures"] for row in quarters) == 80
    assert len(quarters) == 4
    assert figures["worst"]["escape_rate"] is None  # nowhere bad


def test_the_slice_surely_bad_is_named() -> None:
    rows = [
        replace(row, verdict="pass", dice=0.0) if row.defective and row.brightness < 20 else row
        for row in _rows()
    ]
    rows += [replace(rows[0], group=f"x{n}", name=f"x{n}", picture_class="scratch") for n in range(2)]
    worst = slice_figures(rows, 0.95)["worst"]
    # both escapes by class scratch are all it has, but two images prove nothing
    for figure in ("escape_rate", "dice"):
        assert worst[figure]["by"] == "brightness"
        assert worst[figure]["slice"].startswith("10 to ")
        assert worst[figure]["differs"]
    assert worst["escape_rate"]["value"] == 1
    assert worst["overkill_rate"] is None


def test_a_part_is_one_trial_of_a_rates_interval() -> None:
    rows = [replace(row, verdict="pass") if int(row.name) < 10 else row for row in _rows()]
    alone = _row(slice_figures(rows, 0.95), "class", "crack")["escape_rate"]
    assert alone["interval"] == pytest.approx(interval(10, 40, 0.95), abs=1e-4)
    joined = _row(
        slice_figures([replace(row, group=str(int(row.name) // 4)) for row in rows], 0.95), "class", "crack"
    )["escape_rate"]
    assert (joined["value"], joined["groups"]) == (0.25, 10)
    assert joined["interval"][0] < alone["interval"][0]
    assert joined["interval"][1] > alone["interval"][1]


def test_mean_dice_has_the_interval_of_a_mean_and_a_wider_one_where_parts_agree() -> None:
    rows = [replace(row, dice=0.2 + int(row.name) / 100 if row.defective else None) for row in _rows()]
    alone = _row(slice_figures(rows, 0.95), "class", "crack")["dice"]
    mean, deviation = 0.2 + 0.195, 0.116905  # of 0, 0.01, ... 0.39
    reach = 2.02269 * deviation / 40**0.5  # t of 39 degrees of freedom
    assert alone["interval"] == pytest.approx([mean - reach, mean + reach], abs=1e-4)
    grouped = [replace(row, group=str(int(row.name) // 10)) for row in rows]
    joined = _row(slice_figures(grouped, 0.95), "class", "crack")["dice"]
    assert joined["value"] == alone["value"]
    assert joined["interval"][1] > alone["interval"][1] + 0.1

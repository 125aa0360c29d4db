"""Annotations draw exactly what their format says, or name what does not fit."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.training.datasets.layouts import (
    FIRST,
    SCALE,
    SECOND,
    SIZE,
    compressed,
    encoded,
    labelme_facts,
    write,
)
from training.data.annotations import (
    CocoRuns,
    Layers,
    Polygons,
    RunLengths,
    uncompress,
)
from training.data.masks import MaskImage, Named, OneClass
from training.data.outlines import Outline, Patch
from training.data.registry import read_dataset
from training.data.sample import IGNORED, IGNORED_NUMBER, Blob, DatasetError

SQUARE = (6.0, 4.0, 20.0, 4.0, 20.0, 10.0, 6.0, 10.0)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_compressed_runs_are_read_as_coco_writes_them(
    height: int, width: int, seed: int, share: float
) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    text = compressed(mask)
    drawn = CocoRuns(3, mask.shape, text, "here").draw((height, width))
    np.testing.assert_array_equal(drawn, mask.astype(np.uint16) << 2)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "must be 0 or more and add up to 32 x 24"),
        ((700, 60), "must be 0 or more and add up to 32 x 24"),
        ((800, -32), "must be 0 or more"),
        ("é", "hold 'é', which is none"),
        ("o", "end within a number"),
    ],
)
def test_broken_runs_are_named(counts: str | tuple[int, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=f"here: its run lengths {message}"):
        CocoRuns(1, SIZE, counts, "here").draw(SIZE)


def test_negative_differences_are_read() -> None:
    text = compressed(FIRST)
    assert min(uncompress(text, "here")) >= 0
    assert sum(uncompress(text, "here")) == FIRST.size


def test_runs_of_another_picture_are_refused() -> None:
    runs = CocoRuns(1, SIZE, (FIRST.size,), "here")
    with pytest.raises(DatasetError, match=r"annotated at 32 x 24 px, but the image has 24 x 32 px .*EXIF"):
        runs.draw((32, 24))
    with pytest.raises(DatasetError, match=r"the image has 33 x 24 px; annotate"):
        runs.draw((24, 33))


def test_runs_go_down_the_columns() -> None:
    drawn = RunLengths(2, ((0, 24), (25, 1)), "here").draw(SIZE)
    expected = np.zeros(SIZE, np.uint16)
    expected[:, 0] = expected[1, 1] = 2
    np.testing.assert_array_equal(drawn, expected)


def test_layers_overlap() -> None:
    parts = (
        Polygons(1, (SQUARE,), "here"),
        RunLengths(16, ((0, 2),), "here"),
        Polygons(2, (SQUARE,), "here"),
    )
    drawn = Layers(parts, SIZE, "here").draw(SIZE)
    expected = 3 * FIRST.astype(np.uint16)
    expected[:2, 0] = 1 << 15
    np.testing.assert_array_equal(drawn, expected)
    with pytest.raises(DatasetError, match="annotated at 32 x 24 px"):
        Layers(parts, SIZE, "here").draw((24, 30))


def test_polygon_may_stand_over_the_edge_by_rounding_only() -> None:
    whole = (-1.0, -1.0, 33.0, -1.0, 33.0, 25.0, -1.0, 25.0)
    assert Polygons(1, (whole,), "here").draw(SIZE).all()
    for x, y in ((33.5, 3.0), (3.0, -1.5), (float("nan"), 3.0)):
        with pytest.raises(
            DatasetError, match=r"here: the point \(.*\) lies outside the image of 32 x 24 px"
        ):
            Polygons(1, ((*SQUARE, x, y),), "here").draw(SIZE)
        with pytest.raises(DatasetError, match="lies outside the image"):
            Outline(1, "point", ((x, y),), "here").draw(SIZE)


def test_circle_is_cut_at_the_edge() -> None:
    drawn = Outline(1, "circle", ((0.0, 0.0), (5.0, 0.0)), "here").draw(SIZE)
    assert drawn[0, 5] == drawn[5, 0] == 1
    assert not drawn[0, 6:].any()


@pytest.mark.parametrize(
    ("points", "mask", "message"),
    [
        (
            ((6, 4), (18, 9)),
            encoded(SCALE * FIRST[4:10, 6:20], ".png"),
            "does not fill the box 6, 4 to 18, 9",
        ),
        (((26, 4), (39, 9)), encoded(SCALE * FIRST[4:10, 6:20], ".png"), "in an image of 32 x 24 px"),
        (((6, 4), (19, 9)), b"no image", "its mask cannot be read"),
    ],
)
def test_patch_that_does_not_fit_is_named(
    points: tuple[tuple[float, float], ...], mask: bytes, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        Patch(1, points, base64.b64encode(mask).decode(), "here").draw(SIZE)


def test_mask_of_one_class_holds_nothing_and_one_value(tmp_path: Path) -> None:
    for value in (1, 128, 255):
        mask = MaskImage(Blob(write(tmp_path / f"{value}.png", np.uint8(value) * FIRST)), OneClass(5))
        np.testing.assert_array_equal(mask.draw(SIZE), FIRST.astype(np.uint16) << 4)
        assert mask.numbers() == [5]
    assert MaskImage(Blob(write(tmp_path / "none.png", 0 * FIRST)), OneClass()).numbers() == []


def test_greys_of_a_mask_are_refused_until_a_threshold_says_what_they_mean(tmp_path: Path) -> None:
    soft = np.where(SECOND > 0, np.uint8(100), SCALE * FIRST)
    blob = Blob(write(tmp_path / "soft.png", soft))
    with pytest.raises(
        DatasetError, match=r"soft.png\) cannot be used: it holds 0, 100, 255.*threshold: 128"
    ):
        MaskImage(blob, OneClass(5)).draw(SIZE)
    mask = MaskImage(blob, OneClass(5, threshold=128))
    np.testing.assert_array_equal(mask.draw(SIZE), (FIRST & (1 - SECOND)).astype(np.uint16) << 4)


def test_mask_in_white_serves_one_class(tmp_path: Path) -> None:
    mask = MaskImage(Blob(write(tmp_path / "white.png", SCALE * FIRST)), Named({0: 0, 1: 1}, "classes.txt"))
    np.testing.assert_array_equal(mask.draw(SIZE), FIRST)
    assert mask.numbers() == [1]


def test_255_beside_class_numbers_is_ignored(tmp_path: Path) -> None:
    values = np.where(FIRST > 0, np.uint8(2), SCALE * SECOND)
    mask = MaskImage(Blob(write(tmp_path / "void.png", values)), Named({0: 0, 1: 1, 2: 2}, "classes.txt"))
    expected = np.where(FIRST > 0, np.uint16(2), np.where(SECOND > 0, IGNORED, np.uint16(0)))
    np.testing.assert_array_equal(mask.draw(SIZE), expected)
    assert mask.numbers() == [2, IGNORED_NUMBER]


@pytest.mark.parametrize("high", [1, 255, 256, 65535])
def test_mask_of_16_bits_keeps_its_values(tmp_path: Path, high: int) -> None:
    path = write(tmp_path / "deep.png", FIRST.astype(np.uint16) * np.uint16(high))
    np.testing.assert_array_equal(MaskImage(Blob(path), OneClass()).draw(SIZE), FIRST)


@pytest.mark.parametrize("upright", [True, False])
def test_annotation_of_a_turned_picture_fits_it_upright(tmp_path: Path, upright: bool) -> None:
    """The file stores 24 x 32 px and says: turn it. Decoded, it has 32 x 24 px."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((32, 24), 90, np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    facts = labelme_facts("turned.jpg", ("dent", "rectangle", [[6, 4], [19, 9]]))
    if not upright:
        facts |= {"imageHeight": 32, "imageWidth": 24}
    (tmp_path / "turned.json").write_text(json.dumps(facts))
    (sample,) = read_dataset(tmp_path).samples
    pixels = sample.pixels()
    assert pixels.shape == SIZE
    if upright:
        np.testing.assert_array_equal(sample.class_bits(SIZE), FIRST)
    else:
        with pytest.raises(DatasetError, match="turned by its EXIF: annotate it upright"):
            sample.class_bits(SIZE)

"""The whole road, on real ONNX Runtime: what comes out follows from what went in, and from nothing else."""

import hashlib
import json
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.cancellation import Cancellation, Cancelled
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.errors import (
    ImageTooLarge,
    ImageTooSmall,
    RecipeDoesNotFit,
    RecipeInvalid,
    ReferenceMaskSizeMismatch,
    SelfTestFailed,
)
from app.inspection.inference.tiling import cut
from app.inspection.inspector import Inspector
from app.inspection.measuring.findings import find
from app.inspection.results import Defect, Inspection
from app.inspection.rules.recipe import ExtraRules, Limits, Recipe, Region
from app.inspection.rules.verdict import doubts_about, judge
from tests.inspection.bad_input import BadInput, bad_inputs, encode, picture
from tests.inspection.formed import decided
from tests.inspection.stitching import stitched
from tests.tiny_bundle import png, region_probability, sha256, tiny_picture, write_tiny_bundle


class Counting(Cancellation):
    """Ends at the check after `most`, and counts them."""

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.calls, self._most = 0, most

    def check(self) -> None:
        self.calls += 1
        if self.calls > self._most:
            self.cancel()
        super().check()


STEPS = {"decode", "preprocess", "inference", "mask", "measure", "verdict"}


def spotted(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Middle grey with soft dark and bright spots, uint8 [height, width]."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width))
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(np.clip(128 + 60 * soft / soft.std(), 0, 255), dtype=np.uint8)


def without_timings(inspection: Inspection) -> tuple[Any, ...]:
    found = replace(inspection, timings_ms={}, label_map=np.zeros((0, 0), np.uint8))
    return (*(getattr(found, name) for name in ("verdict", "reasons", "defects", "image", "measured_dice")),
            found.estimated_dice, found.image_probability, found.head_probability,
            inspection.label_map.tobytes())  # fmt: skip


def drawn(defects: tuple[Defect, ...]) -> list[Defect]:
    """The defects without what a mask alone does not tell."""
    return [replace(each, score=1.0, probability=None, runner_up=None) for each in defects]


def test_defective_and_good(inspector: Inspector) -> None:
    data = png(tiny_picture(100, 150, dark=(40, 50, 30, 5)))
    found = inspector.inspect(data)
    assert found.verdict == "fail"
    assert [(each.rule, each.defect_class) for each in found.reasons] == [("max_count", "dark")]
    assert [each.bbox for each in found.defects] == [(40, 50, 30, 5)]
    assert found.defects[0].score == pytest.approx(235 / 255)
    assert found.defects[0].probability == found.image_probability
    assert found.image_probability == pytest.approx(region_probability(235 / 255))
    assert found.label_map.shape == (100, 150)
    assert found.classes == ("dark", "bright")
    assert (found.image.width, found.image.height) == (150, 100)
    assert found.image.sha256 == hashlib.sha256(data).hexdigest()
    assert found.recipe == "tiny"
    assert set(found.timings_ms) == STEPS
    assert all(value >= 0 for value in found.timings_ms.values())
    good = inspector.inspect(png(tiny_picture(100, 150)))
    assert (good.verdict, good.reasons, good.defects) == ("pass", (), ())


def test_recipe_travels_with_the_request(inspector: Inspector) -> None:
    data = png(tiny_picture(100, 150, dark=(40, 50, 30, 5)))
    tolerant = Recipe(name="tolerant", pixel_pitch_mm=0.1, limits={"dark": Limits(max_length_mm=3.0)})
    found = inspector.inspect(data, tolerant)
    assert (found.verdict, found.recipe) == ("pass", "tolerant")
    assert found.defects[0].length_mm == pytest.approx(3.0)
    assert found.defects[0].area_mm2 == pytest.approx(1.5)
    assert inspector.inspect(data).verdict == "fail"
    with pytest.raises(RecipeInvalid, match="scratch"):
        inspector.inspect(data, Recipe(name="wrong", limits={"scratch": Limits(max_count=0)}))


def test_a_picture_of_noise_ends_when_told(inspector: Inspector) -> None:
    noise = tiny_picture(64, 64)
    for x, y in np.ndindex(12, 12):
        noise[5 * y : 5 * y + 3, 5 * x : 5 * x + 3] = 10
    counted = Counting()
    assert len(inspector.inspect(png(noise), cancellation=counted).defects) == 144
    assert counted.calls > 144
    for most in (1, 2, counted.calls // 2, counted.calls - 1):
        with pytest.raises(Cancelled):
            inspector.inspect(png(noise), cancellation=Counting(most))


def test_head_above_its_threshold_without_a_pixel_is_a_review(inspector: Inspector) -> None:
    speck = tiny_picture(64, 64, dark=(10, 10, 1, 3))  # seen by the head, but smaller than the least area
    found = inspector.inspect(png(speck))
    assert found.verdict == "review"
    assert found.reasons[0].rule == "head_without_mask"
    assert found.reasons[0].measured == found.head_probability >= found.head_threshold
    assert found.image_probability == 0
    assert not found.label_map.any()


@pytest.mark.parametrize(
    ("image", "head", "verdict"),
    [(0.9, 0.95, "fail"), (0.99, 0.95, "pass"), (0.99, 0.92, "review"), (0.9, 0.92, "fail")],
)
def test_regions_below_the_image_threshold_leave_the_head_to_ask_for_a_review(
    tmp_path: Path, image: float, head: float, verdict: str
) -> None:
    path = write_tiny_bundle(tmp_path) / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["artifacts"][0]["operating_point"] |= {"image_threshold": image, "head_threshold": head}
    path.write_text(json.dumps(manifest))
    found = Inspector.load(tmp_path, "cpu", 1).inspect(png(tiny_picture(60, 60, dark=(20, 30, 12, 9))))
    assert found.verdict == verdict
    assert found.image_probability == pytest.approx(region_probability(235 / 255))
    assert found.head_probability == pytest.approx(235 / 255)
    assert found.label_map.any() == (found.image_probability >= found.image_threshold)


def test_defect_outside_of_the_roi_is_shown_and_not_judged(inspector: Inspector) -> None:
    data = png(tiny_picture(100, 150, dark=(40, 50, 30, 5)))
    left = Region(polygon_px=((0, 0), (40, 0), (40, 100), (0, 100)))
    found = inspector.inspect(data, Recipe(name="left", roi=[left]))
    assert (found.verdict, found.reasons, found.defects) == ("pass", (), ())
    assert found.label_map.sum() == 150, "the mask shows it, and so explains the head's answer"
    assert found.image_probability >= found.image_threshold
    beyond = Region(polygon_px=((40, 0), (150, 0), (150, 100), (40, 100)))
    assert inspector.inspect(data, Recipe(name="right", roi=[beyond])).verdict == "fail"
    with pytest.raises(RecipeDoesNotFit, match=r"roi\.0 holds no pixel of this image of 30 x 20 px"):
        inspector.inspect(png(tiny_picture(20, 30)), Recipe(name="right", roi=[beyond]))


def test_low_estimated_dice_is_a_review_of_what_would_pass(inspector: Inspector) -> None:
    grey = tiny_picture(80, 80, dark=(10, 10, 20, 10))
    grey[grey == 10] = 60  # seen, but with little confidence
    tolerant = Recipe(name="tolerant", other=Limits(max_count=1), min_estimated_dice=0.9)
    found = inspector.inspect(png(grey), tolerant)
    assert (found.verdict, [each.rule for each in found.reasons]) == ("review", ["low_confidence"])
    assert found.reasons[0].measured == found.estimated_dice.any_defect
    strict = tolerant.model_copy(update={"other": Limits(max_count=0)})
    assert inspector.inspect(png(grey), strict).verdict == "fail"


def test_measured_dice(inspector: Inspector) -> None:
    picture = tiny_picture(80, 80, dark=(10, 10, 20, 10))
    picture[60:70, 60:70] = 250
    found = inspector.inspect(png(picture))
    assert found.measured_dice is None
    same = inspector.inspect(png(picture), reference_mask=png(found.label_map)).measured_dice
    assert same is not None
    assert (same.any_defect, same.per_class) == (1.0, {"dark": 1.0, "bright": 1.0})
    swapped = np.array([0, 2, 1], dtype=np.uint8)[found.label_map]
    other = inspector.inspect(png(picture), reference_mask=png(swapped)).measured_dice
    assert other is not None
    assert (other.any_defect, other.per_class) == (1.0, {"dark": 0.0, "bright": 0.0})
    plain = (255 * (found.label_map > 0)).astype(np.uint8)
    classless = inspector.inspect(png(picture), reference_mask=png(plain)).measured_dice
    assert classless is not None
    assert (classless.any_defect, classless.per_class) == (1.0, None)
    with pytest.raises(ReferenceMaskSizeMismatch):
        inspector.inspect(png(picture), reference_mask=png(plain[1:]))


def test_reference_mask_changes_nothing_but_the_measured_dice(inspector: Inspector) -> None:
    data, mask = png(spotted(90, 70, 1)), png(np.ones((90, 70), dtype=np.uint8))
    without, having = inspector.inspect(data), inspector.inspect(data, reference_mask=mask)
    assert without_timings(replace(having, measured_dice=None)) == without_timings(without)


def test_estimated_dice(inspector: Inspector) -> None:
    good = inspector.inspect(png(tiny_picture(80, 80))).estimated_dice
    assert (good.any_defect, good.reason) == (None, "empty_mask")
    black = tiny_picture(80, 80, dark=(10, 10, 20, 10))
    black[black == 10] = 0
    found = inspector.inspect(png(black)).estimated_dice
    # by hand: 200 certain pixels, and 6200 of level 1 / 255 around them
    assert found.any_defect == pytest.approx(2 * 200 / (200 + 6200 / 255 + 200))
    assert found.reason is None


def test_calibration_applies_to_the_estimate_only(tmp_path: Path) -> None:
    calibration = {"mask_temperature": 2.0}
    cold = write_tiny_bundle(tmp_path / "plain")
    hot = write_tiny_bundle(tmp_path / "hotter", calibration=calibration)
    plain, hotter = (Inspector.load(each, "cpu", 1).inspect(png(spotted(90, 90, 3))) for each in (cold, hot))
    assert hotter.estimated_dice.any_defect != plain.estimated_dice.any_defect
    assert without_timings(replace(hotter, estimated_dice=plain.estimated_dice)) == without_timings(plain)


@settings(max_examples=40, deadline=None)
@given(st.integers(16, 140), st.integers(16, 140), st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_verdict_follows_from_the_label_map_and_the_recipe(
    inspector: Inspector, height: int, width: int, seed: int, limit: int
) -> None:
    recipe = Recipe(
        name="any",
        pixel_pitch_mm=0.2,
        limits={"dark": Limits(max_area_px=float(limit))},
        other=Limits(max_count=limit // 4, max_length_mm=limit / 5),
        ignore=[Region(polygon_px=((0, 0), (9, 0), (0, 14)))],
        review=ExtraRules(other=Limits(max_width_mm=limit / 20)),
        min_estimated_dice=0.6,
        border="review",
    )
    found = inspector.inspect(png(spotted(height, width, seed)), recipe)
    again = find(found.label_map, None, found.classes, recipe)
    head, dice = (found.unexplained_probability, found.head_threshold), found.estimated_dice.any_defect
    doubts = doubts_about(*head, dice, recipe)
    assert judge(again, recipe, inspector.bundle.severities, doubts) == (found.verdict, found.reasons)
    assert drawn(again.defects) == drawn(found.defects)
    assert found.label_map.any() == (found.image_probability >= found.image_threshold)


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 256), st.integers(16, 256), st.integers(0, 2**32 - 1))
def test_tiles_give_the_same_defects_as_the_whole(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    data = png(spotted(height, width, seed))
    in_tiles, whole = (_inspectors(tmp_path_factory)[name].inspect(data) for name in ("tiles", "whole"))
    np.testing.assert_array_equal(in_tiles.label_map, whole.label_map)
    assert without_timings(in_tiles) == without_timings(whole)


_made: dict[str, Inspector] = {}


def _inspectors(paths: pytest.TempPathFactory) -> dict[str, Inspector]:
    """One inspector that cuts into tiles of 48 px, and one whose tile takes the whole image."""
    for name, tile in (("tiles", 48), ("whole", 256)):
        if name not in _made:
            bundle = write_tiny_bundle(paths.mktemp(name), tile=tile, overlap=12)
            _made[name] = Inspector.load(bundle, device="cpu", threads=1)
    return _made


def test_answer_does_not_depend_on_what_else_is_inspected(inspector: Inspector) -> None:
    uploads = [png(spotted(60 + 9 * n, 150 - 9 * n, n)) for n in range(10)]
    alone = [without_timings(inspector.inspect(data)) for data in uploads]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(inspector.inspect, uploads * 3))
    assert [without_timings(each) for each in together] == alone * 3


def test_prediction_is_what_the_steps_give(inspector: Inspector) -> None:
    image = spotted(150, 90, 5)
    tiles, plan = cut(image, inspector.bundle.input)
    masks, heads, _ = inspector.session.run(tiles)
    found = inspector.predict(image)
    np.testing.assert_array_equal(found.probability, stitched(masks, plan))
    assert found.head_probability == heads.max()


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_what_is_kept_of_each_pixel_is_what_all_classes_say_of_it(tmp_path: Path, scale: float) -> None:
    tiling = {"tile_height": 64, "tile_width": 64, "overlap": 12, "min_side_px": 16, "padding": "reflect"}
    contract = tiling | {"colour": "gray", "pixel_scale": scale}
    bundle = write_tiny_bundle(tmp_path, ("dark", "bright", "dim"), input=contract)
    inspector = Inspector.load(bundle, "cpu", 1)
    point = inspector.session.artifact.operating_point
    for size in ((150, 190), (190, 90)):
        data = png(spotted(*size, 3))
        seen, found = inspector.inspect_with_prediction(data), inspector.inspect(data, keep=["probability"])
        planes = seen.prediction.probability
        expected, _ = decided(planes, point, seen.pixels, seen.prediction.tiles)
        assert expected.any()
        np.testing.assert_array_equal(found.label_map, expected)
        assert found.probability is not None
        np.testing.assert_array_equal(found.probability, planes.max(axis=0))
        assert without_timings(found) == without_timings(seen.inspection)


@pytest.mark.parametrize("upload", bad_inputs(), ids=lambda each: each.name)
def test_bad_input_never_passes(inspector: Inspector, upload: BadInput) -> None:
    if upload.expected is None:
        assert inspector.inspect(upload.data).verdict == "fail"
    else:
        with pytest.raises(upload.expected):
            inspector.inspect(upload.data)


def test_limits_of_the_service_and_of_the_bundle_both_apply(bundle_dir: Path) -> None:
    strict = Inspector.load(bundle_dir, "cpu", 1, DecodeLimits(max_pixels=400, min_side_px=1))
    with pytest.raises(ImageTooLarge):
        strict.inspect(png(tiny_picture(20, 21)))
    with pytest.raises(ImageTooSmall, match="16 or more"):
        strict.inspect(png(tiny_picture(15, 20)))


def test_work_is_bounded_on_the_header_where_a_strip_has_few_pixels_but_many_tiles(
    inspector: Inspector,
) -> None:
    header = bytearray(encode(picture(), "BMP")[:54])  # nothing but a header: any decoding would fail
    struct.pack_into("<ii", header, 18, 100_000, 64)
    with pytest.raises(ImageTooLarge, match="at most 2048"):
        inspector.inspect(bytes(header))


def test_colour_bundle(tmp_path: Path) -> None:
    colour = Inspector.load(write_tiny_bundle(tmp_path, colour="rgb"), "cpu", 1)
    colour.self_test()
    picture = np.dstack([tiny_picture(70, 90, dark=(30, 30, 10, 10))] * 3)
    assert [each.bbox for each in colour.inspect(png(picture)).defects] == [(30, 30, 10, 10)]


@pytest.mark.parametrize("classes", [("only",), ("dark", "bright"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_self_test_passes_where_the_bundle_works(tmp_path: Path, classes: tuple[str, ...]) -> None:
    Inspector.load(write_tiny_bundle(tmp_path, classes, tile=32, overlap=8), "cpu", 1).self_test()


def _inspector_with(directory: Path, **golden: Any) -> Inspector:
    manifest = json.loads((write_tiny_bundle(directory) / "bundle.json").read_text())
    manifest["golden"][0] |= golden
    (directory / "bundle.json").write_text(json.dumps(manifest))
    return Inspector.load(directory, "cpu", 1)


@pytest.mark.parametrize(
    ("golden", "says"),
    [
        ({"verdict": "pass"}, "verdict fail, not pass"),
        ({"image_probability": 0.6}, "image_probability off by 0.3"),
    ],
)
def test_self_test_names_what_differs(tmp_path: Path, golden: dict[str, Any], says: str) -> None:
    with pytest.raises(SelfTestFailed, match=says):
        _inspector_with(tmp_path, **golden).self_test()


def test_self_test_notices_classes_that_changed_places(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path)
    mask = 2 * (tiny_picture(96, 80, dark=(20, 30, 12, 9)) == 10).astype(np.uint8)
    (directory / "swapped.png").write_bytes(png(mask))
    golden = {"mask": "swapped.png", "mask_sha256": sha256(directory / "swapped.png")}
    with pytest.raises(SelfTestFailed, match=r"golden/defective.png: mask IoU 0\.000"):
        _inspector_with(tmp_path, **golden).self_test()


def test_bundle_without_golden_samples_does_not_pass_its_self_test(tmp_path: Path) -> None:
    with pytest.raises(SelfTestFailed, match="no golden samples"):
        Inspector.load(write_tiny_bundle(tmp_path, golden=[]), "cpu", 1).self_test()

"""One defect is one region: which pixels, which class, how probable, and what is dropped."""

import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.bundle.region_model import REGION_FEATURES, RegionModel
from app.inspection.inspector import Inspector
from app.inspection.measuring.defect_regions import Regions, form_regions
from app.inspection.measuring.findings import find
from app.inspection.measuring.mask import marks_of
from app.inspection.measuring.measure import measure
from app.inspection.measuring.runs import BAND_PX
from app.inspection.results import TileProbability
from app.inspection.rules.recipe import ExtraRules, Limits, Recipe, Region, Zone
from app.inspection.rules.verdict import doubts_about, judge
from tests.inspection.formed import PEAK, decided, marked, point
from tests.tiny_bundle import png, region_probability, tiny_picture, write_tiny_bundle

CLASSES = ("crack", "pore", "stain")
ALL = RegionModel(
    weights={
        "mean_logit": 1.0,
        "peak_probability": 3.0,
        "log_area": 0.5,
        "contrast": 0.2,
        "border_gap": 0.4,
        "head_logit": 0.5,
    },
    bias=-6.0,
)
Pixels = NDArray[np.uint8]


def blotches(rng: np.random.Generator, shape: tuple[int, ...], mean: float = 110) -> Pixels:
    """Soft spots about 3 px wide, uint8."""
    noise = rng.normal(0, 1, shape)
    soft = np.stack([cv2.GaussianBlur(each, (0, 0), 1.5) for each in noise.reshape(-1, *shape[-2:])])
    return np.asarray(np.clip(mean + 60 * soft / soft.std(), 0, 255), np.uint8).reshape(shape)


def log_odds(probability: float) -> float:
    """With what is nearly certain taken as 0.998."""
    kept = min(max(probability, 0.002), 0.998)
    return float(np.log(kept) - np.log1p(-kept))


def quarters(height: int, width: int, rng: np.random.Generator) -> tuple[TileProbability, ...]:
    """Four overlapping tiles, each with a probability of its own."""
    ys, xs = (0, height // 2 + 3, height // 2 - 3, height), (0, width // 2 + 3, width // 2 - 3, width)
    places = [(slice(*y), slice(*x)) for y in (ys[:2], ys[2:]) for x in (xs[:2], xs[2:])]
    return tuple(TileProbability(*place, float(rng.random())) for place in places)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(3)), st.sampled_from([1, 3, 7]), st.booleans())
def test_order_of_the_classes_changes_nothing_but_labels(
    seed: int, order: list[int], area: int, coarse: bool
) -> None:
    rng = np.random.default_rng(seed)
    planes = blotches(rng, (3, 24, 31))
    if coarse:
        planes = np.asarray(planes // 60 * 60, np.uint8)  # so that classes are often equal in a pixel
    image, tiles = blotches(rng, (24, 31)), quarters(24, 31, rng)
    at = point(pixel=0.4, image=0.6, area=area, regions=ALL)
    label_map, kept = decided(planes, at, image, tiles)
    other_map, other = decided(planes[order], at, image, tiles)
    np.testing.assert_array_equal(other_map > 0, label_map > 0)
    np.testing.assert_array_equal(other.features, kept.features)
    np.testing.assert_array_equal(other.probability, kept.probability)
    np.testing.assert_array_equal(other.runs.first, kept.runs.first)
    for region in range(len(kept)):
        sums, renamed = votes(planes, kept, region), votes(planes[order], other, region)
        if sorted(sums)[-1] > sorted(sums)[-2] and renamed == [sums[k] for k in order]:
            assert order[other.label[region] - 1] == kept.label[region] - 1


def votes(planes: Pixels, regions: Regions, region: int) -> list[int]:
    """The summed probability of each class in a region, each pixel counting for its most probable class."""
    own, highest, best = regions.runs.region == region, planes.max(axis=0), planes.argmax(axis=0)
    sums = [0] * len(planes)
    for row, first, last in zip(*(each[own] for each in spans(regions)), strict=True):
        for x in range(first, last + 1):
            sums[best[row, x]] += int(highest[row, x])
    return sums


def spans(regions: Regions) -> tuple[NDArray[np.int64], ...]:
    return regions.runs.row, regions.runs.first, regions.runs.last


def test_region_that_wavers_between_classes_is_one_defect_with_a_runner_up() -> None:
    planes = np.zeros((3, 40, 60), np.uint8)
    planes[0, 10:20, 5:45] = 140
    planes[1, 10:20, 8:45:4] = planes[1, 10:20, 9:45:4] = 220  # half of it, but more probable
    planes[2, 10:12, 5:8] = 200
    planes[0, 30:35, 10:15] = 250
    label_map, kept = decided(planes, point(area=3))
    wavering, plain = sorted(measure(label_map, kept, CLASSES, None), key=lambda each: -each.area_px)
    assert (wavering.defect_class, wavering.runner_up) == ("pore", "crack")
    assert (wavering.area_px, wavering.bbox) == (400, (5, 10, 40, 10))
    assert wavering.score == 220 / 255
    assert wavering.probability == pytest.approx(region_probability(220 / 255))
    assert (plain.defect_class, plain.runner_up) == ("crack", None)
    assert set(np.unique(label_map[10:20, 5:45]).tolist()) == {2}


def test_diagonal_neighbours_of_different_classes_are_one_region() -> None:
    planes = np.zeros((2, 9, 9), np.uint8)
    planes[0, 2, 2], planes[1, 3, 3], planes[0, 4, 2] = 200, 210, 220
    label_map, kept = decided(planes, point(area=3))
    assert len(kept) == 1
    assert label_map[[2, 3, 4], [2, 3, 2]].tolist() == [1, 1, 1]
    assert not decided(planes, point(area=4))[0].any()


def test_dropped_region_is_unmarked_and_leaves_the_others_as_they_were() -> None:
    planes = np.zeros((1, 20, 20), np.uint8)
    planes[0, 2:5, 2:5], planes[0, 10:14, 10:14] = 150, 240
    threshold = region_probability(200 / 255)
    label_map, kept = decided(planes, point(image=threshold))
    assert len(kept) == 1
    np.testing.assert_array_equal(label_map, planes[0] == 240)
    exact = decided(planes, point(image=float(PEAK.probability(kept.features)[0])))[0]
    np.testing.assert_array_equal(exact, label_map, "exactly at the threshold it is kept")


def test_nothing_marked_is_no_region() -> None:
    label_map, kept = decided(np.zeros((2, 20, 20), np.uint8), point())
    assert len(kept) == 0
    assert kept.features.shape == (0, len(REGION_FEATURES))
    assert not label_map.any()


def by_brute_force(
    highest: Pixels, label_map: Pixels, image: Pixels, tiles: tuple[TileProbability, ...]
) -> dict[tuple[int, int], list[float]]:
    """The features of each region, found by looking at every pixel, by the first pixel of each."""
    count, numbered = cv2.connectedComponents((label_map > 0).astype(np.uint8), connectivity=8)
    grey = image.astype(float) if image.ndim == 2 else image.astype(float).mean(axis=2)
    height, width = label_map.shape
    found = {}
    for number in range(1, count):
        own = [(y, x) for y in range(height) for x in range(width) if numbered[y, x] == number]
        levels = [int(highest[place]) for place in own]
        top, bottom = min(y for y, _ in own), max(y for y, _ in own)
        left, right = min(x for _, x in own), max(x for _, x in own)
        rows, columns = near(top, bottom, height), near(left, right, width)
        around = [grey[y, x] for y in rows for x in columns if not label_map[y, x]]
        difference = abs(np.mean([grey[place] for place in own]) - np.mean(around)) if around else 0.0
        heads = [
            tile.probability
            for tile in tiles
            if any(tile.rows.start <= y < tile.rows.stop for y in range(top, bottom + 1))
            and any(tile.columns.start <= x < tile.columns.stop for x in range(left, right + 1))
        ]
        found[own[0]] = [
            log_odds(sum(levels) / len(levels) / 255),
            max(levels) / 255,
            float(np.log(len(own))),
            float(difference / max(np.std(around), 4.0)) if around else 0.0,
            min(top, left, height - 1 - bottom, width - 1 - right, 32) / 32,
            log_odds(max(heads, default=0.0)),
        ]
    return found


def near(first: int, last: int, end: int) -> range:
    """Up to 64 rows or columns from 8 px before to 8 px behind, within the image."""
    begin, stop = max(0, first - 8), last + 9
    step = -(-(stop - begin) // 64)
    return range(begin, min(stop, end), step)


def formed(highest: Pixels, label_map: Pixels, image: Pixels, tiles: tuple[TileProbability, ...]) -> Regions:
    return form_regions(marked(label_map, highest), image, tiles, point(regions=ALL))


def assert_features(
    highest: Pixels, label_map: Pixels, image: Pixels, tiles: tuple[TileProbability, ...]
) -> Regions:
    regions = formed(highest, label_map, image, tiles)
    expected = by_brute_force(highest, label_map, image, tiles)
    firsts = zip(regions.runs.row[regions.runs.start], regions.runs.first[regions.runs.start], strict=True)
    assert len(regions) == len(expected)
    for features, (y, x) in zip(regions.features, firsts, strict=True):
        assert features == pytest.approx(expected[int(y), int(x)])
    return regions


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(3, 90), st.integers(3, 90), st.booleans(), st.floats(0.02, 0.98)
)
def test_features_are_those_of_every_pixel(
    seed: int, height: int, width: int, colour: bool, share: float
) -> None:
    rng = np.random.default_rng(seed)
    highest = blotches(rng, (height, width))
    label_map = (highest >= np.quantile(highest, share)) * rng.integers(1, 4, (height, width))
    image = rng.integers(0, 256, (height, width, 3) if colour else (height, width), dtype=np.uint8)
    assert_features(highest, label_map.astype(np.uint8), image, quarters(height, width, rng))


def test_a_large_region_at_the_border_is_sampled_around() -> None:
    rng = np.random.default_rng(3)
    highest, label_map = np.full((300, 400), 200, np.uint8), np.zeros((300, 400), np.uint8)
    label_map[:200, 10:390:2], label_map[100, 10:390] = 2, 1
    image = rng.integers(0, 256, (300, 400), dtype=np.uint8)
    regions = assert_features(highest, label_map, image, quarters(300, 400, rng))
    assert regions.features[0][REGION_FEATURES.index("border_gap")] == 0
    assert regions.features[0][REGION_FEATURES.index("contrast")] > 0


@pytest.mark.parametrize("channels", [(), (3,)])
def test_region_with_no_surroundings_has_no_contrast(channels: tuple[int, ...]) -> None:
    whole = np.full((30, 40), 200, np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (30, 40, *channels), dtype=np.uint8)
    regions = assert_features(whole, np.ones_like(whole), image, ())
    assert regions.features[0][REGION_FEATURES.index("contrast")] == 0
    assert regions.probability.shape == (1,)


def test_colour_of_a_surface_is_no_deviation() -> None:
    label_map = np.zeros((40, 40), np.uint8)
    label_map[15:20, 15:20] = 1
    grey = np.where(label_map > 0, 60, 120).astype(np.uint8)
    coloured = np.clip(grey[..., None] + np.array([60, -60, 0]), 0, 255).astype(np.uint8)
    contrasts = [formed(label_map * 200, label_map, each, ()).features[0, 3] for each in (grey, coloured)]
    assert contrasts == [pytest.approx(60 / 4)] * 2


@pytest.mark.parametrize("shape", [(1500, 1100), (1100, 1500)])
@pytest.mark.parametrize("area", [1, 12])
def test_image_of_several_bands_has_the_regions_of_one_pass(shape: tuple[int, int], area: int) -> None:
    assert shape[0] * shape[1] > BAND_PX
    rng = np.random.default_rng(area)
    planes = blotches(rng, (2, *shape), mean=40)
    band = BAND_PX // shape[1]
    planes[0, band - 2 : band + 2, 100:110] = 255  # across the edge of two bands
    planes[1, band : band + 1, 200:203] = 255  # small, at the edge
    planes[0, :, 500] = 255  # through all of them
    at = point(area=area)
    marks = marks_of(planes, at)
    count, numbered, stats, _ = cv2.connectedComponentsWithStats(
        (marks.label_map > 0).astype(np.uint8), connectivity=8
    )
    large = stats[:, cv2.CC_STAT_AREA] >= area
    large[0] = False
    assert area == 1 or 0 < large.sum() < count - 1
    regions = form_regions(marks, planes[0], (), at)
    np.testing.assert_array_equal(marks.label_map > 0, large[numbered])
    assert len(regions) == large.sum()
    first_of = regions.runs.start
    numbers = numbered[regions.runs.row[first_of], regions.runs.first[first_of]]
    assert len(set(numbers.tolist())) == len(numbers)
    np.testing.assert_allclose(np.exp(regions.features[:, 2]), stats[numbers, cv2.CC_STAT_AREA])
    highest = planes.max(axis=0)
    means = np.bincount(numbered.ravel(), highest.ravel(), count) / stats[:, cv2.CC_STAT_AREA] / 255
    np.testing.assert_allclose(regions.features[:, 0], [log_odds(each) for each in means[numbers]])


@pytest.mark.parametrize(("area", "kept"), [(19, True), (20, True), (21, False)])
def test_least_area_of_the_bundle(area: int, kept: bool) -> None:
    planes = np.zeros((1, 30, 30), np.uint8)
    planes[0, 3:7, 3:8] = 200
    assert decided(planes, point(area=area))[0].any() == kept


@pytest.mark.parametrize(
    ("least", "kept"),
    [
        ({}, True),
        ({"min_area_px": 20}, True),
        ({"min_area_px": 21}, False),
        ({"min_area_mm2": 0.05, "pixel_pitch_mm": 0.05}, True),
        ({"min_area_mm2": 0.0501, "pixel_pitch_mm": 0.05}, False),
        ({"min_area_mm2": 1e308, "pixel_pitch_mm": 1e-6}, False),
        ({"min_area_px": 2**31}, False),
        ({"min_area_mm2": 0.0, "pixel_pitch_mm": 0.05}, True),
    ],
)
def test_least_area_of_a_recipe(inspector: Inspector, least: dict[str, float], kept: bool) -> None:
    data = png(tiny_picture(60, 60, dark=(20, 30, 5, 4)))
    found = inspector.inspect(data, Recipe.model_validate({"name": "least"} | least))
    assert [each.area_px for each in found.defects] == ([20] if kept else [])
    assert found.verdict == ("fail" if kept else "review"), "the head still sees what is too small"
    if not kept:
        assert [each.rule for each in found.reasons] == ["head_without_mask"]


def test_recipe_can_also_lower_the_least_area(inspector: Inspector) -> None:
    data = png(tiny_picture(60, 60, dark=(20, 30, 1, 1)))
    assert not inspector.inspect(data).label_map.any()
    assert len(inspector.inspect(data, Recipe(name="specks", min_area_px=1)).defects) == 1
    assert len(inspector.inspect(data, Recipe(name="z", min_area_mm2=0.0, pixel_pitch_mm=1.0)).defects) == 1


def test_least_area_of_a_recipe_is_that_of_the_operating_point_in_force(inspector: Inspector) -> None:
    own = inspector.session.artifact.operating_point
    assert inspector.operating_point(Recipe(name="own", min_area_px=own.min_area_px)) == own
    other = inspector.operating_point(Recipe(name="other", min_area_mm2=2.0, pixel_pitch_mm=0.5))
    assert other.min_area_px == 8
    assert other.expected is None, "the rates were measured with another least area"
    assert other.dice_interval is None
    assert (other.image_threshold, other.regions) == (own.image_threshold, own.regions)


@pytest.fixture(scope="module")
def wavering(tmp_path_factory: pytest.TempPathFactory) -> Inspector:
    """An inspector of four classes whose dark and light ones meet in the greys between them."""
    directory = write_tiny_bundle(tmp_path_factory.mktemp("wavering"), ("a", "b", "c", "d"))
    manifest = json.loads((directory / "bundle.json").read_text())
    changes = {"pixel_threshold": 0.3, "image_threshold": 0.85, "head_threshold": 0.95}
    manifest["artifacts"][0]["operating_point"] |= changes
    (directory / "bundle.json").write_text(json.dumps(manifest))
    return Inspector.load(directory, "cpu", 1)


def test_defect_of_two_greys_is_one_defect(wavering: Inspector) -> None:
    picture = tiny_picture(60, 60, dark=(20, 20, 12, 12))
    picture[26:30, 20:32] = 50  # black is `a`, dark grey `c`
    (defect,) = wavering.inspect(png(picture)).defects
    assert (defect.defect_class, defect.runner_up, defect.area_px) == ("a", "c", 144)


def box(x: int, y: int, width: int, height: int) -> tuple[tuple[float, float], ...]:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def patched(rng: np.random.Generator) -> Pixels:
    """Middle grey with up to four patches of changing greys, uint8 [80, 90]."""
    picture = tiny_picture(80, 90)
    for _ in range(rng.integers(0, 5)):
        (height, width), (y, x) = rng.integers(2, 25, 2), rng.integers(0, 56, 2)
        picture[y : y + height, x : x + width] = blotches(rng, (int(height), int(width)), mean=40)
    return picture


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 60), st.booleans(), st.booleans())
def test_verdict_follows_from_mask_and_recipe_also_where_polygons_cut_regions(
    wavering: Inspector, seed: int, area: int, limit: int, cut: bool, zoned: bool
) -> None:
    zone = Zone(
        polygon_px=box(20, 10, 37, 45),
        other=Limits(max_area_px=4.0 * limit),
        review=ExtraRules(other=Limits(max_count=2)),
    )
    recipe = Recipe(
        name="cut",
        min_area_px=area,
        roi=[Region(polygon_px=box(5, 7, 50, 60)), Region(polygon_px=box(50, 30, 40, 40))] if cut else [],
        ignore=[Region(polygon_px=box(30, 20, 9, 33))] if cut else [],
        zones={"middle": zone} if zoned else {},
        limits={"a": Limits(max_area_px=6.0 * limit)},
        other=Limits(max_count=limit // 6, max_length_px=float(limit)),
        border="review",
    )
    found = wavering.inspect(png(patched(np.random.default_rng(seed))), recipe)
    again = find(found.label_map, None, found.classes, recipe)
    head, dice = (found.unexplained_probability, found.head_threshold), found.estimated_dice.any_defect
    doubts = doubts_about(*head, dice, recipe)
    severities = wavering.bundle.severities
    assert judge(again, recipe, severities, doubts) == (found.verdict, found.reasons)
    assert [each.bbox for each in again.defects] == [each.bbox for each in found.defects]
    assert all(each.probability is not None for each in found.defects)
    assert all((each.probability or 0) >= found.image_threshold for each in found.defects)


def test_specks_of_a_long_frame_take_little_memory() -> None:
    height, width = 8192, 2048
    planes = np.zeros((1, height, width), np.uint8)
    planes[0, ::2, ::2] = 200  # four million, all below the least area
    planes[0, 1::64, 1:1000:64] = 200  # of these each joins four to one that is not
    at = point(area=5)
    marks = marks_of(planes, at)
    tracemalloc.start()
    try:
        regions = form_regions(marks, planes[0], (), at)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(regions) == 128 * 16
    assert np.count_nonzero(marks.label_map) == 5 * 128 * 16
    assert peak < 8 * height * width


def test_forming_regions_ends_when_told() -> None:
    planes = np.zeros((1, 200, 200), np.uint8)
    planes[0, ::4, ::4] = 200
    at = point()
    calls: list[None] = []
    form_regions(marks_of(planes, at), planes[0], (), at, lambda: calls.append(None))
    assert len(calls) > 10
    with pytest.raises(IndexError, match="pop from empty list"):
        form_regions(marks_of(planes, at), planes[0], (), at, calls[1:].pop)


def test_regions_are_found_by_any_of_their_pixels(tmp_path: Path) -> None:
    highest = blotches(np.random.default_rng(5), (50, 70))
    label_map = (highest > 130).astype(np.uint8)
    regions = formed(highest, label_map, highest, ())
    _, numbered = cv2.connectedComponents(label_map, connectivity=8)
    rows, columns = np.nonzero(label_map)
    found = regions.at(rows, columns)
    pairs = set(zip(found.tolist(), numbered[rows, columns].tolist(), strict=True))
    assert len(pairs) == len(regions) == numbered.max()
    kept = regions.only(np.arange(len(regions)) % 3 == 0)
    rows, columns = kept.runs.row, kept.runs.last
    np.testing.assert_array_equal(kept.at(rows, columns), kept.runs.region)

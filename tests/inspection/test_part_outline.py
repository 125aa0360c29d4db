"""The part's outline in an image: found or not, shrunk by a margin, and in the place of `roi: part`."""

import time
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.errors import RecipeDoesNotFit, RecipeInvalid
from app.inspection.measuring.findings import find
from app.inspection.measuring.part_outline import find_outline, inset, locate, part_doubts, part_of, with_part
from app.inspection.measuring.regions import rasterise, scope_of
from app.inspection.results import Part, Polygon
from app.inspection.rules.geometry import PartRule
from app.inspection.rules.recipe import PartRoi, Recipe, parse_recipe
from app.inspection.rules.verdict import judge
from training.data.synthesis.tiles import CLASSES, generate_tile

Image = NDArray[np.uint8]
PART = Recipe(name="part", roi=PartRoi(part=PartRule()))
BOX = (slice(20, 100), slice(30, 180))  # rows and columns of the part


def part_image(part: int = 120, background: int = 12, noise: int = 8) -> Image:
    """A grained part at BOX of an image of 200 x 120 px."""
    image = np.full((120, 200), background, dtype=np.float64)
    image[BOX] = part
    return (
        (image + np.random.default_rng(0).integers(-noise, noise + 1, image.shape))
        .clip(0, 255)
        .astype(np.uint8)
    )


def pixels(outline: Polygon | None, image: Image) -> NDArray[np.bool_]:
    assert outline is not None
    return rasterise(np.array(outline), (image.shape[0], image.shape[1]))


def found(image: Image, rule: PartRule | None = None) -> Part:
    part = locate(image, of_rule(rule or PartRule()))
    assert part is not None
    return part


def expected(shape: tuple[int, int] = (120, 200), margin: int = 0) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=np.bool_)
    rows, columns = BOX
    inside[rows.start + margin : rows.stop - margin, columns.start + margin : columns.stop - margin] = True
    return inside


@pytest.mark.parametrize("background", ["dark", "bright"])
@pytest.mark.parametrize("channels", [1, 3])
def test_part_is_found_to_a_pixel(background: str, channels: int) -> None:
    image = part_image() if background == "dark" else part_image(part=90, background=235)
    sent = image if channels == 1 else np.repeat(image[..., None], 3, axis=2)
    part = found(sent, PartRule.model_validate({"background": background}))
    differs = pixels(part.outline, image) ^ expected()
    assert part.found
    assert not cv2.erode(differs.astype(np.uint8), np.ones((3, 3), np.uint8)).any(), "nowhere 3 px wide"
    assert differs.mean() < 0.005
    assert part.share == pytest.approx(expected().mean(), abs=0.005)


@pytest.mark.parametrize("exposure", [0.3, 0.6, 1.0, 1.8])
def test_outline_does_not_depend_on_the_exposure(exposure: float) -> None:
    for seed in range(4):
        tile, _ = generate_tile(seed, None, (240, 320))
        exposed = (tile * exposure).clip(0, 255).astype(np.uint8)
        both = [pixels(find_outline(each)[0], tile) for each in (tile, exposed)]
        assert (both[0] ^ both[1]).mean() < 0.015


def test_uneven_light_cuts_nothing_off() -> None:
    image = part_image(part=200, background=4)
    light = np.linspace(0.4, 1, image.shape[1])
    kept = pixels(find_outline((image * light).astype(np.uint8))[0], image)
    assert (expected() & ~kept).mean() < 0.005


def test_image_without_background_is_all_part() -> None:
    image = part_image()[BOX]
    outline, share = find_outline(np.ascontiguousarray(image))
    assert share == 1
    assert pixels(outline, image).all()
    assert inset(outline or (), (80, 150), 9) == outline, "its sides are the image's border"


def test_bite_out_of_a_side_and_dark_places_are_inside() -> None:
    image = part_image()
    image[20:45, 90:120] = 12  # a break
    image[60:80, 60:90] = 0  # a dark defect
    image[20:100, 140:143] = 0  # a crack that cuts the part in two
    assert (expected() & ~pixels(found(image).outline, image)).mean() < 0.005


def test_dirt_beside_the_part_is_outside() -> None:
    image = part_image()
    image[4:9, 4:9] = 120
    assert not pixels(found(image).outline, image)[:12, :12].any()


@pytest.mark.parametrize("defect", CLASSES)
def test_no_generated_defect_is_lost(defect: str) -> None:
    for seed in range(12):
        tile, labels = generate_tile(seed, defect, (200, 260))
        inside = pixels(find_outline(tile)[0], tile)
        count, regions = cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)
        assert all(inside[regions == number].any() for number in range(1, count))


@pytest.mark.parametrize("margin", [1, 7, 25])
def test_margin_is_taken_off_all_sides_but_the_images_own(margin: int) -> None:
    image = part_image()
    inside, outline = found(image, PartRule(margin_px=margin)).judged, found(image).outline
    depth = cv2.distanceTransform(pixels(outline, image).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    differs = pixels(inside, image) ^ (depth > margin)
    assert differs.mean() < 0.01
    cut = np.ascontiguousarray(image[:, 60:])  # the part goes on beyond the left border
    assert pixels(found(cut, PartRule(margin_px=margin)).judged, cut)[60, 0]


def test_margin_in_mm_and_one_that_leaves_nothing() -> None:
    in_mm = parse_recipe("name: a\npixel_pitch_mm: 0.1\nroi: {part: {margin_mm: 0.7}}", "a")
    assert locate(part_image(), in_mm) == found(part_image(), PartRule(margin_px=7))
    with pytest.raises(RecipeDoesNotFit, match="the margin leaves nothing of the part"):
        found(part_image(), PartRule(margin_px=40.5))


def dark() -> Image:
    return np.random.default_rng(0).integers(0, 15, (120, 200), dtype=np.uint8)


def half_grey() -> Image:
    """A wide stretch between background and part, which may be either."""
    image = np.full((120, 200), 140, dtype=np.uint8)
    image[:, :20], image[:, 20:100] = 5, 45
    return image


def tiny_part() -> Image:
    image = np.full((120, 200), 5, dtype=np.uint8)
    image[40:90, 60:140] = 200
    return image


@pytest.mark.parametrize("image", [dark(), half_grey(), tiny_part()], ids=["dark", "half grey", "tiny part"])
def test_part_that_is_not_found_is_a_review(image: Image) -> None:
    part = found(image)
    assert (part.found, part.outline, part.judged) == (False, None, None)
    (reason,) = part_doubts(part, PART)
    assert (reason.rule, reason.verdict, reason.limit) == ("part_not_found", "review", 0.25)
    recipe = with_part(PART, part)
    for value in (0, 1):  # whether or not there is a defect
        label_map = np.zeros(image.shape, dtype=np.uint8)
        label_map[5, 5] = value
        findings = find(label_map, None, ("crack",), recipe)
        assert len(findings.defects) == value
        assert judge(findings, recipe, {"crack": "major"}, (), (reason,))[0] == "review"


def test_recorded_outline_serves_other_margins_and_shares() -> None:
    recorded = found(part_image(), PartRule(margin_px=9))
    for rule in (PartRule(), PartRule(margin_px=3), PartRule(min_share=0.6)):
        again = part_of(recorded.outline, recorded.share, of_rule(rule), (120, 200))
        assert again == found(part_image(), rule)
    assert part_of(recorded.outline, recorded.share, Recipe(name="a"), (120, 200)) is None


def test_share_of_the_image_is_limited_both_ways() -> None:
    share = found(part_image()).share
    for rule, limit in ((PartRule(min_share=0.6), 0.6), (PartRule(max_share=0.4), 0.4)):
        part, recipe = found(part_image(), rule), of_rule(rule)
        (reason,) = part_doubts(part, recipe)
        assert (part.found, reason.measured, reason.limit) == (False, share, limit)


def of_rule(rule: PartRule) -> Recipe:
    return PART.model_copy(update={"roi": PartRoi(part=rule)})


def test_ignore_holds_inside_the_part() -> None:
    recipe = parse_recipe(
        "name: a\nroi: part\nignore: [{polygon_px: [[0, 0], [60, 0], [60, 120], [0, 120]]}]", "a"
    )
    scope = scope_of((120, 200), with_part(recipe, locate(part_image(), recipe)))
    assert scope.mask is not None
    pixels = scope.mask.pixels(0, 120)
    assert not pixels[:, :60].any()
    assert pixels[50, 61]


def test_recipe_without_its_part_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the part that was found"):
        with_part(PART, None)
    with pytest.raises(ValueError, match="needs the part of this image"):
        find(np.zeros((9, 9), dtype=np.uint8), None, ("crack",), PART)
    other = Recipe(name="a")
    assert with_part(other, None) is other
    assert locate(part_image(), other) is None
    assert part_doubts(replace(found(part_image()), found=False), other) == ()


@pytest.mark.parametrize("shape", [(2048, 8192), (2048, 8192, 3), (16000, 64)])
def test_large_image_takes_little_time_and_memory(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 130, dtype=np.uint8)
    image[:100] = image[-200:] = 6
    tracemalloc.start()
    began = time.process_time()
    outline, _ = find_outline(image)
    taken, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outline is not None
    top, bottom = min(y for _, y in outline), max(y for _, y in outline)
    step = max(shape) / 1024
    assert abs(top - 99.5) <= 2 * step
    assert abs(bottom - (shape[0] - 200.5)) <= 2 * step
    assert taken < 1
    assert most < 40e6, "a few copies of 1024 px a side"


@pytest.mark.parametrize("side", [1, 2, 7])
def test_smallest_images(side: int) -> None:
    assert find_outline(np.full((side, side), 90, dtype=np.uint8))[1] == 1


def test_forms_of_the_recipe() -> None:
    short = parse_recipe("name: part\nroi: part", "a")
    assert short == PART == parse_recipe('{"name": "part", "roi": "part"}', "a")
    assert short == Recipe.model_validate_json(short.model_dump_json())
    wide = parse_recipe("name: a\nroi: {part: {margin_px: 8, background: bright, max_share: 0.9}}", "a")
    assert wide.roi == PartRoi(part=PartRule(margin_px=8, background="bright", max_share=0.9))


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ("prat", r"line 2: roi: must be a list of polygons, `part`, or `\{part: \{...\}\}`"),
        ("{part: {margin: 8}}", r"line 2: roi\.part\.margin: Extra inputs are not permitted"),
        ("\n  part:\n    margin_px: -1", r"line 4: roi\.part\.margin_px: Input should be greater"),
        ("{part: {margin_mm: 1}}", r"line 2: roi\.part\.margin_mm: is in mm, but there is no pixel_pitch_mm"),
        ("{part: {margin_px: 1, margin_mm: 1}}", r"roi\.part: has two margins"),
        ("{part: {min_share: 0.9, max_share: 0.5}}", r"roi\.part: min_share is above max_share"),
        ("\n  - polygon_px: [[0, 0]]", r"line 3: roi\.0\.polygon_px: Value should have at least 3 items"),
    ],
)
def test_faults_name_line_and_field(roi: str, message: str) -> None:
    with pytest.raises(RecipeInvalid, match=message):
        parse_recipe(f"name: a\nroi: {roi}", "a")

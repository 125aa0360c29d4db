"""Generated defects on good images: exact masks, equal exposure, places kept, implausible ones dropped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.config import ConfigError
from training.data.layouts.folder import read_folder
from training.data.layouts.magnetic_tile import read_magnetic_tile, write_generated
from training.data.pictures import load_pictures
from training.data.sample import Bits, Dataset, DatasetError, Pixels, class_mask
from training.transplant.blend import FEATHER_PX, Way, blend, changed, filled
from training.transplant.candidates import Generator
from training.transplant.crops import Crops, around, clean_crops, real_crops
from training.transplant.donors import Donor, Marked, Sides, cut_donors, regions, shown_classes
from training.transplant.measure import ARMS, Study, measure_transplants
from training.transplant.plausibility import Features, frozen_encoder, screen
from training.transplant.transplant import TransplantSettings, transplant, transplanted_images
from training.transplant.write import write_transplants

WAYS: tuple[Way, ...] = ("normal", "mixed", "reflectance")
ALONE = TransplantSettings(quantile=None)


def surface(seed: int, grey: float = 120, shape: tuple[int, int] = (120, 160)) -> Pixels:
    """Even surface with a little grain."""
    grain = np.random.default_rng(seed).normal(0, grey / 50, shape)
    return np.asarray(np.clip(cv2.GaussianBlur(grain, (0, 0), 0.7) + grey, 0, 255), np.uint8)


def with_spot(
    seed: int, centre: tuple[int, int], grey: float = 120, number: int = 1, radius: int = 8
) -> Marked:
    """Surface with a round spot of 0.4 times its brightness, marked exactly; `centre` is (x, y)."""
    spot = np.zeros((120, 160), np.uint8)
    cv2.circle(spot, centre, radius, 1, cv2.FILLED)
    pixels = np.where(spot > 0, surface(seed, grey) * 0.4, surface(seed, grey)).astype(np.uint8)
    return Marked(pixels, (spot.astype(np.uint16) << (number - 1)).astype(np.uint16), f"part-{seed}")


def levels(pictures: Sequence[Pixels]) -> Features:
    """A description of images that needs no network: how bright they are, and how evenly."""
    return np.array([[each.mean(), each.std(), each.min(), each.max()] for each in pictures], np.float32)


def test_donors_are_single_defects_and_know_the_sides_they_reach() -> None:
    inside, corner = with_spot(1, (80, 60)), with_spot(1, (0, 119), number=3)
    picture = Marked(np.minimum(inside.pixels, corner.pixels), inside.bits | corner.bits, "part")
    first, second = cut_donors([picture])
    assert [shown_classes(each.bits) for each in (first, second)] == [[1], [3]]
    assert first.sides == Sides(False, False, False, False)
    assert second.sides == Sides(top=False, right=False, bottom=True, left=True)
    assert not (first.clean & (first.bits > 0)).any()


def test_interrupted_cracks_are_one_defect_and_specks_none() -> None:
    bits = np.zeros((60, 60), np.uint16)
    bits[10, 5:20] = bits[10, 22:40] = 1
    bits[50, 50] = 1
    (crack,) = regions(bits)
    assert np.count_nonzero(crack) == 33


@pytest.mark.parametrize("seed", range(12))
def test_varied_donors_stay_at_the_sides_they_reach(seed: int) -> None:
    donor = cut_donors([with_spot(1, (0, 60))])[0]
    varied = donor.varied(np.random.default_rng(seed))
    mask = varied.bits > 0
    edges = [bool(line.any()) for line in (mask[0], mask[:, -1], mask[-1], mask[:, 0])]
    assert edges == list(varied.sides)
    assert sum(edges) == 1
    assert varied.pixels[mask].mean() < 0.6 * varied.pixels[varied.clean].mean()


def test_a_defect_from_side_to_side_is_stretched_and_one_too_large_refused() -> None:
    bits = np.zeros((120, 160), np.uint16)
    bits[60:70] = 1
    donor = cut_donors([Marked(surface(1), bits, "part")])[0]
    fitted = donor.fitted((200, 180))
    assert fitted is not None
    assert fitted.pixels.shape[1] == 180
    assert donor.fitted((200, 320)) is None
    assert donor.fitted((20, 160)) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exposure", [60, 120, 200])
def test_blends_match_the_exposure_and_change_nothing_beyond_the_feather(way: Way, exposure: float) -> None:
    donor = cut_donors([with_spot(1, (80, 60))])[0]
    host = surface(2, exposure, (donor.pixels.shape[0], donor.pixels.shape[1]))
    blended = blend(host, donor, way)
    mask = donor.bits > 0
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    np.testing.assert_array_equal(blended[distance > FEATHER_PX + 1], host[distance > FEATHER_PX + 1])
    core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert 0.25 < blended[core].mean() / exposure < 0.55  # 0.4 on its own surface
    seen = changed(host, blended)
    assert seen[mask].all()
    assert not seen[distance > FEATHER_PX + 3].any()


@pytest.mark.parametrize("way", WAYS)
def test_clean_surface_blends_in_unseen(way: Way) -> None:
    donor = cut_donors([with_spot(1, (80, 60))])[0]
    plain = replace(donor, pixels=surface(1, 80, (donor.pixels.shape[0], donor.pixels.shape[1])))
    host = surface(2, 160, (donor.pixels.shape[0], donor.pixels.shape[1]))
    difference = cv2.blur(blend(host, plain, way).astype(np.float32) - host, (7, 7))
    assert np.abs(difference).max() < 8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "area", [np.s_[:, :], np.s_[0, 0], np.s_[3:, :], np.s_[:, -1], np.s_[1:-1, 1:-1], np.s_[6:-6, 6:-6]]
)
@pytest.mark.parametrize("shape", [(20, 30), (13, 13), (2, 2), (1, 40)])
def test_blending_at_borders_never_fails(way: Way, area: tuple[slice, slice], shape: tuple[int, int]) -> None:
    bits = np.zeros(shape, np.uint16)
    bits[area] = 1
    donor = Donor(surface(1, 50, shape), bits, bits == 0, Sides(True, True, True, True), "part")
    blended = blend(surface(2, 200, shape), donor, way)
    assert blended.shape == shape
    assert blended.dtype == np.uint8


def test_filled_surface_goes_on_as_around() -> None:
    ramp = np.tile(np.linspace(50, 200, 100), (80, 1)).astype(np.uint8)
    known = np.ones(ramp.shape, bool)
    known[30:50, 40:60] = False
    spoilt = np.where(known, ramp, 0).astype(np.uint8)
    assert np.abs(filled(spoilt, known) - ramp).max() < 12
    assert np.allclose(filled(ramp, np.zeros(ramp.shape, bool)), ramp.mean())


def test_candidates_show_where_their_bits_are_and_leave_the_good_pictures_alone() -> None:
    good = [surface(seed, grey) for seed, grey in ((10, 110), (11, 140))]
    before = [each.copy() for each in good]
    donors = cut_donors([with_spot(1, (80, 60)), with_spot(2, (40, 40), number=2)])
    for number, candidate in Generator(good, donors, {}, seed=3).candidates(range(10)):
        mask = candidate.bits > 0
        assert shown_classes(candidate.bits) == [1 + number % 2]  # classes in turn
        assert candidate.group == f"part-{1 + number % 2}"
        difference = np.abs(candidate.pixels.astype(int) - good[candidate.host])
        assert difference[mask].mean() > 30
        far = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) == 0
        assert not difference[far].any()
    assert all(np.array_equal(*pair) for pair in zip(good, before, strict=True))


def test_a_defect_at_the_edge_of_its_part_goes_to_an_edge() -> None:
    donors = cut_donors([with_spot(1, (159, 60))])
    for _, candidate in Generator([surface(10)], donors, {}, seed=3).candidates(range(10)):
        inside = candidate.bits[1:-1, 1:-1]
        assert np.count_nonzero(inside) < np.count_nonzero(candidate.bits)


def test_defects_go_where_exposure_and_grain_are_alike() -> None:
    rough = np.asarray(np.clip(np.random.default_rng(0).normal(120, 40, (120, 160)), 0, 255), np.uint8)
    good = [surface(10, 30), surface(11, 120), rough]
    made = Generator(good, cut_donors([with_spot(1, (80, 60))]), {}, seed=3).candidates(range(10))
    assert [candidate.host for _, candidate in made].count(1) >= 9


def test_what_does_not_fit_or_does_not_show_is_not_made() -> None:
    donors = cut_donors([with_spot(1, (80, 60))])
    assert Generator([surface(10, shape=(20, 20))], donors, {}, seed=3).candidate(0) is None
    invisible = [replace(donor, pixels=surface(1, 120, (49, 49))) for donor in donors]
    assert invisible[0].pixels.shape == donors[0].pixels.shape
    assert Generator([surface(10, shape=(120, 160))], invisible, {}, seed=3).candidate(0) is None


def crops(spot: float, number: int, first: int) -> Crops:
    """Squares of spots with that levels, each of its own part."""
    pixels = []
    for seed in range(first, first + number):
        square = surface(seed, shape=(64, 64))
        cv2.circle(square, (32, 32), 12, (spot,), cv2.FILLED)
        pixels.append(square)
    return Crops(pixels, [f"part-{seed}" for seed in range(first, first + number)])


@pytest.mark.parametrize("real", [5, 10, 40])
def test_the_filter_drops_what_no_real_defect_looks_like(real: int) -> None:
    generated = crops(40, 30, 1000).joined(crops(240, 30, 2000))
    seen = screen(crops(40, real, 0), generated, crops(120, 60, 3000), levels, 0.1)
    assert seen.refusal is None
    assert seen.real == seen.groups == real
    assert seen.plausible[:30].mean() > 0.5
    assert not seen.plausible[30:].any()
    assert seen.auroc_good is not None
    assert seen.auroc_good > 0.95


def test_the_filter_says_where_it_cannot_judge_and_drops_nothing() -> None:
    generated, good = crops(40, 10, 1000), crops(120, 60, 3000)
    few = screen(crops(40, 4, 0), generated, good, levels, 0.1)
    assert few.refusal is not None
    assert "4 real defects of 4 parts are too few" in few.refusal
    assert few.plausible.all()
    alike = crops(40, 8, 0)
    one_part = screen(Crops(alike.pixels, ["part"] * 8), generated, good, levels, 0.1)
    assert one_part.refusal is not None
    hidden = screen(crops(120, 60, 0), generated, good, levels, 0.1)
    assert hidden.refusal is not None
    assert "hardly differ from good surface" in hidden.refusal


def test_crops_lie_in_their_picture_and_clean_ones_show_no_defect() -> None:
    pictures = [with_spot(seed, (150, 110)) for seed in range(20)]
    assert {crop.shape for crop in real_crops(pictures).pixels} == {(64, 64)}
    assert all(crop.min() < 70 for crop in real_crops(pictures).pixels)
    clean = clean_crops(pictures, seed=1)
    assert len(clean.pixels) > 15
    assert all(crop.min() > 70 for crop in clean.pixels)
    assert around(surface(1, shape=(40, 30)), np.ones((40, 30), bool)).shape == (40, 30)


def made_of(seed: int, settings: TransplantSettings | None = None) -> list[tuple[Pixels, Bits]]:
    good = [surface(100 + n, 100 + 4 * n) for n in range(10)]
    defective = [with_spot(n, (30 + 9 * n, 60), 100 + 4 * n, 1 + n % 2) for n in range(10)]
    return transplant(good, defective, 12, seed, settings, levels).images


@pytest.mark.parametrize("settings", [None, ALONE])
def test_the_same_seed_gives_the_same_transplants(settings: TransplantSettings | None) -> None:
    first, second, other = made_of(1, settings), made_of(1, settings), made_of(2, settings)
    assert len(first) == 12
    assert all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True)
    )
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=False))
    assert all(pixels.dtype == np.uint8 and bits.dtype == np.uint16 and bits.any() for pixels, bits in first)


def test_what_was_dropped_is_counted() -> None:
    good = [surface(100 + n) for n in range(5)]
    made = transplant(good, [with_spot(n, (60, 60)) for n in range(8)], 10, 1, None, levels)
    assert made.screening is not None
    assert made.candidates == len(made.screening.plausible) == 30 - made.unplaced
    assert f"{made.candidates - made.screening.plausible.sum()} dropped as implausible" in made.summary()
    assert f"{len(made.images)} kept" in made.summary()


def test_without_masks_defects_are_drawn() -> None:
    made = transplant([surface(1)], [], 6, 1, TransplantSettings(drawn={"scratch": 2, "pit": 5}), levels)
    assert [shown_classes(bits) for _, bits in made.images] == [[2], [5]] * 3
    assert "without a filter: 0 real defects of 0 parts are too few" in made.summary()


def test_nothing_to_make_defects_from_is_refused() -> None:
    with pytest.raises(ValueError, match="this needs good images and either marked defects"):
        transplant([surface(1)], [], 5, 1)
    with pytest.raises(ValueError, match="good images and either"):
        transplant([], [with_spot(1, (60, 60))], 5, 1)
    with pytest.raises(ValueError, match="rust cannot be drawn; known classes: scratch"):
        transplant([surface(1)], [], 5, 1, TransplantSettings(drawn={"rust": 1}))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("tiles") / "set"
    write_generated(root, 60, seed=3)
    return read_magnetic_tile(root)


def test_written_transplants_are_read_back(tiles: Dataset, tmp_path: Path) -> None:
    made = write_transplants(tmp_path / "out", tiles, 6, 1, ALONE)
    read = read_folder(tmp_path / "out")
    assert len(read.samples) == len(made.images)
    written = {pixels.tobytes(): bits for pixels, bits in made.images}
    for sample in read.samples:
        pixels = sample.pixels()
        bits = sample.class_bits((pixels.shape[0], pixels.shape[1]))
        assert bits is not None
        number = 1 + read.classes.index(sample.picture_class)
        marked = written[pixels.tobytes()] > 0
        np.testing.assert_array_equal(class_mask(bits, number), marked)
    with pytest.raises(DatasetError, match="exists already"):
        write_transplants(tmp_path / "out", tiles, 6, 1, ALONE)
    with pytest.raises(DatasetError, match="no defect can be generated"):
        write_transplants(tmp_path / "none", Dataset(tiles.classes, []), 6, 1, ALONE)
    assert not (tmp_path / "none").exists()


def test_transplants_join_the_pictures_of_a_training_split(
    tiles: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = load_pictures(tiles.samples, 0.5)
    made = transplanted_images(tiles.samples, pictures, 5, 1, ALONE)
    assert made.strata == [min(shown_classes(each.bits)) for each in made if each.bits is not None]
    assert {each.pixels.shape for each in made} <= {each.pixels.shape for each in pictures}
    assert "5 kept without a filter" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="no defect can be transplanted"):
        transplanted_images([], [], 5, 1, ALONE)


@pytest.mark.slow
def test_the_study_compares_all_arms_on_the_same_folds(tiles: Dataset) -> None:
    figures = measure_transplants(tiles, Study(share=0.4, count=6, folds=2), levels, levels)
    assert set(figures["auroc"]) == set(ARMS)
    assert len(figures["folds"]) == 2
    for fold in figures["folds"]:
        assert 0 < fold["few"]["pictures"] < fold["all"]["pictures"]
        assert all(0 <= value <= 1 for value in fold["auroc"].values())
    assert len(figures["gain_over_few_real"]["all real"]) == 2
    with pytest.raises(ConfigError, match="a share between 0 and 1"):
        measure_transplants(tiles, Study(share=1.0), levels, levels)


def test_frozen_features_tell_pictures_apart() -> None:
    embed = frozen_encoder(64)
    rows = embed([surface(1), surface(1), with_spot(1, (80, 60)).pixels])
    assert rows.shape == (3, 944)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 0.1

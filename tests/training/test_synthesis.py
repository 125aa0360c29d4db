"""The generated surfaces: deterministic, drawn by index, exactly masked, visibly defective."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.benchmarks import synthesis as benchmark
from training.data.registry import read_dataset
from training.data.sample import Bits, DatasetError, Pixels, Size
from training.data.synthesis import writer
from training.data.synthesis.defects import (
    DEFECTS,
    EDGE_PX,
    LEAST_GREY_LEVELS,
    MIN_SIDE_PX,
    draw_defect,
    least_change,
)
from training.data.synthesis.generator import SurfaceSet, generate_surface, surfaces
from training.data.synthesis.noise import Flags
from training.data.synthesis.shapes import LEAST_WIDTH_PX, MOST_SHARE
from training.data.synthesis.surfaces import SURFACES
from training.data.synthesis.writer import write_surfaces

SIZE = (128, 160)
SEEDS = range(12)
REACH = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)


def changes(good: Pixels, defective: Pixels, mask: Flags) -> float:
    """Root mean square of the change in the mask, in grey levels."""
    return float(np.sqrt(np.mean(np.square(defective[mask].astype(float) - good[mask]))))


def as_mask(bits: Bits) -> Flags:
    return np.asarray(bits > 0)


# one image


@pytest.mark.parametrize("defect_class", [*DEFECTS, None])
def test_a_seed_gives_the_same_picture_again(defect_class: str | None) -> None:
    first, again, other = (generate_surface(seed, defect_class, size=SIZE) for seed in (7, 7, 8))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("size", [(256, 256), (MIN_SIDE_PX, 100), (150, 47)])
def test_shape_and_type(surface: str, size: Size) -> None:
    pixels, bits = generate_surface(3, "pit", surface, size)
    assert pixels.dtype == np.uint8
    assert bits.dtype == np.uint16
    assert pixels.shape == bits.shape == size
    assert pixels.std() > 0.5


@pytest.mark.parametrize("number", range(len(DEFECTS)))
def test_a_mask_holds_the_bit_of_its_class_and_good_ones_none(number: int) -> None:
    for seed in SEEDS:
        assert set(np.unique(generate_surface(seed, DEFECTS[number], size=SIZE)[1])) == {0, 1 << number}
    assert not generate_surface(1, None, size=SIZE)[1].any()


@pytest.mark.parametrize("defect_class", DEFECTS)
def test_a_defect_changes_the_surface_visibly_in_its_mask_and_nowhere_else(defect_class: str) -> None:
    contrasts = []
    for seed in range(24):
        good, _ = generate_surface(seed, None, size=SIZE)
        defective, bits = generate_surface(seed, defect_class, size=SIZE)
        mask = as_mask(bits)
        untouched = cv2.dilate(mask.astype(np.uint8), REACH) == 0
        assert np.array_equal(good[untouched], defective[untouched])
        assert changes(good, defective, mask) >= LEAST_GREY_LEVELS
        count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
        for piece in range(1, count):
            assert changes(good, defective, pieces == piece) >= LEAST_GREY_LEVELS / 2
        contrasts.append(changes(good, defective, mask) / least_change(good, mask))
    assert min(contrasts) > 0.95  # the floor is taken before pieces that cannot be seen are left out
    assert min(contrasts) < 2 < max(contrasts)  # subtle ones exist, and plain ones


@pytest.mark.parametrize("defect_class", DEFECTS)
def test_defects_are_from_three_pixels_wide_to_a_third_of_the_picture(defect_class: str) -> None:
    shares = []
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (LEAST_WIDTH_PX, LEAST_WIDTH_PX))
    picture = np.full((192, 192), 120, np.uint8)
    for seed in range(40):
        mask = draw_defect(np.random.default_rng(seed), picture, defect_class)[1].astype(np.uint8)
        assert np.array_equal(mask, cv2.morphologyEx(mask, cv2.MORPH_OPEN, cross))  # nowhere thinner
        shares.append(mask.mean())
    assert min(shares) < 0.02
    assert max(shares) <= MOST_SHARE
    assert max(shares) > 5 * min(shares)


def test_surfaces_differ_in_brightness_contrast_and_fineness() -> None:
    for surface in SURFACES:
        pictures = [generate_surface(seed, None, surface, SIZE)[0].astype(np.float32) for seed in range(24)]
        means = [picture.mean() for picture in pictures]
        fine = [np.std(picture - cv2.GaussianBlur(picture, (0, 0), 1)) for picture in pictures]
        assert max(means) - min(means) > 60
        assert max(fine) > 2 * min(fine)


def test_good_surfaces_bear_marks_and_neither_they_nor_brightness_give_the_defect_away() -> None:
    """A threshold on the strongest local contrast or on brightness tells good from defective badly."""
    seeds = range(40)
    good = [generate_surface(seed, None, size=SIZE)[0] for seed in seeds]
    bad = [generate_surface(1_000 + seed, DEFECTS[seed % len(DEFECTS)], size=SIZE)[0] for seed in seeds]

    def strongest(picture: Pixels) -> float:
        grey = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 2)
        return float(np.abs(grey - cv2.blur(grey, (41, 41))).max())

    for feature in (strongest, np.mean, np.std):
        pairs = [float(feature(b)) > float(feature(g)) for g in good for b in bad]
        assert 0.25 < np.mean(pairs) < 0.8  # area under the ROC curve


# onto a given image


def checkered() -> Pixels:
    return np.asarray(255 * (np.indices((96, 96)) // 12).sum(0) % 2, np.uint8) * np.uint8(255)


@pytest.mark.parametrize("defect_class", DEFECTS)
@pytest.mark.parametrize(
    "pixels",
    [np.zeros((64, 64), np.uint8), np.full((40, 300), 255, np.uint8), checkered(),
     np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)],
    ids=["black", "white", "checkered", "noise"],
)  # fmt: skip
def test_any_picture_can_bear_any_defect(pixels: Pixels, defect_class: str) -> None:
    before = pixels.copy()
    for seed in range(5):
        drawn, mask = draw_defect(np.random.default_rng(seed), pixels, defect_class)
        assert mask.any()
        assert changes(pixels, drawn, mask) >= LEAST_GREY_LEVELS
    assert np.array_equal(pixels, before)


def test_defects_lie_on_the_part() -> None:
    part = np.zeros((128, 128), np.bool_)
    part[:, 64:] = True
    for seed, defect_class in enumerate(DEFECTS):
        _, mask = draw_defect(
            np.random.default_rng(seed), np.full((128, 128), 90, np.uint8), defect_class, part
        )
        assert mask.any()
        assert not mask[~part].any()


def test_a_texture_needs_a_stronger_contrast_and_so_does_a_smaller_defect() -> None:
    rng = np.random.default_rng(0)
    smooth, rough = (
        np.clip(rng.normal(128, noise, (128, 128)), 0, 255).astype(np.uint8) for noise in (3, 12)
    )
    small, large = (np.zeros((128, 128), np.bool_) for _ in range(2))
    small[60:64, 60:64], large[40:80, 40:80] = True, True
    assert least_change(smooth, small) < least_change(rough, small)
    assert least_change(rough, large) < least_change(rough, small)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generate_surface(1, "blowhole"), r"class 'blowhole'; known .*scratch"),
        (lambda: generate_surface(1, None, "wood"), r"surface 'wood'; known .*brushed_steel"),
        (lambda: generate_surface(1, None, size=(16, 64)), "at least 32 px"),
        (lambda: draw_defect(np.random.default_rng(0), np.zeros((64, 64), np.uint8), "rust"), "class 'rust'"),
        (lambda: draw_defect(np.random.default_rng(0), np.zeros((64, 20), np.uint8), "pit"), "32 px a side"),
        (
            lambda: draw_defect(
                np.random.default_rng(0), np.zeros((64, 64), np.uint8), "pit", np.zeros((64, 64), np.bool_)
            ),
            "no room for a pit",
        ),
        (lambda: SurfaceSet(0, 1), "0 images"),
        (lambda: SurfaceSet(5, 1, 1.5), "from 0 to 1"),
        (lambda: SurfaceSet(5, -1), "seed must be 0 or more"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


# a set


def test_a_set_has_the_wanted_share_and_classes_and_surfaces_in_equal_numbers() -> None:
    pictures = SurfaceSet(4 * 48 * 2, seed=5, defective_share=0.25)
    plans = [pictures.plan(index) for index in range(len(pictures))]
    defective = [plan for plan in plans if plan.defect_class]
    assert len(defective) == 96
    assert {(p.defect_class, p.surface) for p in defective} == {(d, s) for d in DEFECTS for s in SURFACES}
    for names in ([str(p.defect_class) for p in defective], [p.surface for p in plans if not p.defect_class]):
        assert len({names.count(name) for name in set(names)}) == 1
    assert len({plan.seed for plan in plans}) == len(plans)
    halves = [sum(bool(plan.defect_class) for plan in plans[first::2]) for first in (0, 1)]
    assert min(halves) > 0.3 * sum(halves)  # a worker that takes every second image gets some of both


@pytest.mark.parametrize(
    ("count", "share", "defective"), [(16, 0.25, 4), (10, 0.0, 0), (7, 1.0, 7), (64, 0.1, 6)]
)
def test_the_share_is_exact_in_whole_blocks(count: int, share: float, defective: int) -> None:
    pictures = SurfaceSet(count, 1, share)
    assert sum(pictures.plan(index).defect_class is not None for index in range(count)) == defective


def test_a_picture_depends_on_seed_and_index_alone() -> None:
    streamed = list(surfaces(6, seed=9, defective_share=0.5))
    larger = SurfaceSet(1_000_000, 9, 0.5)
    for index in (5, 0, 3):
        pixels, bits = larger[index]
        assert np.array_equal(pixels, streamed[index][0])
        assert np.array_equal(bits, streamed[index][1])
    assert larger.plan(999_999).seed != SurfaceSet(1_000_000, 10, 0.5).plan(999_999).seed
    assert len({pixels.tobytes() for pixels, _ in streamed}) == 6
    with pytest.raises(IndexError, match="image 6 is not in a set of 6"):
        SurfaceSet(6, 9)[6]


def test_drawing_leaves_the_number_of_opencv_threads_alone() -> None:
    before = cv2.getNumThreads()
    SurfaceSet(2, 1, 1.0)[0]
    assert cv2.getNumThreads() == before


# shards


def test_shards_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PICTURES_PER_SHARD", 5)
    write_surfaces(tmp_path / "set", 12, seed=4, defective_share=0.5)
    assert len(list((tmp_path / "set").glob("*.tar"))) == 3
    dataset = read_dataset(tmp_path / "set")
    pictures = SurfaceSet(12, 4, 0.5)
    assert dataset.classes == DEFECTS
    assert len(dataset.samples) == 12
    assert len({sample.group for sample in dataset.samples}) == 12
    for index, sample in enumerate(dataset.samples):
        pixels, bits = pictures[index]
        assert sample.picture_class == (pictures.plan(index).defect_class or "good")
        assert sample.defective == bits.any()
        read = sample.class_bits((256, 256))
        assert read is not None
        assert np.array_equal(read, bits)
        assert np.abs(sample.pixels().astype(float) - pixels).mean() < 6  # JPEG


def test_shards_are_the_same_whatever_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 3):
        write_surfaces(tmp_path / str(workers), 4, seed=4, defective_share=0.5, workers=workers)
    one, three = (sorted((tmp_path / name).iterdir()) for name in ("1", "3"))
    assert [path.name for path in one] == ["classes.json", "generated-000.tar"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in three]
    assert json.loads(one[0].read_text())["1"] == DEFECTS[0]


def test_a_set_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write_shard", fails)
        with pytest.raises(OSError, match="no space"):
            write_surfaces(tmp_path / "set", 2, 1, 0.5)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".set.partial").mkdir()  # as a killed run leaves it
    (tmp_path / ".set.partial" / "old.tar").touch()
    write_surfaces(tmp_path / "set", 2, 1, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert not (tmp_path / "set" / "old.tar").exists()
    with pytest.raises(DatasetError, match="exists already"):
        write_surfaces(tmp_path / "set", 2, 1, 0.5)


def test_the_benchmark_prints_pictures_a_second_and_cpu_time(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--count", "4", "--side", "64"])
    printed = capsys.readouterr().out
    assert printed.count("images/s") == printed.count("ms of CPU an image") == 2

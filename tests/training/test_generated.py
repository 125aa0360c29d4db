"""The generated tiles: deterministic, honest about where the defect is, and not trivially separable."""

import cv2
import numpy as np
import pytest

from training.data.synthesis.tiles import (
    AREA_PX,
    CLASSES,
    EDGE_PX,
    MIN_SIDE_PX,
    generate_tile,
    generated_tiles,
)

SEEDS = range(12)


@pytest.mark.parametrize("defect_class", [*CLASSES, None])
def test_a_seed_gives_the_same_picture_again(defect_class: str | None) -> None:
    first, again, other = (generate_tile(seed, defect_class, (256, 256)) for seed in (7, 7, 8))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("size", [None, (256, 256), (MIN_SIDE_PX, 300)])
def test_shape_and_type(size: tuple[int, int] | None) -> None:
    image, label_map = generate_tile(3, "fray", size)
    assert image.dtype == label_map.dtype == np.uint8
    assert image.shape == label_map.shape
    assert image.shape == size or size is None


@pytest.mark.parametrize("defect_class", CLASSES)
@pytest.mark.parametrize("size", [None, (MIN_SIDE_PX, MIN_SIDE_PX)])
def test_mask_holds_only_its_class_with_an_area_of_that_class(
    defect_class: str, size: tuple[int, int] | None
) -> None:
    least, most, _ = AREA_PX[defect_class]
    for seed in SEEDS:
        _, label_map = generate_tile(seed, defect_class, size)
        assert set(np.unique(label_map)) == {0, CLASSES.index(defect_class) + 1}
        assert least <= np.count_nonzero(label_map) <= most


@pytest.mark.parametrize("defect_class", CLASSES)
def test_the_defect_changes_the_tile_inside_its_mask_and_nowhere_else(defect_class: str) -> None:
    reach = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
    changed_inside = []
    for seed in SEEDS:
        good, _ = generate_tile(seed, None)
        defective, label_map = generate_tile(seed, defect_class)
        changed = good != defective
        assert not changed[cv2.dilate(label_map, reach) == 0].any()
        changed_inside.append(changed[label_map > 0].mean())
    # A changed pixel may keep its grey level by chance or by saturation, but most do not.
    assert np.mean(changed_inside) > 0.85
    assert min(changed_inside) > 0.3


def test_good_tiles_have_empty_masks() -> None:
    for seed in SEEDS:
        assert not generate_tile(seed, None)[1].any()


def test_exposure_alone_does_not_tell_good_from_defective() -> None:
    good = [generate_tile(seed, None, (256, 256))[0].mean() for seed in range(40)]
    defective = [generate_tile(1_000 + seed, "crack", (256, 256))[0].mean() for seed in range(40)]
    assert max(min(good), min(defective)) < min(max(good), max(defective)) / 2
    assert max(good) > 2 * min(good)


def test_a_set_has_the_wanted_share_and_every_class() -> None:
    label_maps = [label_map for _, label_map in generated_tiles(20, seed=5, defective_share=0.5)]
    values = sorted(int(label_map.max()) for label_map in label_maps)
    assert values == [0] * 10 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_set_is_deterministic_and_has_no_tile_twice() -> None:
    first, again = (list(generated_tiles(6, seed=5)) for _ in range(2))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert len({image.tobytes() for image, _ in first}) == 6


def test_unknown_class_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"class 'dent'; known .*blowhole, break, crack, fray, uneven"):
        generate_tile(1, "dent")


def test_a_size_too_small_for_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 128 px"):
        generate_tile(1, None, (64, 300))

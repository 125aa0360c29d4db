"""The values of masks: nothing is read of a value that nobody explained."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.layouts import FIRST, NONE, SCALE, SECOND, SIZE, Grey, picture, write
from training.data.audit import check
from training.data.registry import read_dataset
from training.data.sample import IGNORED, Bits, Dataset, DatasetError
from training.labels import LabelsConfig

VOID = SECOND & (1 - FIRST)  # around FIRST as tools draw a rim


def drawn(dataset: Dataset, name: str) -> Bits | None:
    sample = next(each for each in dataset.samples if each.name == name)
    return sample.class_bits(SIZE)


def pairs(root: Path, *masks: Grey) -> Path:
    """Paired folders with these masks, a, b, ... and a good image."""
    for name, mask in zip("abcdefg", (*masks, NONE), strict=False):
        picture(root / f"images/{name}.png", seed=ord(name))
        write(root / f"masks/{name}.png", mask)
    return root


def folder(root: Path, *masks: Grey) -> Path:
    """A plain folder of one class with these masks."""
    picture(root / "good/good.png")
    for name, mask in zip("abcdefg", masks, strict=False):
        picture(root / f"defect/{name}.png", seed=ord(name))
        write(root / f"masks/{name}.png", mask)
    return root


def with_void(number: int = 1) -> Grey:
    return np.where(VOID > 0, np.uint8(255), np.uint8(number) * FIRST)


def test_void_beside_a_mark_is_refused_and_every_mask_is_listed(tmp_path: Path) -> None:
    root = pairs(tmp_path / "set", with_void(), with_void(), FIRST)
    with pytest.raises(DatasetError, match=r"a\.png.* holds 0, 1, 255, and nothing says.*\(2 such masks"):
        read_dataset(root)
    audit = check(read_dataset(root, unlabelled=True), tmp_path / "audit.html")
    found = [fault.samples[0] for fault in audit.of("mask value that is no class")]
    assert found == ["images/a.png", "images/b.png"]


@pytest.mark.parametrize("names", ["dent", "dent\npit"])
def test_void_beside_named_class_numbers_is_ignored(tmp_path: Path, names: str) -> None:
    root = pairs(tmp_path, with_void(), 2 * FIRST if "pit" in names else FIRST)
    (root / "classes.txt").write_text(names)
    dataset = read_dataset(root)
    assert dataset.classes == tuple(names.split())
    expected = np.where(VOID > 0, IGNORED, FIRST.astype(np.uint16))
    np.testing.assert_array_equal(drawn(dataset, "images/a.png"), expected)
    assert [sample.ignores for sample in dataset.samples] == [True, False, False]


def test_mask_values_of_the_configuration_say_what_void_is(tmp_path: Path) -> None:
    root = pairs(tmp_path, with_void(), FIRST)
    labels = LabelsConfig(mask_values={1: "dent", 255: "ignore"})
    dataset = read_dataset(root, labels=labels)
    assert dataset.classes == ("dent",)
    expected = np.where(VOID > 0, IGNORED, FIRST.astype(np.uint16))
    np.testing.assert_array_equal(drawn(dataset, "images/a.png"), expected)


def test_white_has_one_meaning_where_the_background_is_named_too(tmp_path: Path) -> None:
    root = pairs(tmp_path, with_void(), SCALE * SECOND)
    with pytest.raises(DatasetError, match=r"b\.png holds 255 alone"):
        read_dataset(root, labels=LabelsConfig(mask_values={0: "good", 1: "dent"}))


def test_white_is_unknown_where_the_only_class_has_another_number(tmp_path: Path) -> None:
    root = pairs(tmp_path, 2 * FIRST, SCALE * SECOND)
    with pytest.raises(DatasetError, match=r"b\.png.* holds 255"):
        read_dataset(root, labels=LabelsConfig(mask_values={2: "dent"}))


def test_marks_that_all_lie_below_the_threshold_are_a_fault(tmp_path: Path) -> None:
    root = pairs(tmp_path, SCALE * FIRST, SECOND)
    with pytest.raises(DatasetError, match=r"b\.png.* holds 0, 1, all below mask_threshold 128"):
        read_dataset(root, labels=LabelsConfig(mask_threshold=128))


def test_threshold_and_named_numbers_exclude_each_other(tmp_path: Path) -> None:
    root = pairs(tmp_path, FIRST)
    (root / "classes.txt").write_text("dent\n")
    with pytest.raises(DatasetError, match=r"classes\.txt and mask_threshold both say"):
        read_dataset(root, labels=LabelsConfig(mask_threshold=128))


def test_white_cannot_mark_one_class_here_and_be_void_there(tmp_path: Path) -> None:
    root = pairs(tmp_path, with_void(), SCALE * SECOND)
    (root / "classes.txt").write_text("dent\n")
    with pytest.raises(
        DatasetError, match=r"a\.png holds 255 beside class numbers, .*b\.png holds 255 alone"
    ):
        read_dataset(root)
    labels = LabelsConfig(mask_values={1: "dent", 255: "ignore"})
    samples = read_dataset(root, labels=labels).samples
    assert [(sample.picture_class, sample.ignores) for sample in samples] == [
        ("dent", True),
        ("good", True),
        ("good", False),
    ]
    bits = samples[1].class_bits(SIZE)  # of a good image, too, nothing is learnt there
    np.testing.assert_array_equal(bits, np.where(SECOND > 0, IGNORED, np.uint16(0)))


@pytest.mark.parametrize("speck", [255, 2, 17])
def test_stray_value_in_a_mask_of_a_folder_is_refused(tmp_path: Path, speck: int) -> None:
    mask = FIRST.copy()
    mask[0, 0] = speck
    dataset = read_dataset(folder(tmp_path / "set", mask, mask))
    with pytest.raises(DatasetError, match=rf"a\.png.* it holds 0, 1, {speck}, and nothing says"):
        drawn(dataset, "defect/a.png")
    audit = check(dataset, tmp_path / "audit.html")
    assert len(audit.of("mask value that is no class")) == 2


def test_class_numbers_without_names_are_refused(tmp_path: Path) -> None:
    for root in (pairs(tmp_path / "pairs", FIRST, 2 * FIRST), folder(tmp_path / "set", FIRST, 2 * FIRST)):
        with pytest.raises(
            DatasetError, match=r"hold 1 \(1 masks\), 2 \(1 masks\), .*classes\.txt.*mask_values"
        ):
            read_dataset(root)


def test_class_numbers_in_the_layout_of_neu_seg_need_names_of_their_own(tmp_path: Path) -> None:
    for part in ("training", "validation"):
        for name, mask in (("a", FIRST), ("b", 2 * FIRST), ("c", NONE)):
            picture(tmp_path / f"line/images/{part}/{part}_{name}.jpg")
            write(tmp_path / f"line/annotations/{part}/{part}_{name}.png", mask)
    with pytest.raises(DatasetError, match=r"hold 1 \(2 masks\), 2 \(2 masks\)"):
        read_dataset(tmp_path / "line")
    (tmp_path / "line/classes.txt").write_text("rust\nburr\n")
    dataset = read_dataset(tmp_path / "line")
    assert dataset.classes == ("rust", "burr")
    assert {sample.source for sample in dataset.samples} == {"line"}
    assert {sample.split for sample in dataset.samples} == {"train", "validation"}


def test_names_that_no_mask_shows_are_left_out_and_said(tmp_path: Path) -> None:
    root = pairs(tmp_path, 3 * FIRST, 3 * SECOND)
    (root / "classes.txt").write_text("dent\npit\nburr\n")
    dataset = read_dataset(root)
    assert dataset.classes == ("burr",)
    assert dataset.notes == ("no mask shows dent, pit of classes.txt: left out",)
    np.testing.assert_array_equal(drawn(dataset, "images/a.png"), FIRST)


def test_names_are_kept_where_no_mask_shows_any(tmp_path: Path) -> None:
    root = pairs(tmp_path, NONE, NONE)
    (root / "classes.txt").write_text("dent\npit\n")
    dataset = read_dataset(root)
    assert dataset.classes == ("dent", "pit")
    assert not any(sample.defective for sample in dataset.samples)


@pytest.mark.parametrize("first", ["_background_", "good"])
def test_background_may_lead_the_names(tmp_path: Path, first: str) -> None:
    root = pairs(tmp_path, FIRST, 2 * SECOND)
    (root / "classes.txt").write_text(f"{first}\ndent\npit\n")
    dataset = read_dataset(root)
    assert dataset.classes == ("dent", "pit")
    np.testing.assert_array_equal(drawn(dataset, "images/b.png"), 2 * SECOND.astype(np.uint16))


def coloured(path: Path) -> None:
    """CVAT's colours: FIRST in that of dent, the rest of SECOND in that of pit."""
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[VOID > 0], rgb[FIRST > 0] = (51, 221, 255), (250, 50, 83)
    Image.fromarray(rgb).save(path)


def test_colours_need_a_labelmap(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", FIRST, FIRST)
    for name in "ab":
        coloured(root / f"masks/{name}.png")
    with pytest.raises(DatasetError, match=r"is in colour, and nothing says which .* labelmap\.txt"):
        drawn(read_dataset(root), "defect/a.png")
    assert len(check(read_dataset(root), tmp_path / "a.html").of("mask value that is no class")) == 2
    lines = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:250,50,83::\npit:51,221,255::\n"
    (root / "labelmap.txt").write_text(lines)
    dataset = read_dataset(root)
    assert dataset.classes == ("dent", "pit")
    assert [sample.picture_class for sample in dataset.samples] == ["good", "dent,pit", "dent,pit"]
    expected = np.where(FIRST > 0, 1, 2 * VOID).astype(np.uint16)
    np.testing.assert_array_equal(drawn(dataset, "defect/a.png"), expected)
    (root / "labelmap.txt").write_text(lines.replace("pit:51", "pit:52"))
    with pytest.raises(DatasetError, match=r"#33ddff, of which labelmap\.txt says nothing"):
        drawn(read_dataset(root), "defect/a.png")


@pytest.mark.parametrize("broken", ["dent 250 50 83", "dent:250,50,283::", "pit:1,2,3::\ndent:1,2,3::"])
def test_labelmap_that_is_none_is_named(tmp_path: Path, broken: str) -> None:
    root = folder(tmp_path, FIRST)
    (root / "labelmap.txt").write_text(broken)
    with pytest.raises(DatasetError, match=r"labelmap\.txt: 'dent.* (is no line|repeats the colour)"):
        read_dataset(root)


def test_palette_of_several_classes_is_refused_and_read_by_its_indices(tmp_path: Path) -> None:
    root = folder(tmp_path, FIRST)
    image = Image.fromarray(np.where(FIRST > 0, 1, 2 * VOID).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 250, 50, 83, 51, 221, 255])
    image.save(root / "masks/a.png")
    with pytest.raises(DatasetError, match="it holds 0, 1, 2, and nothing says"):
        drawn(read_dataset(root), "defect/a.png")
    dataset = read_dataset(root, labels=LabelsConfig(mask_values={1: "dent", 2: "pit"}))
    assert dataset.classes == ("dent", "pit")
    np.testing.assert_array_equal(drawn(dataset, "defect/a.png"), np.where(FIRST > 0, 1, 2 * VOID))


def test_value_of_a_mask_may_mean_the_class_of_its_folder(tmp_path: Path) -> None:
    picture(tmp_path / "good/a.png")
    for name in ("dent", "pit"):
        picture(tmp_path / f"defect/{name}/a.png")
        write(tmp_path / f"masks/{name}/a.png", np.where(VOID > 0, np.uint8(128), SCALE * FIRST))
    labels = LabelsConfig(mask_values={128: "ignore", 255: "marked"})
    dataset = read_dataset(tmp_path, labels=labels)
    expected = np.where(VOID > 0, IGNORED, 2 * FIRST.astype(np.uint16))
    np.testing.assert_array_equal(drawn(dataset, "defect/pit/a.png"), expected)


def test_empty_mask_beside_masks_that_tell_classes_keeps_its_picture_defective(tmp_path: Path) -> None:
    root = folder(tmp_path, FIRST, NONE)
    dataset = read_dataset(root, labels=LabelsConfig(mask_values={1: "dent"}))
    assert [sample.picture_class for sample in dataset.samples] == ["good", "dent", "defect"]
    assert dataset.samples[2].defective


def test_transparent_mask_and_jpeg_mask_are_refused_with_the_fix(tmp_path: Path) -> None:
    root = folder(tmp_path / "clear", FIRST)
    Image.fromarray(np.dstack([SCALE * FIRST] * 4)).save(root / "masks/a.png")
    with pytest.raises(DatasetError, match="send it without an alpha channel"):
        drawn(read_dataset(root), "defect/a.png")
    root = folder(tmp_path / "jpeg")
    picture(root / "defect/a.png")
    write(root / "masks/a.jpg", SCALE * FIRST)
    with pytest.raises(DatasetError, match=r"a\.jpg has no place there; .* export it anew as PNG"):
        read_dataset(root)


def test_threshold_and_values_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="set only one"):
        LabelsConfig(mask_values={1: "dent"}, mask_threshold=128)

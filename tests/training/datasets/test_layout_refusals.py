"""Nothing is dropped in silence: what does not belong, or is missing, is named with the fix."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.inspection.bundle.bundle import DefectClass
from tests.training.datasets.layouts import (
    FIRST,
    NONE,
    SCALE,
    WRITERS,
    picture,
    write,
    write_coco,
    write_labelme,
    write_severstal,
    write_severstal_older,
)
from training.data.audit import check
from training.data.masks import MaskImage
from training.data.registry import read_dataset
from training.data.sample import Dataset, DatasetError


def add(name: str) -> Callable[[Path], object]:
    """A stray image (or mask, by its name)."""
    return lambda root: picture(root / name)


def text(name: str, content: str) -> Callable[[Path], object]:
    """A file with that content."""
    return lambda root: (root / name).write_text(content)


def gone(name: str) -> Callable[[Path], object]:
    """A missing file."""
    return lambda root: (root / name).unlink()


CASES: list[tuple[str, Callable[[Path], object], str]] = [
    ("severstal", gone("train_images/both.jpg"), "names both.jpg, which is missing"),
    ("severstal", text("train_images/notes.txt", ""), "notes.txt has no place there"),
    ("severstal", add("more_images/a.jpg"), "more_images has no place in this layout"),
    ("severstal", text("train.csv", "a,b\n"), "must have the columns ImageId,ClassId,EncodedPixels"),
    ("neu-seg", gone("annotations/test/000001.png"), "000001.jpg has no mask"),
    ("neu-seg", gone("images/test/000001.jpg"), "000001.png is a mask without an image"),
    ("neu-seg", text("images/test/a.txt", ""), "a.txt has no place there"),
    ("neu-seg", add("images/extra/a.jpg"), "extra has no place in this layout"),
    ("neu-seg", lambda root: write(root / "annotations/test/000001.png", FIRST * 4), "holds 4, of which"),
    ("neu-seg", lambda root: write(root / "annotations/test/000001.png", FIRST * 255), "255, which is"),
    ("neu-seg", text("annotations/test/000001.png", "x"), "mask .*000001.png"),
    ("dagm", gone("Class1/Train/0577.PNG"), "names 0577.png, which is missing"),
    ("dagm", gone("Class1/Train/Label/0577_label.PNG"), "names 0577_label.PNG, which is missing"),
    ("dagm", add("Class1/Train/0999.PNG"), "0999.PNG has no line in Label/Labels.txt"),
    ("dagm", add("Class1/Train/Label/0576_label.PNG"), "0576_label.PNG is named by no line"),
    ("dagm", gone("Class1/Test/Label/Labels.txt"), "Labels.txt is missing"),
    ("dagm", text("Class1/Test/Label/Labels.txt", "1\n1 1 0001.PNG 0 0\n"), "line 2: .* cannot be used"),
    ("dagm", text("Class1/Test/Label/Labels.txt", "1 0 0001.PNG 0 0\n" * 2), "line 2 names 0001.PNG again"),
    ("dagm", text("Class1/Test/a.jpg", ""), "a.jpg has no place there"),
    ("dagm", add("Class1/Validation/0001.PNG"), "Validation has no place in this layout"),
    ("kolektor-sdd", gone("kos01/Part1_label.bmp"), r"Part1.jpg has no mask; Part1_label\.bmp is expected"),
    ("kolektor-sdd", gone("kos01/Part1.jpg"), "Part1_label.bmp is a mask without an image"),
    ("kolektor-sdd", text("kos01/Part2.png", ""), "Part2.png is neither an image"),
    ("kolektor-sdd", add("extra/Part0.jpg"), "extra has no place in this layout"),
    ("kolektor-sdd2", gone("test/20001_GT.png"), r"20001.png has no mask; 20001_GT\.png is expected"),
    ("kolektor-sdd2", gone("test/20001.png"), "20001_GT.png is a mask without an image"),
    ("kolektor-sdd2", text("train/a.bmp", ""), "a.bmp is neither an image"),
    ("mvtec", gone("ground_truth/bent/000_mask.png"), "000.png has no mask; ground_truth/bent/000_mask.png"),
    ("mvtec", add("ground_truth/bent/001_mask.png"), "001_mask.png is a mask without an image"),
    ("mvtec", add("ground_truth/bent/000.png"), "000.png .* masks of one image; keep one"),
    ("mvtec", add("ground_truth/dent/000_mask.png"), "dent has no place in this layout"),
    ("mvtec", add("train/bent/000.png"), "bent has no place in this layout"),
    ("mvtec", add("test/loose.png"), "loose.png lies in no folder"),
    ("crack500", gone("traincrop/20160222_081015_1_361.png"), "line 1 names .*png, which is missing"),
    ("crack500", add("testcrop/stray.jpg"), "stray.jpg is in none of the lists"),
    ("crack500", text("train.txt", "traincrop/a.jpg\n"), "line 1: .* must name an image and its mask"),
    ("crack500", lambda root: text("val.txt", (root / "val.txt").read_text() * 2)(root), "names .* again"),
    ("crack500", add("extra/a.jpg"), "extra has no place in this layout"),
    ("pairs", gone("masks/c.png"), "c.jpg has no mask; .*c.png is expected, black if the image is good"),
    ("pairs", gone("images/c.jpg"), "c.png is a mask without an image"),
    ("pairs", add("masks/d.jpg"), "d.jpg has no place there; only .png, .bmp"),
    ("pairs", add("images/a.png"), "have the same stem"),
    ("pairs", add("train/a.png"), "train has no place in this layout"),
    ("pairs", text("classes.txt", "dent\ndent\n"), "'dent' and 'dent' cannot name two defect classes"),
    ("pairs", text("classes.txt", "\n"), "must name each defect class, one a line"),
    ("pairs", text("classes.txt", "dent\npit\n"), "holds 255, which is no class"),
    ("coco", gone("images/train2017/1.jpg"), "names 1.jpg, which is missing"),
    ("coco", add("images/train2017/6.jpg"), "6.jpg is named by no annotation file"),
    ("coco", add("images/1.jpg"), "names 1.jpg, which lies in .* and .*; keep one"),
    ("labelme", gone("good.jpg"), "names good.jpg, which is missing; .* holds no imageData"),
    ("labelme", gone("good.json"), "good.jpg has no JSON file"),
    ("labelme", text("good.json", "{"), "good.json: as a whole: Invalid JSON"),
    ("labelme", text("other.json", '{"shapes": [], "imagePath": "good.jpg"}'), "good.jpg has two JSON files"),
    ("folder", gone("defect/pit/a.jpg"), "a.png is a mask without an image"),
    ("folder", add("masks/hole/a.png"), "hole mirrors no folder"),
    ("folder", add("masks/a.png"), "a.png mirrors no folder"),
    ("folder", add("defect/a.png"), "a.png lies beside the class folders dent, pit"),
    ("folder", add("defect/good/a.png"), "'good' cannot name a defect class"),
    ("folder", add("defect/deep scratch/a.png"), "'deep scratch' cannot name .*; call it 'deep_scratch'"),
    ("folder", add("defect/Dent/a.png"), "'Dent' and 'dent' cannot name two defect classes"),
    ("mvtec", lambda root: (root / "test/good-2").mkdir(), "good-2"),
    ("folder", add("licences/a.png"), "licences has no place in this layout"),
    ("folder", add("masks/dent/license.png"), "license.png is a mask without an image"),
    ("folder", add("unsure/a.png"), "unsure has no place in this layout"),
    ("folder", add("loose.png"), "loose.png has no place in this layout"),
    ("folder", text("good/a.txt", ""), "a.txt has no place there"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "spoil", "message"), CASES)
def test_what_does_not_fit_is_named(
    tmp_path: Path, layout: str, spoil: Callable[[Path], object], message: str
) -> None:
    WRITERS[layout](tmp_path)
    read_dataset(tmp_path, layout)
    spoil(tmp_path)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path, layout)


def test_class_of_coco_that_no_bundle_can_hold_is_refused_with_one_it_can(tmp_path: Path) -> None:
    spoilt_coco(tmp_path, lambda facts: facts["categories"][1].update(name="missing hole"))
    with pytest.raises(DatasetError, match=r"'missing hole' cannot name .*; call it 'missing_hole'"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("Kratzer tief", "Kratzer_tief"),
        ("Lücke", "Lucke"),
        ("ring/edge", "ring_edge"),
        ("a,b", "a_b"),
        ("x" * 65, "x" * 64),
        ("裂纹", "defect"),
        (" good", "defect"),
        ("", "defect"),
    ],
)
def test_class_names_are_those_of_bundles(name: str, better: str) -> None:
    with pytest.raises(DatasetError, match=rf"'{name}' cannot name a defect class: .*; call it '{better}'"):
        Dataset(("pit", name), ())
    assert Dataset(("pit", better), ()).classes[1] == DefectClass(name=better, severity="major").name


@pytest.mark.parametrize("name", ["good", "Good", "good-2", "pit.mask"])
def test_class_names_leave_room_for_golden_samples(name: str) -> None:
    with pytest.raises(DatasetError, match=f"'{name}' cannot name a defect class: golden samples"):
        Dataset(("pit", name), ())


@pytest.mark.parametrize("layout", ["pairs", "neu-seg", "kolektor-sdd", "kolektor-sdd2", "crack500"])
def test_every_mask_that_cannot_be_read_is_listed_by_the_audit_alone(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path / "set")
    whole = read_dataset(tmp_path / "set")
    spoilt = sorted(sample.name for sample in whole.samples if sample.defective)
    for sample in whole.samples:
        if sample.defective:
            assert isinstance(sample.annotation, MaskImage)
            sample.annotation.blob.path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=rf"none of PNG.*correct the mask.*\({len(spoilt)} such masks"):
        read_dataset(tmp_path / "set")
    dataset = read_dataset(tmp_path / "set", unlabelled=True)
    audit = check(dataset, tmp_path / "audit.html")
    assert sorted(fault.samples[0] for fault in audit.of("unreadable mask")) == spoilt
    assert len(dataset.samples) == len(whole.samples)


def test_mask_value_that_is_no_class_is_named_by_the_audit(tmp_path: Path) -> None:
    WRITERS["neu-seg"](tmp_path)
    write(tmp_path / "annotations/test/000001.png", FIRST * 4)
    audit = check(read_dataset(tmp_path, unlabelled=True), tmp_path / "audit.html")
    assert [fault.samples[0] for fault in audit.of("mask value that is no class")] == [
        "images/test/000001.jpg"
    ]


@pytest.mark.parametrize(("layout", "table"), [("pairs", "groups.csv"), ("severstal", "train.csv")])
def test_table_with_an_open_quotation_mark_is_named(tmp_path: Path, layout: str, table: str) -> None:
    WRITERS[layout](tmp_path)
    heading = "ImageId,ClassId,EncodedPixels,file,group\n"
    (tmp_path / table).write_text(heading + '"' + "a.jpg,1,5 1\n" * 20_000)
    with pytest.raises(DatasetError, match=rf"{table} is no CSV .*quotation mark"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("good.jpg,2,5 3 7", "line 5: EncodedPixels holds 3 numbers; each start needs its length"),
        ("good.jpg,2,5 3 7 2", "line 5: the run '7 2' overlaps the one before it"),
        ("good.jpg,2,7 2 5 3", "line 5: the run '7 2' overlaps the one before it"),
        ("good.jpg,2,0 3", "line 5: the run '0 3' is invalid"),
        ("good.jpg,2,5 0", "line 5: the run '5 0' is invalid"),
        ("good.jpg,2,5 x", "line 5: EncodedPixels must be whole numbers"),
        ("good.jpg,5,5 1", "line 5 needs an image and a class from 1 to 4; found 'good.jpg', '5'"),
        (",1,5 1", "line 5 needs an image and a class"),
        ("both.jpg,4,5 1", "line 5 gives class 4 of both.jpg again"),
    ],
)
def test_line_of_severstal_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_severstal(tmp_path)
    with (tmp_path / "train.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=rf"train\.csv {message}"):
        read_dataset(tmp_path)


def test_run_beyond_the_picture_is_named(tmp_path: Path) -> None:
    write_severstal(tmp_path)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("good.jpg,2,768 1\ngood.jpg,3,768 2\n")
    sample = next(each for each in read_dataset(tmp_path).samples if "good" in each.name)
    message = r"good.jpg: .*train\.csv line 6: the run '768 2' ends beyond the image, .* 32 x 24 = 768 pixels"
    with pytest.raises(DatasetError, match=message):
        sample.class_bits((24, 32))


def test_class_without_pixels_is_not_shown(tmp_path: Path) -> None:
    write_severstal(tmp_path)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("good.jpg,2,\n")
    assert not next(each for each in read_dataset(tmp_path).samples if "good" in each.name).defective


def test_older_severstal_table_lists_every_picture_and_class(tmp_path: Path) -> None:
    write_severstal_older(tmp_path)
    stray = picture(tmp_path / "train_images/more.jpg")
    with pytest.raises(DatasetError, match=r"more.jpg has no line in train\.csv"):
        read_dataset(tmp_path)
    stray.unlink()
    table = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(table.replace("good.jpg_3,\n", ""))
    with pytest.raises(DatasetError, match=r"has 3 lines for good\.jpg"):
        read_dataset(tmp_path)


def spoilt_coco(root: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    """Write a COCO set whose annotation file was changed."""
    write_coco(root)
    path = root / "annotations/instances_train2017.json"
    facts = json.loads(path.read_text())
    spoil(facts)
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda facts: facts["annotations"][0].update(image_id=77), "no image has the id 77"),
        (lambda facts: facts["annotations"][0].update(category_id=77), "77 is no category of the file"),
        (lambda facts: facts["annotations"][0].pop("image_id"), "annotations.0.image_id: Field required"),
        (lambda facts: facts["images"].append(facts["images"][0]), "gives the image id 1 twice"),
        (lambda facts: facts["images"].append(facts["images"][0] | {"id": 8}), "1.jpg is named twice"),
        (lambda facts: facts["categories"][0].update(id=9), "gives the category id 9 twice"),
        (
            lambda facts: facts["images"][0].update(width="x"),
            "images.0.width: Input should be a valid integer",
        ),
        (lambda facts: facts.update(images={}), "images: Input should be a valid "),
        (
            lambda facts: facts["annotations"][0].update(segmentation=[[1, 2, 3, 4]]),
            "a polygon has 4 numbers",
        ),
        (
            lambda facts: facts["annotations"][0].update(segmentation=[list("abcdef")]),
            "annotations.0.segmentation.*should be a valid number",
        ),
        (
            lambda facts: facts["annotations"][0].update(segmentation={"size": [1]}),
            "annotations.0.segmentation",
        ),
    ],
)
def test_broken_coco_file_is_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    spoilt_coco(tmp_path, spoil)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path, "coco")


def test_coco_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    path = tmp_path / "annotations/instances_train2017.json"
    path.write_text(path.read_text()[:-1])
    with pytest.raises(DatasetError, match="as a whole: Invalid JSON"):
        read_dataset(tmp_path)


def test_coco_picture_outside_the_root_is_refused(tmp_path: Path) -> None:
    name = picture(tmp_path / "away.jpg").name
    root = tmp_path / "set"
    root.mkdir()
    spoilt_coco(root, lambda facts: facts["images"][0].update(file_name=f"../../../{name}"))
    with pytest.raises(DatasetError, match=r"lies outside .*set; give the folder that holds both"):
        read_dataset(root)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda shape: shape.update(shape_type="oriented"), "shape 1 .dent.: a oriented cannot be read"),
        (lambda shape: shape.update(points=[[1, 2], [3, 4]]), "2 points make no polygon"),
        (lambda shape: shape.update(points=[[1], [2], [3]]), r"shapes\.0\.points\.0"),
        (lambda shape: shape.pop("label"), r"shapes\.0\.label: Field required"),
        (lambda shape: shape.update(label=3), r"shapes\.0\.label: Input should be a valid string"),
        (lambda shape: shape.update(label="__ignore__"), "'__ignore__' is no defect class"),
        (lambda shape: shape.update(shape_type="mask"), "a mask cannot be read"),
    ],
)
def test_broken_labelme_shape_is_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    write_labelme(tmp_path)
    facts = json.loads((tmp_path / "polygon.json").read_text())
    spoil(facts["shapes"][0])
    (tmp_path / "polygon.json").write_text(json.dumps(facts))
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


def test_embedded_picture_that_is_none_is_named(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    facts = json.loads((tmp_path / "good.json").read_text())
    (tmp_path / "good.json").write_text(json.dumps(facts | {"imageData": "!"}))
    (tmp_path / "good.jpg").unlink()
    sample = next(each for each in read_dataset(tmp_path).samples if each.name == "good.json")
    with pytest.raises(DatasetError, match=r"good\.json: imageData is no image"):
        sample.pixels()


@pytest.mark.parametrize("layout", ["kolektor-sdd2", "pairs", "folder", "mvtec", "dagm", "neu-seg"])
def test_mask_of_another_size_is_named(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path)
    folder = {"neu-seg": "annotations", "mvtec": "ground_truth", "folder": "masks", "pairs": "masks"}.get(
        layout
    )
    pattern = {"kolektor-sdd2": "*/*_GT.png", "dagm": "*/*/Label/*.PNG"}.get(layout, f"{folder}/**/*.png")
    for mask in tmp_path.glob(pattern):
        drawn = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        assert drawn is not None
        write(mask, np.pad(drawn, ((0, 0), (0, 5))))
    sample = next(each for each in read_dataset(tmp_path).samples if each.defective and each.annotation)
    with pytest.raises(DatasetError, match=re.escape(sample.name) + ": .*37 x 24"):
        sample.class_bits((24, 32))


def test_more_classes_than_bits_are_refused(tmp_path: Path) -> None:
    for number in range(17):
        picture(tmp_path / f"defect/kind{number}/a.jpg")
    with pytest.raises(DatasetError, match="17 defect classes"):
        read_dataset(tmp_path)


def test_empty_mask_of_a_defective_picture_marks_no_known_pixel(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    write(tmp_path / "masks/dent/a.png", SCALE * NONE)
    sample = next(each for each in read_dataset(tmp_path).samples if each.name == "defect/dent/a.jpg")
    assert sample.defective
    assert sample.class_bits((24, 32)) is None

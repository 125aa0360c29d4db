"""Every layout is recognised as itself alone, and read whole: pixels, classes, groups, published parts."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.layouts import (
    FIRST,
    NONE,
    SCALE,
    SECOND,
    SIZE,
    WRITERS,
    Grey,
    labelme_facts,
    picture,
    write,
    write_coco,
    write_crack500,
    write_dagm,
    write_folder,
    write_kolektor_sdd,
    write_kolektor_sdd2,
    write_labelme,
    write_mvtec,
    write_neu_seg,
    write_pairs,
    write_severstal,
    write_severstal_older,
)
from training.data.registry import LAYOUTS, read_dataset
from training.data.sample import Dataset, DatasetError
from training.data.sources import data_sources
from training.labels import LabelsConfig


def bits(dataset: Dataset, name: str) -> np.ndarray | None:
    """The class bits of one sample, at the size that its image really has."""
    sample = next(sample for sample in dataset.samples if sample.name == name)
    height, width = sample.pixels().shape
    return sample.class_bits((height, width))


def facts(dataset: Dataset) -> dict[str, tuple[str, str | None]]:
    """Class and published part of each image."""
    return {sample.name: (sample.picture_class, sample.split) for sample in dataset.samples}


def same(found: np.ndarray | None, *layers: Grey) -> None:
    """Check class bits against one mask of 0 and 1 for each class in turn."""
    assert found is not None
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, sum(mask.astype(np.uint16) << k for k, mask in enumerate(layers)))


def test_every_layout_has_a_writer() -> None:
    assert set(WRITERS) == set(LAYOUTS)


@pytest.mark.parametrize("layout", WRITERS)
def test_layout_is_recognised_as_itself_alone(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path)
    assert [name for name, each in LAYOUTS.items() if each.fits(tmp_path)] == [layout]
    for sample in read_dataset(tmp_path).samples:
        height, width = sample.pixels().shape
        drawn = sample.class_bits((height, width))
        assert drawn is None or bool(drawn.any()) == sample.defective


@pytest.mark.parametrize("layout", WRITERS)
def test_empty_folder_is_no_layout_and_no_set(tmp_path: Path, layout: str) -> None:
    assert not LAYOUTS[layout].fits(tmp_path)
    with pytest.raises(DatasetError):
        read_dataset(tmp_path, layout)
    with pytest.raises(DatasetError, match="has no known layout"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("layout", "source"),
    [
        ("severstal", "Severstal"),
        ("neu-seg", "NEU_Seg"),
        ("dagm", "DAGM 2007"),
        ("kolektor-sdd", "KolektorSDD"),
        ("kolektor-sdd2", "KolektorSDD2"),
        ("mvtec", "MVTec AD"),
        ("crack500", "CRACK500"),
    ],
)
def test_licence_of_a_public_set_is_known_where_the_configuration_says_which_it_is(
    tmp_path: Path, layout: str, source: str
) -> None:
    WRITERS[layout](tmp_path / "line_2")
    (own,) = data_sources(read_dataset(tmp_path / "line_2").samples, generated=0)
    assert (own.name, own.licence) == ("line_2", "unknown")  # a layout alone makes no public set
    public = read_dataset(tmp_path / "line_2", labels=LabelsConfig(source=source))
    (known,) = data_sources(public.samples, generated=0)
    assert known.name == source
    assert known.licence != "unknown"


@pytest.mark.parametrize("writer", [write_severstal, write_severstal_older])
def test_severstal(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    writer(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("class_1", "class_2", "class_3", "class_4")
    assert facts(dataset) == {
        "train_images/both.jpg": ("class_1,class_4", None),
        "train_images/first.jpg": ("class_1", None),
        "train_images/good.jpg": ("good", None),
    }
    same(bits(dataset, "train_images/both.jpg"), FIRST, NONE, NONE, SECOND)
    same(bits(dataset, "train_images/first.jpg"), FIRST)
    same(bits(dataset, "train_images/good.jpg"))


def test_neu_seg(tmp_path: Path) -> None:
    write_neu_seg(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("inclusion", "patches", "scratches")
    assert facts(dataset) == {
        "images/training/000000.jpg": ("inclusion", "train"),
        "images/training/000001.jpg": ("inclusion,scratches", "train"),
        "images/test/000000.jpg": ("good", "test"),
        "images/test/000001.jpg": ("patches", "test"),
    }
    same(bits(dataset, "images/training/000001.jpg"), FIRST & (1 - SECOND), NONE, SECOND)
    same(bits(dataset, "images/test/000001.jpg"), NONE, FIRST)


def test_palette_of_a_mask_is_not_read_as_colours(tmp_path: Path) -> None:
    write_neu_seg(tmp_path)
    mask = Image.fromarray(2 * FIRST, mode="L").convert("P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(tmp_path / "annotations/training/000000.png")
    dataset = read_dataset(tmp_path)
    assert facts(dataset)["images/training/000000.jpg"] == ("patches", "train")
    same(bits(dataset, "images/training/000000.jpg"), NONE, FIRST)


def test_dagm(tmp_path: Path) -> None:
    write_dagm(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("Class1", "Class2", "Class10")
    assert len(dataset.samples) == 12
    assert facts(dataset)["Class10/Train/0577.PNG"] == ("Class10", "train")
    assert facts(dataset)["Class2/Test/0001.PNG"] == ("good", "test")
    same(bits(dataset, "Class10/Train/0577.PNG"), NONE, NONE, FIRST)


def test_kolektor_sdd(tmp_path: Path) -> None:
    write_kolektor_sdd(tmp_path)
    dataset = read_dataset(tmp_path)
    assert facts(dataset) == {
        f"{folder}/{part}": (name, None)
        for folder in ("kos01", "kos02")
        for part, name in (("Part0.jpg", "good"), ("Part1.jpg", "defect"))
    }
    assert {sample.name: sample.group for sample in dataset.samples}["kos02/Part1.jpg"] == "kos02"
    for name in ("kos01/Part1.jpg", "kos02/Part1.jpg"):  # marked by 255 and by 1
        same(bits(dataset, name), FIRST)


def test_kolektor_sdd2(tmp_path: Path) -> None:
    write_kolektor_sdd2(tmp_path)
    dataset = read_dataset(tmp_path)
    assert facts(dataset) == {
        "train/10000.png": ("good", "train"),
        "train/10001.png": ("defect", "train"),
        "test/20000.png": ("good", "test"),
        "test/20001.png": ("defect", "test"),
    }
    same(bits(dataset, "test/20001.png"), FIRST)


def test_mvtec(tmp_path: Path) -> None:
    write_mvtec(tmp_path / "bolt")
    dataset = read_dataset(tmp_path / "bolt")
    assert dataset.classes == ("bent", "scratch")
    assert facts(dataset) == {
        "train/good/000.png": ("good", "train"),
        "train/good/001.png": ("good", "train"),
        "test/bent/000.png": ("bent", "test"),
        "test/good/000.png": ("good", "test"),
        "test/scratch/000.png": ("scratch", "test"),
    }
    same(bits(dataset, "test/scratch/000.png"), NONE, SECOND)
    write_mvtec(tmp_path / "nut")
    with pytest.raises(DatasetError, match=r"give one category, such as .*: bolt, nut"):
        read_dataset(tmp_path)


def test_crack500(tmp_path: Path) -> None:
    write_crack500(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("crack",)
    assert facts(dataset)["valcrop/valcrop/20160222_081013_1_361.jpg"] == ("crack", "validation")
    assert facts(dataset)["testcrop/20160222_081014_641_361.jpg"] == ("good", "test")
    groups = {sample.name: sample.group for sample in dataset.samples}
    assert groups["traincrop/20160222_081015_1_361.jpg"] == "20160222_081015"
    assert len(groups) == 6
    assert len(set(groups.values())) == 3
    same(bits(dataset, "traincrop/20160222_081015_1_361.jpg"), FIRST)


def test_pairs_of_one_class(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("defect",)
    assert [sample.picture_class for sample in dataset.samples] == ["defect", "defect", "good"]
    same(bits(dataset, "images/a.jpg"), FIRST)
    same(bits(dataset, "images/b.jpg"), SECOND)


def test_pairs_of_several_classes_in_parts(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_pairs(tmp_path / part)
        write(tmp_path / part / "masks/a.png", 2 * FIRST)
    (tmp_path / "classes.txt").write_text("dent\npit\n")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("dent", "pit")
    assert facts(dataset)["val/images/a.jpg"] == ("pit", "validation")
    assert facts(dataset)["test/images/b.jpg"] == ("dent", "test")
    same(bits(dataset, "train/images/a.jpg"), NONE, FIRST)


def test_coco(tmp_path: Path) -> None:
    write_coco(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("dent", "pit")  # without the heading
    folder = "images/train2017"
    assert facts(dataset) == {
        f"{folder}/{number}.jpg": (name, "train")
        for number, name in ((1, "dent,pit"), (2, "pit"), (3, "dent"), (4, "good"), (5, "dent"))
    }
    same(bits(dataset, f"{folder}/1.jpg"), FIRST, SECOND)
    same(bits(dataset, f"{folder}/2.jpg"), NONE, SECOND)  # a crowd, in uncompressed runs
    assert bits(dataset, f"{folder}/3.jpg") is None  # a box only
    same(bits(dataset, f"{folder}/4.jpg"))
    corner = NONE.copy()
    corner[:2, :2] = 1
    same(bits(dataset, f"{folder}/5.jpg"), FIRST | corner)


def test_coco_files_beside_their_pictures(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "valid", "test")):
        name = picture(tmp_path / part / f"{number}.jpg").name
        entry = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[6, 4, 20, 4, 20, 10, 6, 10]]}
        content = {
            "images": [{"id": 0, "file_name": name}],
            "annotations": [entry] if part == "train" else [],
            "categories": [{"id": 1, "name": "dent"}],
        }
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(content))
    dataset = read_dataset(tmp_path)
    assert [sample.split for sample in dataset.samples] == ["test", "train", "validation"]
    same(bits(dataset, "train/0.jpg"), FIRST)


def disc(radius: float) -> Grey:
    """A disc around (12, 12)."""
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    return np.asarray((y - 12) ** 2 + (x - 12) ** 2 <= radius**2, np.uint8)


def test_labelme(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("dent", "pit", "scratch")
    classes = {name: label for name, (label, _) in facts(dataset).items()}
    assert classes == {
        "circle.jpg": "pit", "good.jpg": "good", "line.jpg": "scratch", "overlap.jpg": "dent,pit",
        "patch.jpg": "dent", "point.jpg": "pit", "polygon.jpg": "dent", "strip.jpg": "scratch",
    }  # fmt: skip
    same(bits(dataset, "polygon.jpg"), FIRST)
    same(bits(dataset, "overlap.jpg"), FIRST, SECOND)
    same(bits(dataset, "patch.jpg"), FIRST)
    same(bits(dataset, "circle.jpg"), NONE, disc(3.5))
    same(bits(dataset, "point.jpg"), NONE, disc(5.5))  # of radius 5


def test_lines_of_labelme_are_ten_pixels_wide(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    dataset = read_dataset(tmp_path)
    for name in ("line.jpg", "strip.jpg"):
        found = bits(dataset, name)
        assert found is not None
        assert np.count_nonzero(found[:, 10]) == 10
        assert found[12, 2] == found[12, 29] == 4


def test_labelme_picture_may_be_embedded_or_elsewhere(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    content = json.loads((tmp_path / "polygon.json").read_text())
    data = (tmp_path / "polygon.jpg").read_bytes()
    content["imageData"] = base64.b64encode(data).decode()
    (tmp_path / "polygon.json").write_text(json.dumps(content))
    before = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    (tmp_path / "polygon.jpg").unlink()
    picture(tmp_path / "pictures/far.jpg")
    (tmp_path / "json").mkdir()
    far = labelme_facts("..\\pictures\\far.jpg", ("dent", "rectangle", [[6, 4], [19, 9]]))
    (tmp_path / "json/far.json").write_text(json.dumps(far))
    dataset = read_dataset(tmp_path)
    embedded = next(sample for sample in dataset.samples if sample.name == "polygon.json")
    assert before is not None
    np.testing.assert_allclose(embedded.pixels(), before, atol=2)  # decoders differ by rounding
    same(bits(dataset, "polygon.json"), FIRST)
    same(bits(dataset, "pictures/far.jpg"), FIRST)


def test_labelme_flag_named_like_a_class_labels_the_picture(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    content = json.loads((tmp_path / "good.json").read_text())
    (tmp_path / "good.json").write_text(json.dumps(content | {"flags": {"pit": True, "reviewed": True}}))
    dataset = read_dataset(tmp_path)
    assert facts(dataset)["good.jpg"] == ("pit", None)
    assert bits(dataset, "good.jpg") is None


def test_plain_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "my_parts")
    dataset = read_dataset(tmp_path / "my_parts")
    assert dataset.classes == ("dent", "pit")
    assert {sample.source for sample in dataset.samples} == {"my_parts"}
    assert facts(dataset) == {
        "good/a.jpg": ("good", None),
        "defect/dent/a.jpg": ("dent", None),
        "defect/dent/b.png": ("dent", None),
        "defect/pit/a.jpg": ("pit", None),
    }
    same(bits(dataset, "defect/pit/a.jpg"), NONE, SECOND)
    assert bits(dataset, "defect/dent/b.png") is None  # no mask: labelled as an image


def test_plain_folder_of_one_class(tmp_path: Path) -> None:
    picture(tmp_path / "good/a.jpg")
    picture(tmp_path / "defect/a.jpg")
    write(tmp_path / "masks/a.png", SCALE * FIRST)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("defect",)
    same(bits(dataset, "defect/a.jpg"), FIRST)


@pytest.mark.parametrize("layout", [name for name in WRITERS if name not in ("magnetic-tile", "shards")])
def test_groups_csv_joins_pictures_of_any_layout(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path)
    names = [sample.name for sample in read_dataset(tmp_path).samples]
    lines = [f"{name},part{at % 2},line {at}\n" for at, name in enumerate(names)]
    (tmp_path / "groups.csv").write_text("file,group,source\n" + "".join(lines))
    samples = read_dataset(tmp_path).samples
    assert [sample.group for sample in samples] == [f"part{at % 2}" for at in range(len(names))]
    assert samples[1].source == "line 1"
    (tmp_path / "groups.csv").write_text("file,group\n" + "".join(f"{name},g\n" for name in names[1:]))
    with pytest.raises(DatasetError, match=f"names no group for {names[0]}"):
        read_dataset(tmp_path)
    (tmp_path / "groups.csv").write_text(
        "file,group\n" + "".join(f"{name},g\n" for name in [*names, "gone.jpg"])
    )
    with pytest.raises(DatasetError, match=r"names gone\.jpg, which is missing"):
        read_dataset(tmp_path)


def test_without_groups_each_picture_is_its_own(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    assert [sample.group for sample in read_dataset(tmp_path).samples] == [
        "images/a.jpg",
        "images/b.jpg",
        "images/c.jpg",
    ]


def test_two_layouts_in_one_folder_need_a_name(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    write_folder(tmp_path)
    with pytest.raises(DatasetError, match="looks like pairs and folder; name its layout"):
        read_dataset(tmp_path)
    for name in ("images", "masks"):
        shutil.rmtree(tmp_path / name)
    assert len(read_dataset(tmp_path).samples) == 4

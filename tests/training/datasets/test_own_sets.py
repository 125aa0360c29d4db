"""Sets as people have them: what tools, spreadsheets and operating systems make of a layout."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding.decode import DecodeLimits, decode
from tests.training.datasets.layouts import (
    FIRST,
    SCALE,
    SECOND,
    SIZE,
    labelme_facts,
    picture,
    write,
    write_folder,
    write_labelme,
    write_mvtec,
)
from training.data.registry import read_dataset
from training.data.sample import IGNORED, Bits, Blob, Dataset, DatasetError
from training.labels import LabelsConfig

SQUARE = [6, 4, 20, 4, 20, 10, 6, 10]  # FIRST as a polygon
OTHER = [12, 8, 16, 8, 16, 20, 12, 20]  # SECOND
NAMES = ("a.jpg", "b.jpg", "good.jpg")


def coco_set(root: Path, folder: str = "images", file: str = "labels.json") -> dict[str, Any]:
    """Two images with a dent and a good one, and what their annotation file says."""
    for number, name in enumerate(NAMES):
        picture(root / folder / name, seed=number)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    return {
        "images": [{"id": k, "file_name": name, "height": 24, "width": 32} for k, name in enumerate(NAMES)],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "segmentation": [SQUARE], "bbox": [6, 4, 14, 6]}
            for k in (0, 1)
        ],
        "categories": [{"id": 1, "name": "dent"}],
    }


def save(root: Path, facts: dict[str, Any], file: str = "labels.json") -> Path:
    (root / file).write_text(json.dumps(facts))
    return root


def labels_of(dataset: Dataset) -> dict[str, str]:
    return {sample.name: sample.picture_class for sample in dataset.samples}


def bits_of(dataset: Dataset, name: str) -> Bits | None:
    return next(sample for sample in dataset.samples if sample.name == name).class_bits(SIZE)


@pytest.mark.parametrize(
    "written",
    [
        r"images\{}",
        r"C:\Users\Anna\line 2\{}",
        "../../label-studio/label-studio/media/upload/4/{}",
        "../../label-studio/media/upload/4/3f2a9c1b-{}",
        "/home/anna/line2/images/{}",
        "/data/local-files/?d=line2/{}",
        "https://example.com/upload/1/{}",
        "./{}",
        "IMAGES/{}",
    ],
)
def test_image_is_found_by_its_last_name_however_a_tool_writes_its_path(tmp_path: Path, written: str) -> None:
    facts = coco_set(tmp_path)
    for image in facts["images"]:
        image["file_name"] = written.format(image["file_name"])
    dataset = read_dataset(save(tmp_path, facts))
    assert labels_of(dataset) == {"images/a.jpg": "dent", "images/b.jpg": "dent", "images/good.jpg": "good"}
    np.testing.assert_array_equal(bits_of(dataset, "images/a.jpg"), FIRST)


def test_folders_of_a_path_decide_between_images_of_one_name(tmp_path: Path) -> None:
    facts = coco_set(tmp_path, "left")
    picture(tmp_path / "right/a.jpg", seed=7)
    facts["images"][0]["file_name"] = "/mnt/share/right/a.jpg"
    facts["images"].append({"id": 9, "file_name": "/mnt/share/left/a.jpg"})
    assert labels_of(read_dataset(save(tmp_path, facts)))["right/a.jpg"] == "dent"
    facts["images"][0]["file_name"] = "/mnt/share/a.jpg"
    with pytest.raises(DatasetError, match=r"a\.jpg, which lies in .*left and .*right; keep one"):
        read_dataset(save(tmp_path, facts))


def test_image_of_another_folder_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    facts = coco_set(tmp_path, "good")
    picture(tmp_path / "defect/other.jpg", seed=7)
    facts["images"][0]["file_name"] = "defect/a.jpg"
    facts["images"].append({"id": 9, "file_name": "defect/other.jpg"})
    with pytest.raises(DatasetError, match=r"names defect/a\.jpg, which is missing"):
        read_dataset(save(tmp_path, facts))


def test_image_beside_its_file_comes_before_others_of_that_name(tmp_path: Path) -> None:
    for folder in ("", "a", "b", "images"):
        picture(tmp_path / folder / "1.jpg")
        drawn: list[Any] = [] if folder else [("dent", "rectangle", [[6, 4], [19, 9]])]
        (tmp_path / folder / "1.json").write_text(json.dumps(labelme_facts("1.jpg", *drawn)))
    assert sorted(labels_of(read_dataset(tmp_path))) == ["1.jpg", "a/1.jpg", "b/1.jpg", "images/1.jpg"]


def test_encoded_names_are_decoded(tmp_path: Path) -> None:
    facts = coco_set(tmp_path)
    picture(tmp_path / "images/part 1.jpg")
    (tmp_path / "images/a.jpg").unlink()
    facts["images"][0]["file_name"] = "part%201.jpg"
    assert labels_of(read_dataset(save(tmp_path, facts)))["images/part 1.jpg"] == "dent"


def test_fiftyone_has_its_images_in_data(tmp_path: Path) -> None:
    facts = coco_set(tmp_path, "data")
    assert labels_of(read_dataset(save(tmp_path, facts)))["data/a.jpg"] == "dent"


def test_linked_folder_of_images_is_read(tmp_path: Path) -> None:
    facts = coco_set(tmp_path / "share", "photos")
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "images/default").symlink_to(tmp_path / "share/photos")
    (root / "images/default/again").symlink_to(root / "images")  # a circle
    assert labels_of(read_dataset(save(root, facts)))["images/default/a.jpg"] == "dent"


@pytest.mark.parametrize(("in_file", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_written_either_way(tmp_path: Path, in_file: str, on_disk: str) -> None:
    facts = coco_set(tmp_path / "coco")
    (tmp_path / "coco/images/a.jpg").unlink()
    picture(tmp_path / "coco/images" / unicodedata.normalize(on_disk, "fläche.jpg"))  # type: ignore[arg-type]
    facts["images"][0]["file_name"] = unicodedata.normalize(in_file, "fläche.jpg")  # type: ignore[arg-type]
    assert "dent" in labels_of(read_dataset(save(tmp_path / "coco", facts))).values()
    root = tmp_path / "folder"
    picture(root / "good/a.png")
    name = picture(root / "defect" / unicodedata.normalize(on_disk, "schürfung.png")).name  # type: ignore[arg-type]
    write(root / "masks" / unicodedata.normalize(in_file, "schürfung.png"), SCALE * FIRST)  # type: ignore[arg-type]
    (root / "groups.csv").write_text(
        f"file,group\ngood/a.png,1\ndefect/{unicodedata.normalize(in_file, 'schürfung.png')},2\n"  # type: ignore[arg-type]
    )
    dataset = read_dataset(root)
    np.testing.assert_array_equal(bits_of(dataset, f"defect/{name}"), FIRST)


def test_polygon_beside_a_box_is_kept_and_the_box_counts_nowhere(tmp_path: Path) -> None:
    facts = coco_set(tmp_path)
    box = {"id": 5, "image_id": 0, "category_id": 1, "segmentation": [], "bbox": [22, 12, 6, 8]}
    facts["annotations"] += [box, box | {"id": 6, "image_id": 1}]
    facts["annotations"].pop(1)  # of b.jpg there is the box alone
    dataset = read_dataset(save(tmp_path, facts))
    expected = FIRST.astype(np.uint16)
    expected[12:20, 22:28] = IGNORED
    np.testing.assert_array_equal(bits_of(dataset, "images/a.jpg"), expected)
    assert labels_of(dataset)["images/b.jpg"] == "dent"
    assert bits_of(dataset, "images/b.jpg") is None


def test_images_in_a_folder_without_annotations_are_never_left_out(tmp_path: Path) -> None:
    facts = coco_set(tmp_path, "images/train", "annotations/instances_train.json")
    save(tmp_path, facts, "annotations/instances_train.json")
    for number in range(3):
        picture(tmp_path / f"images/val/{number}.jpg")
    with pytest.raises(
        DatasetError, match=r"0\.jpg is named by no .*\(3 such files in .*val\).*unlisted: good"
    ):
        read_dataset(tmp_path)
    dataset = read_dataset(tmp_path, labels=LabelsConfig(unlisted="good"))
    assert list(labels_of(dataset).values()).count("good") == 4


@pytest.mark.parametrize("name", ["good", "OK", "normal"])
def test_images_in_a_folder_called_good_are_good(tmp_path: Path, name: str) -> None:
    facts = coco_set(tmp_path / "coco")
    picture(tmp_path / f"coco/{name}/1.jpg")
    assert labels_of(read_dataset(save(tmp_path / "coco", facts)))[f"{name}/1.jpg"] == "good"
    write_labelme(tmp_path / "labelme/defects")
    picture(tmp_path / f"labelme/{name}/1.jpg")
    dataset = read_dataset(tmp_path / "labelme")
    assert labels_of(dataset)[f"{name}/1.jpg"] == "good"
    assert len(dataset.samples) == 9


def test_unlisted_images_of_labelme_are_good_where_the_configuration_says_so(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    picture(tmp_path / "more.jpg")
    with pytest.raises(DatasetError, match=r"more\.jpg has no JSON file.*unlisted: good"):
        read_dataset(tmp_path)
    assert labels_of(read_dataset(tmp_path, labels=LabelsConfig(unlisted="good")))["more.jpg"] == "good"


def test_categories_that_no_picture_uses_are_left_out_and_said(tmp_path: Path) -> None:
    facts = coco_set(tmp_path)
    facts["categories"] = [{"id": k, "name": "dent" if k == 1 else f"kind{k}"} for k in range(20)]
    dataset = read_dataset(save(tmp_path, facts))
    assert dataset.classes == ("dent",)
    assert dataset.notes[0].startswith("no image shows the categories kind0, kind2, ")


def test_ids_may_be_text_here_and_numbers_there(tmp_path: Path) -> None:
    facts = coco_set(tmp_path)
    for entry in facts["annotations"]:
        entry |= {"image_id": str(entry["image_id"]), "category_id": "1"}
    assert labels_of(read_dataset(save(tmp_path, facts)))["images/b.jpg"] == "dent"


def test_all_faults_of_a_set_are_listed_at_once(tmp_path: Path) -> None:
    facts = coco_set(tmp_path)
    facts["annotations"][0]["segmentation"] = [SQUARE, [3.0, 4.0]]
    facts["annotations"][1]["segmentation"] = [[3.0, 4.0, 5.0, 6.0]]
    facts["annotations"].append({"id": 7, "image_id": 77, "category_id": 1})
    facts["images"].append({"id": 8, "file_name": "gone.jpg"})
    with pytest.raises(DatasetError) as refused:
        read_dataset(save(tmp_path, facts))
    lines = str(refused.value).splitlines()
    assert lines[0] == "the set has 4 faults:"
    for line, part in zip(
        lines[1:], ("has 2 numbers", "has 4 numbers", "gone.jpg", "the id 77"), strict=True
    ):
        assert part in line


def test_all_shapes_that_are_none_are_listed_at_once(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.jpg")
        shapes = [("dent", "polygon", [[6.0, 4.0], [7.0, 5.0]]), ("dent", "spiral", [[6.0, 4.0]])]
        (tmp_path / f"{name}.json").write_text(json.dumps(labelme_facts(f"{name}.jpg", *shapes)))
    with pytest.raises(DatasetError, match="the set has 4 faults:") as refused:
        read_dataset(tmp_path)
    assert str(refused.value).count("2 points make no polygon") == 2


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("rectangle", [[6, 4], [19, 4], [19, 9], [6, 9]]),
        ("rotation", [[6, 4], [19, 4], [19, 9], [6, 9]]),
        ("oriented_rectangle", [[19, 9], [6, 9], [6, 4], [19, 4]]),
    ],
)
def test_rectangles_of_four_points_are_read(tmp_path: Path, kind: str, points: list[list[float]]) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(json.dumps(labelme_facts("a.jpg", ("dent", kind, points))))
    np.testing.assert_array_equal(bits_of(read_dataset(tmp_path), "a.jpg"), FIRST)


def test_turned_rectangle_is_drawn_turned(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    points: list[list[float]] = [[16, 4], [20, 8], [12, 16], [8, 12]]
    (tmp_path / "a.json").write_text(json.dumps(labelme_facts("a.jpg", ("dent", "rotation", points))))
    bits = bits_of(read_dataset(tmp_path), "a.jpg")
    assert bits is not None
    assert [bool(bits[y, x]) for y, x in ((10, 14), (4, 8), (15, 19))] == [True, False, False]


HIDDEN = [
    "._polygon.json", "._polygon.jpg", ".vscode/settings.json", ".ipynb_checkpoints/polygon-checkpoint.json",
    ".ipynb_checkpoints/polygon-checkpoint.jpg", "__MACOSX/._polygon.json", "@eaDir/a.jpg/SYNOPHOTO.jpg",
    "desktop.ini", "Thumbs.db", ".DS_Store",
]  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("layout", ["labelme", "folder", "coco"])
def test_what_systems_and_editors_add_is_no_data(tmp_path: Path, name: str, layout: str) -> None:
    inside = {"labelme": "", "folder": "good/", "coco": "images/"}[layout]
    if layout == "coco":
        save(tmp_path, coco_set(tmp_path))
    else:
        {"labelme": write_labelme, "folder": write_folder}[layout](tmp_path)
    before = labels_of(read_dataset(tmp_path))
    for folder in ("", inside):
        (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"\x00\x05\x16\x07{}")
    assert labels_of(read_dataset(tmp_path)) == before


def test_root_may_be_given_through_another_folder(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    (tmp_path / "other").mkdir()
    assert len(read_dataset(tmp_path / "other" / "..").samples) == 8


def plain(root: Path, good: str, defect: str, masks: str, ending: str = "") -> Dataset:
    """A plain folder whose folders and masks are called so."""
    picture(root / good / "g.png")
    picture(root / defect / "d.png")
    if masks:
        write(root / masks / f"d{ending}.png", SCALE * FIRST)
    return read_dataset(root)


@pytest.mark.parametrize(
    ("good", "defect", "masks"),
    [("Good", "Defect", "Masks"), ("OK", "NG", ""), ("normal", "abnormal", "mask"), ("ok", "nok", "masks")],
)
def test_usual_names_of_folders_are_read(tmp_path: Path, good: str, defect: str, masks: str) -> None:
    dataset = plain(tmp_path, good, defect, masks)
    assert labels_of(dataset) == {f"{good}/g.png": "good", f"{defect}/d.png": "defect"}
    bits = bits_of(dataset, f"{defect}/d.png")
    np.testing.assert_array_equal(bits, FIRST) if masks else None
    assert (bits is None) == (not masks)


@pytest.mark.parametrize("ending", ["_mask", "-mask", "_GT", "_label"])
def test_mask_may_have_an_ending(tmp_path: Path, ending: str) -> None:
    np.testing.assert_array_equal(
        bits_of(plain(tmp_path, "good", "defect", "masks", ending), "defect/d.png"), FIRST
    )
    write(tmp_path / "masks/d.png", SCALE * FIRST)
    with pytest.raises(DatasetError, match="are masks of one image; keep one"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("place", ["masks/g.png", "masks/good/g.png"])
def test_good_pictures_may_have_masks_too(tmp_path: Path, place: str) -> None:
    defect = "defect/dent" if "good" in place else "defect"
    plain(tmp_path, "good", defect, defect.replace("defect", "masks"))
    write(tmp_path / place, 0 * FIRST)
    dataset = read_dataset(tmp_path)
    assert labels_of(dataset)["good/g.png"] == "good"
    assert next(each for each in dataset.samples if not each.defective).annotation is not None


def test_btad_calls_its_good_pictures_ok(tmp_path: Path) -> None:
    for name in ("train/ok/0.bmp", "test/ok/0.bmp", "test/ko/0.bmp"):
        picture(tmp_path / "btad" / name)
    write(tmp_path / "btad/ground_truth/ko/0.png", SCALE * FIRST)
    dataset = read_dataset(tmp_path / "btad")
    assert labels_of(dataset) == {"train/ok/0.bmp": "good", "test/ok/0.bmp": "good", "test/ko/0.bmp": "ko"}
    np.testing.assert_array_equal(bits_of(dataset, "test/ko/0.bmp"), FIRST)


def test_layout_of_a_public_set_says_nothing_of_source(tmp_path: Path) -> None:
    write_mvtec(tmp_path / "my_bolts")
    assert {sample.source for sample in read_dataset(tmp_path / "my_bolts").samples} == {"my_bolts"}


@pytest.mark.parametrize("suffix", [".gif", ".heic", ".avif"])
def test_formats_that_are_not_read_are_refused_with_the_fix(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path)
    (tmp_path / f"good/new{suffix}").write_bytes(b"RIFF")
    with pytest.raises(DatasetError, match=rf"new\{suffix} has no place there; .*: convert it to PNG"):
        read_dataset(tmp_path)


def saved(pixels: NDArray[np.uint8], path: Path, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_webp_is_read_as_the_pixels_that_it_holds(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    grey, colour = (chance.integers(0, 255, shape, dtype=np.uint8) for shape in ((40, 60), (40, 60, 3)))
    write_folder(tmp_path)
    saved(grey, tmp_path / "good/grey.webp", lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    saved(colour, tmp_path / "good/colour.webp", lossless=True, exif=turned)
    samples = {sample.name: sample for sample in read_dataset(tmp_path).samples}
    np.testing.assert_array_equal(samples["good/grey.webp"].pixels(), grey)
    found = decode(samples["good/colour.webp"].image.read(), DecodeLimits())
    np.testing.assert_array_equal(found, np.rot90(colour, -1))


def test_webp_that_cannot_be_used_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(np.zeros((40, 60), np.uint8), tmp_path / "whole.webp")
    frames = [Image.new("L", (40, 60), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    (tmp_path / "cut.webp").write_bytes(whole.read_bytes()[:-20])
    for name, why in (("moving", "several frames"), ("cut", "broken")):
        with pytest.raises(DatasetError, match=f"{name}.webp cannot be read: .*{why}"):
            Blob(tmp_path / f"{name}.webp").read()
    monkeypatch.setenv("PASSLINE_MAX_PIXELS", "2399")
    with pytest.raises(DatasetError, match="2400 pixels; the limit is 2399"):
        Blob(whole).read()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("change", [str, lambda name: name.replace("/", "\\"), lambda name: f"./{name}"])
def test_groups_as_spreadsheets_write_them(
    tmp_path: Path, separator: str, change: Callable[[str], str]
) -> None:
    write_folder(tmp_path)
    names = [sample.name for sample in read_dataset(tmp_path).samples]
    rows = [("File", "Group"), *((change(name), f"part {k}") for k, name in enumerate(names))]
    text = "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "groups.csv").write_text(text, encoding="utf-8-sig")
    assert [sample.group for sample in read_dataset(tmp_path).samples] == [f"part {k}" for k in range(4)]


FOREIGN: list[tuple[str, dict[str, str], str]] = [
    (
        "YOLO",
        {"data.yaml": "nc: 1", "train/labels/a.txt": "0 0.1 0.1 0.2 0.1 0.2 0.2\n"},
        "train/images/a.jpg",
    ),
    ("Pascal VOC masks", {"SegmentationClass/a.png": ""}, "JPEGImages/a.jpg"),
    (
        "CVAT for images",
        {"annotations.xml": '<annotations><image id="0"></image></annotations>'},
        "images/a.jpg",
    ),
    ("Pascal VOC boxes", {"a.xml": "<annotation><object></object></annotation>"}, "a.jpg"),
    ("Label Studio's own JSON", {"p.json": '[{"file_upload": "a.jpg", "annotations": []}]'}, "a.jpg"),
    ("Label Studio's brush", {"masks/task-0-annotation-0-by-1-tag-dent-0.png": ""}, "images/a.jpg"),
    ("Roboflow", {"train/_classes.csv": "0, background", "train/a_mask.png": ""}, "train/a.jpg"),
    ("Supervisely", {"meta.json": "{}", "ds0/ann/a.jpg.json": "{}"}, "ds0/img/a.jpg"),
    ("VGG Image Annotator", {"via.json": '{"a": {"regions": [{"shape_attributes": {}}]}}'}, "a.jpg"),
]


@pytest.mark.parametrize(("tool", "files", "image"), FOREIGN)
def test_export_of_a_tool_that_is_not_read_is_named(
    tmp_path: Path, tool: str, files: dict[str, str], image: str
) -> None:
    picture(tmp_path / image)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = rf"is an export of .*{tool}.* has to be (imported|converted) first"
    with pytest.raises(DatasetError, match=said):
        read_dataset(tmp_path)


def test_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no known layout: it holds no images$"):
        read_dataset(tmp_path)
    picture(tmp_path / "good/a.png")
    with pytest.raises(DatasetError, match="defect is missing; put defective images there"):
        read_dataset(tmp_path)


def two_classes(root: Path, second: str, segmentation: list[list[int]] | None = None) -> Path:
    """A COCO set whose images a and good show a second class."""
    facts = coco_set(root)
    facts["categories"].append({"id": 2, "name": second})
    drawn = [OTHER] if segmentation is None else segmentation
    facts["annotations"] += [
        {"id": 8 + k, "image_id": k, "category_id": 2, "segmentation": drawn, "bbox": [12, 8, 4, 12]}
        for k in (0, 2)
    ]
    return save(root, facts)


@pytest.mark.parametrize("name", ["OK", "ignore", "ROI"])
def test_class_that_hardly_means_a_defect_is_said(tmp_path: Path, name: str) -> None:
    dataset = read_dataset(two_classes(tmp_path, name))
    assert dataset.classes == ("dent", name)
    assert dataset.notes[0].startswith(f"'{name}' is trained as a defect class; if it is none, say so")


def test_class_may_be_left_out(tmp_path: Path) -> None:
    root = two_classes(tmp_path, "OK", [])  # as tools mark a whole image: by a box
    dataset = read_dataset(root, labels=LabelsConfig(classes={"OK": "good"}))
    assert dataset.classes == ("dent",)
    assert dataset.notes == ()
    assert labels_of(dataset)["images/good.jpg"] == "good"
    np.testing.assert_array_equal(bits_of(dataset, "images/a.jpg"), FIRST)


def test_class_may_be_ignored(tmp_path: Path) -> None:
    root = two_classes(tmp_path, "ignore")
    dataset = read_dataset(root, labels=LabelsConfig(classes={"ignore": "ignore"}))
    assert dataset.classes == ("dent",)
    expected = np.where(SECOND > 0, IGNORED, FIRST.astype(np.uint16))
    np.testing.assert_array_equal(bits_of(dataset, "images/a.jpg"), expected)
    assert labels_of(dataset)["images/good.jpg"] == "good"
    expected = np.where(SECOND > 0, IGNORED, np.uint16(0))
    np.testing.assert_array_equal(bits_of(dataset, "images/good.jpg"), expected)


def test_classes_may_be_renamed_and_merged(tmp_path: Path) -> None:
    root = two_classes(tmp_path, "凹坑")
    with pytest.raises(
        DatasetError, match=r"or rename it in the configuration, labels: classes: \{'凹坑': defect\}"
    ):
        read_dataset(root)
    dataset = read_dataset(root, labels=LabelsConfig(classes={"凹坑": "pit"}))
    assert dataset.classes == ("dent", "pit")
    dataset = read_dataset(root, labels=LabelsConfig(classes={"凹坑": "dent"}))
    assert dataset.classes == ("dent",)
    np.testing.assert_array_equal(bits_of(dataset, "images/a.jpg"), FIRST | SECOND)


def test_renamed_class_that_the_set_lacks_is_refused(tmp_path: Path) -> None:
    root = two_classes(tmp_path, "pit")
    with pytest.raises(DatasetError, match="names 'pits', which the set does not have; it has dent, pit"):
        read_dataset(root, labels=LabelsConfig(classes={"pits": "pit"}))


@pytest.mark.parametrize("layout", ["folder", "labelme"])
def test_classes_of_other_layouts_are_renamed_too(tmp_path: Path, layout: str) -> None:
    {"folder": write_folder, "labelme": write_labelme}[layout](tmp_path)
    dataset = read_dataset(tmp_path, labels=LabelsConfig(classes={"dent": "flaw", "pit": "flaw"}))
    assert dataset.classes == (("flaw",) if layout == "folder" else ("flaw", "scratch"))
    assert "flaw" in labels_of(dataset).values()


def test_more_classes_than_can_be_trained_are_merged(tmp_path: Path) -> None:
    for number in range(17):
        picture(tmp_path / f"defect/kind{number}/a.jpg")
    renamed = {f"kind{number}": "other" for number in range(3, 17)}
    assert len(read_dataset(tmp_path, labels=LabelsConfig(classes=renamed)).classes) == 4

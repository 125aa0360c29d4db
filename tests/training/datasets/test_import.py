"""Exports of annotation tools, each written here as its tool writes it, become sets with exact masks."""

import base64
import csv
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from app.inspection.errors import PasslineError
from training.config_files import labels_of
from training.data.exports.brush import brushed
from training.data.exports.datumaro_reader import PYTHON
from training.data.exports.importing import FORMATS, import_export
from training.data.exports.writer import LABELS, Imported
from training.data.registry import read_dataset
from training.data.sample import Dataset, DatasetError, Flags, class_mask

SIZE = (96, 128)
DENT, PIT = (30, 20, 60, 40), (80, 60, 110, 80)  # left, top, right, bottom; the last ones lie outside
Json = dict[str, Any]


def box(left: int, top: int, right: int, bottom: int) -> Flags:
    flags = np.zeros(SIZE, np.bool_)
    flags[top:bottom, left:right] = True
    return flags


def corners(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def image(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 255, size, np.uint8)
    Image.fromarray(noise).save(path)
    return path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def dumped(path: Path, value: object) -> Path:
    return written(path, json.dumps(value, ensure_ascii=False))


def mask(path: Path, values: np.ndarray[Any, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def taken(name: str, root: Path) -> tuple[Imported, Dataset]:
    """An export after its import, as the reader sees it."""
    out = root.parent / "out"
    imported = import_export(name, root, out)
    labels = labels_of(out / LABELS if imported.renamed else None)
    return imported, read_dataset(out, labels=labels)


def marked(dataset: Dataset, name: str) -> dict[str, Flags]:
    """Where an image, by the end of its name, shows each class."""
    (sample,) = [each for each in dataset.samples if each.name.endswith(name)]
    bits = sample.class_bits(SIZE)
    assert bits is not None
    shown = {label: class_mask(bits, number) for number, label in enumerate(dataset.classes, 1)}
    return {label: flags for label, flags in shown.items() if flags.any()}


def same(found: dict[str, Flags], **expected: Flags) -> None:
    assert found.keys() == expected.keys()
    for label, flags in expected.items():
        assert np.array_equal(found[label], flags), label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of an export, with an image that shows a dent and a pit and one that is good."""
    image(tmp_path / "export/images/a.png")
    image(tmp_path / "export/images/good.png")
    return tmp_path / "export"


def yolo(root: Path) -> None:
    written(root / "data.yaml", yaml.safe_dump({"names": {0: "dent", 1: "pit", 2: "rust"}}))
    lines = [
        " ".join(
            [
                str(number),
                *(
                    f"{v / side:.6f}"
                    for point in corners(*at)
                    for v, side in zip(point, (128, 96), strict=True)
                ),
            ]
        )
        for number, at in enumerate((DENT, PIT))
    ]
    written(root / "labels/a.txt", "\n".join(lines))


def cvat(root: Path) -> None:
    points = ";".join(f"{x},{y}" for x, y in corners(*DENT))
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("dent", "pit", "rust"))
    rows = "0,600"  # of a box that the pit fills
    written(
        root / "annotations.xml",
        f"<annotations><meta><task><labels>{labels}</labels></task></meta>"
        f'<image id="0" name="a.png" width="128" height="96"><polygon label="dent" points="{points}"/>'
        f'<mask label="pit" rle="{rows}" left="80" top="60" width="30" height="20"/>'
        '<polyline label="rust" points="1,1;5,5"/></image>'
        '<image id="1" name="good.png" width="128" height="96"/></annotations>',
    )


def colours(root: Path) -> None:
    (root / "images").rename(root / "JPEGImages")
    written(
        root / "labelmap.txt",
        "# label\nbackground:0,0,0::\ndent:250,50,83::\npit:51,221,255::\nrust:1,2,3::\n",
    )
    values = np.zeros((*SIZE, 3), np.uint8)
    values[box(*DENT)], values[box(*PIT)] = (250, 50, 83), (51, 221, 255)
    mask(root / "SegmentationClass/a.png", values)
    written(root / "ImageSets/Segmentation/default.txt", "a\ngood\n")


def percent(at: tuple[int, int, int, int]) -> Json:
    left, top, right, bottom = at
    sides = {"width": (right - left) / 1.28, "height": (bottom - top) / 0.96}
    return {"x": left / 1.28, "y": top / 0.96, "rotation": 0, **sides}


def region(kind: str, value: Json, label: str) -> Json:
    return {
        "type": f"{kind}labels",
        "original_width": 128,
        "original_height": 96,
        "value": value | {f"{kind}labels": [label]},
    }


def task(name: str, *annotations: Json, **more: object) -> Json:
    return {"id": 1, "data": {"image": name}, "annotations": list(annotations), **more}


def packed(flags: Flags) -> list[int]:
    """Brush strokes as Label Studio packs them: runs of equal bytes, and one run of bytes one by one."""
    values = np.repeat(flags.ravel() * np.uint8(255), 4)
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), values.size]
    for start, end in pairwise(edges):
        if end - start <= 8:
            bits += f"000{end - start - 1:03b}" + "".join(f"{value:08b}" for value in values[start:end])
            continue
        for at in range(start, end, 1 << 16):
            length = min(end, at + (1 << 16)) - at
            bits += f"111{length - 1:016b}{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def label_studio(root: Path) -> None:
    points = [[x / 1.28, y / 0.96] for x, y in corners(*DENT)]
    brush = {"format": "rle", "rle": packed(box(*PIT))}
    results = [region("polygon", {"points": points}, "dent"), region("brush", brush, "pit")]
    results.append(region("keypoint", {"x": 1, "y": 1}, "rust"))
    (root / "images/a.png").rename(root / "images/a b.png")
    tasks = [
        task("/data/upload/1/0a1b2c3d-a%20b.png", {"result": results}, predictions=[{"result": results}]),
        task("/data/upload/1/good.png", {"result": []}),
    ]
    dumped(root / "project.json", tasks)


def brush_png(root: Path) -> None:
    for label, at in (("dent", DENT), ("pit", PIT)):
        mask(root / f"task-7-annotation-3-by-1-tag-{label}-0.png", box(*at) * np.uint8(255))
    written(root / "tasks.csv", "task,file\n7,a.png\n8,good.png\n")


def supervisely(root: Path) -> None:
    (root / "ds").mkdir()
    (root / "images").rename(root / "ds/img")
    dumped(root / "meta.json", {"classes": [{"title": name} for name in ("dent", "pit", "rust")]})
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30), 255, np.uint8)).convert("1").save(buffer, "PNG")
    bitmap = {"data": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "origin": [80, 60]}
    dent = {"exterior": corners(*DENT), "interior": []}
    objects = [
        {"classTitle": "dent", "geometryType": "polygon", "points": dent},
        {"classTitle": "pit", "geometryType": "bitmap", "bitmap": bitmap},
    ]
    dumped(root / "ds/ann/a.png.json", {"size": {"height": 96, "width": 128}, "objects": objects})


def via(root: Path) -> None:
    xs, ys = zip(*corners(*DENT), strict=True)
    dent = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    pit = {"name": "rect", "x": 80, "y": 60, "width": 30, "height": 20}
    regions = [
        {"shape_attributes": dent, "region_attributes": {"defect": "dent"}},
        {"shape_attributes": pit, "region_attributes": {"defect": {"pit": True}}},
    ]
    content = {"a": {"filename": "a.png", "regions": regions}, "g": {"filename": "good.png", "regions": []}}
    dumped(root / "via.json", {"_via_img_metadata": content, "_via_settings": {}})


def roboflow(root: Path) -> None:
    (root / "images").rename(root / "train")
    with (root / "train/_classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("Pixel Value", " Class"), (0, " background"), (1, " dent"), (2, " pit"), (3, " rust")]
        )
    mask(root / "train/a_mask.png", box(*DENT) + 2 * box(*PIT).astype(np.uint8))
    mask(root / "train/good_mask.png", np.zeros(SIZE, np.uint8))


WRITERS: dict[str, Callable[[Path], None]] = {
    "yolo": yolo,
    "cvat": cvat,
    "voc": colours,
    "label-studio": label_studio,
    "label-studio-png": brush_png,
    "supervisely": supervisely,
    "via": via,
    "roboflow": roboflow,
}


@pytest.mark.parametrize("name", WRITERS)
def test_export_becomes_a_set_with_the_same_pixels(root: Path, name: str) -> None:
    WRITERS[name](root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    imported, dataset = taken(name, root)
    assert imported.images == 2
    shown = marked(dataset, "b.png" if name == "label-studio" else "a.png")
    same(shown, dent=box(*DENT), pit=box(*PIT))
    assert [each.picture_class for each in dataset.samples if each.name.endswith("good.png")] == ["good"]
    if "rust" in str(before.values()) and name != "label-studio":
        assert "no image shows the classes rust: they are left out" in imported.notes
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in root.parent.iterdir()) == ["export", "out"]


def test_btad_is_read_by_its_folders(tmp_path: Path) -> None:
    for name in ("train/ok/0.bmp", "test/ok/0.bmp", "test/ko/0.bmp"):
        image(tmp_path / "export/01" / name)
    mask(tmp_path / "export/01/ground_truth/ko/0.png", box(*DENT) * np.uint8(255))
    _, dataset = taken("btad", tmp_path / "export")
    same(marked(dataset, "ko/0.bmp"), ko=box(*DENT))
    assert sorted(each.split or "" for each in dataset.samples) == ["test", "test", "train"]


def test_zip_with_files_of_macos_is_read(root: Path) -> None:
    yolo(root)
    archive = root.parent / "export.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(root.parent))
        file.writestr("__MACOSX/export/images/._a.png", b"nothing")
    _, dataset = taken("yolo", archive)
    same(marked(dataset, "a.png"), dent=box(*DENT), pit=box(*PIT))


def test_missing_images_are_all_named_and_nothing_is_left(root: Path) -> None:
    cvat(root)
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"2 faults:\n.*a\.png.*\n.*good\.png"):
        import_export("cvat", root, root.parent / "out")
    assert [path.name for path in root.parent.iterdir()] == ["export"]


def test_filled_folder_is_refused(root: Path) -> None:
    yolo(root)
    written(root.parent / "out/mine.txt", "mine")
    with pytest.raises(DatasetError, match="is there already"):
        import_export("yolo", root, root.parent / "out")
    assert (root.parent / "out/mine.txt").read_text() == "mine"


def test_parts_and_equal_names_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for part in ("train", "valid"):
        image(root / part / "images/a.png")
        written(root / part / "labels/a.txt", "0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5" * (part == "train"))
    written(root / "data.yaml", "names: [dent]")
    _, dataset = taken("yolo", root)
    assert {each.name: each.split for each in dataset.samples} == {
        "images/train/a.png": "train",
        "images/valid/a.png": "validation",
    }


def test_box_of_yolo_labels_its_image_and_marks_no_pixel(root: Path) -> None:
    yolo(root)
    written(root / "labels/a.txt", "0 0.5 0.5 0.25 0.25")
    _, dataset = taken("yolo", root)
    (sample,) = [each for each in dataset.samples if each.defective]
    assert sample.picture_class == "dent"
    assert sample.class_bits(SIZE) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("5 0.1 0.1 0.2 0.1 0.2 0.2", "no class has the number 5"),
        ("0 0.1 0.1 0.2", "neither a box"),
        ("0 10 10 20 10 20 20", "lies outside 0 to 1"),
        ("dent 0.1 0.1 0.2 0.1 0.2 0.2", "cannot be read"),
    ],
)
def test_broken_line_of_yolo_is_named(root: Path, line: str, said: str) -> None:
    yolo(root)
    written(root / "labels/a.txt", f"\n{line}\n")
    with pytest.raises(DatasetError, match=rf"a\.txt line 2.*{said}"):
        import_export("yolo", root, root.parent / "out")


def test_text_of_yolo_outside_labels_is_not_passed_over(root: Path) -> None:
    yolo(root)
    (root / "annotations").mkdir()
    (root / "labels/a.txt").rename(root / "annotations/a.txt")
    with pytest.raises(
        DatasetError, match=r"annotations/a\.txt has an image's name, but is in no folder labels"
    ):
        import_export("yolo", root, root.parent / "out")


def test_names_in_any_script_are_renamed_in_a_file(root: Path) -> None:
    yolo(root)
    written(root / "data.yaml", "names: [划痕, tiefer Kratzer]")
    imported, dataset = taken("yolo", root)
    assert dataset.classes == ("defect", "tiefer_Kratzer")
    assert "class '划痕' becomes 'defect' in labels.yaml; change it there" in imported.notes
    assert (
        yaml.safe_load((root.parent / "out" / LABELS).read_text("utf-8"))["labels"]["classes"]["划痕"]
        == "defect"
    )


def test_hole_is_cut_out_and_overlap_is_kept(root: Path) -> None:
    supervisely(root)
    points = {"exterior": corners(*DENT), "interior": [corners(40, 25, 50, 30)]}
    objects = [
        {"classTitle": "dent", "geometryType": "polygon", "points": points},
        {
            "classTitle": "pit",
            "geometryType": "rectangle",
            "points": {"exterior": [[30, 20], [60, 40]], "interior": []},
        },
    ]
    dumped(root / "ds/ann/a.png.json", {"size": {"height": 96, "width": 128}, "objects": objects})
    _, dataset = taken("supervisely", root)
    same(marked(dataset, "a.png"), dent=box(*DENT) & ~box(40, 25, 50, 30), pit=box(*DENT))


def test_void_of_pascal_voc_is_ignored(root: Path) -> None:
    colours(root)
    values = np.asarray(Image.open(root / "SegmentationClass/a.png")).copy()
    values[box(*PIT)] = (224, 224, 192)
    mask(root / "SegmentationClass/a.png", values)
    _, dataset = taken("voc", root)
    (sample,) = [each for each in dataset.samples if each.defective]
    same(marked(dataset, "a.png"), dent=box(*DENT))
    bits = sample.class_bits(SIZE)
    assert bits is not None
    assert np.array_equal(bits >> 15 > 0, box(*PIT))
    assert dataset.notes == ()


@pytest.mark.parametrize("kind", ["cvat", "label-studio"])
def test_turned_rectangle_stays_turned(root: Path, kind: str) -> None:
    """By 90 degrees: CVAT turns around the centre, Label Studio around the first corner."""
    if kind == "cvat":
        shape = '<box label="dent" xtl="30" ytl="20" xbr="60" ybr="40" rotation="90"/>'
        written(root / "a.xml", f'<annotations><image name="a.png">{shape}</image></annotations>')
        expected = box(35, 15, 55, 45)
    else:
        value = percent(DENT) | {"rotation": 90}
        dumped(root / "a.json", [task("a.png", {"result": [region("rectangle", value, "dent")]})])
        expected = box(10, 20, 30, 50)
    _, dataset = taken(kind, root)
    same(marked(dataset, "a.png"), dent=expected)


def test_ellipse_is_filled_and_cut_at_the_edge(root: Path) -> None:
    shape = '<ellipse label="dent" cx="0" cy="48" rx="40" ry="20"/>'
    written(root / "a.xml", f'<annotations><image name="a.png">{shape}</image></annotations>')
    _, dataset = taken("cvat", root)
    assert marked(dataset, "a.png")["dent"].sum() == pytest.approx(math.pi * 40 * 20 / 2, rel=0.02)


def test_cancelled_annotations_are_left_out_and_several_are_joined(root: Path) -> None:
    dent, pit = (region("rectangle", percent(at), label) for at, label in ((DENT, "dent"), (PIT, "pit")))
    tasks = [
        task("a.png", {"result": [dent]}, {"result": [pit]}, {"result": [dent], "was_cancelled": True}),
        task("good.png", {"result": [dent], "was_cancelled": True}),
    ]
    dumped(root / "a.json", tasks)
    imported, dataset = taken("label-studio", root)
    same(marked(dataset, "a.png"), dent=box(*DENT), pit=box(*PIT))
    assert len(dataset.samples) == 1
    assert any("tasks have no annotation" in note for note in imported.notes)


def test_brush_pngs_without_a_table_say_what_to_export(root: Path) -> None:
    brush_png(root)
    (root / "tasks.csv").unlink()
    with pytest.raises(DatasetError, match=r"nothing says which image a task is of.*--format label-studio"):
        import_export("label-studio-png", root, root.parent / "out")


def test_broken_brush_strokes_are_refused() -> None:
    whole = packed(box(*DENT))
    assert np.array_equal(brushed(whole, SIZE, "a"), box(*DENT))
    with pytest.raises(DatasetError, match="ends early"):
        brushed(whole[:-3], SIZE, "a")
    with pytest.raises(DatasetError, match="holds 12288 pixels"):
        brushed(whole, (10, 10), "a")
    with pytest.raises(DatasetError, match="holds no bytes"):
        brushed([999], SIZE, "a")


def test_other_size_is_refused(root: Path) -> None:
    cvat(root)
    image(root / "images/a.png", (48, 64))
    with pytest.raises(DatasetError, match="annotated at 128 x 96 px, but the image has 64 x 48 px"):
        import_export("cvat", root, root.parent / "out")


@pytest.mark.parametrize("name", FORMATS)
def test_folder_of_another_kind_is_refused_in_a_sentence(root: Path, name: str) -> None:
    with pytest.raises((DatasetError, PasslineError), match=str(root)):
        import_export(name, root, root.parent / "out")


def test_missing_environment_is_said_with_its_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = ("training.data.exports.datumaro_reader.read_datumaro.__defaults__", (root / "none",))
    monkeypatch.setattr(*defaults)
    with pytest.raises(DatasetError, match=r"datumaro is not set up.*run once.*: make import$"):
        import_export("datumaro:camvid", root, root.parent / "out")


@pytest.mark.skipif(not PYTHON.is_file(), reason="datumaro is not set up: make import")
def test_other_formats_are_read_through_datumaro(root: Path) -> None:
    colours(root)
    imported, dataset = taken("datumaro:voc_segmentation", root)
    assert imported.images == 2
    same(marked(dataset, "a.png"), dent=box(*DENT), pit=box(*PIT))
    with pytest.raises(DatasetError, match="datumaro cannot read"):
        import_export("datumaro:no_such_format", root, root.parent / "other")


def cvat_images(root: Path, *images: str) -> None:
    written(root / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")


def cvat_image(name: str, *shapes: str) -> str:
    return f'<image name="{name}" width="{SIZE[1]}" height="{SIZE[0]}">{"".join(shapes)}</image>'


CVAT_DENT = '<polygon label="dent" points="30,20;60,20;60,40;30,40"/>'


@pytest.mark.parametrize(
    "mark",
    [
        '<polyline label="pit" points="1,1;50,50"/>',
        '<tag label="pit"/>',
        '<points label="pit" points="5,5"/>',
        '<polygon label="pit" points="5,5;5,5;5,5"/>',
    ],
)
def test_image_whose_marks_show_no_pixel_is_not_good(root: Path, mark: str) -> None:
    image(root / "images/c.png")
    cvat_images(root, cvat_image("a.png", CVAT_DENT), cvat_image("c.png", mark), cvat_image("good.png"))
    imported, dataset = taken("cvat", root)
    assert {each.name: each.defective for each in dataset.samples} == {
        "images/a.png": True,
        "images/good.png": False,
    }
    assert "neither good nor defective" in " ".join(imported.notes)


def test_tag_that_says_good_leaves_an_image_good(root: Path) -> None:
    good = cvat_image("good.png", '<tag label="OK"/>')
    cvat_images(root, cvat_image("a.png", CVAT_DENT), good)
    _, dataset = taken("cvat", root)
    assert [each.defective for each in dataset.samples] == [True, False]


def label_studio_task(data: Json, *results: Json) -> Json:
    return {"id": 1, "data": data, "annotations": [{"result": list(results)}]}


def labelled_region(**more: object) -> Json:
    value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["dent"]}
    return {"id": "r", "type": "polygonlabels", "value": value, **more}


def test_choice_without_a_region_is_not_good(root: Path) -> None:
    image(root / "images/c.png")
    choice = [{"id": "q", "type": "choices", "value": {"choices": [each]}} for each in ("Scratch", "OK")]
    tasks = [
        label_studio_task({"image": "a.png"}, labelled_region()),
        label_studio_task({"image": "c.png"}, choice[0]),
        label_studio_task({"image": "good.png"}, choice[1]),
    ]
    dumped(root / "p.json", tasks)
    _, dataset = taken("label-studio", root)
    assert {each.name: each.defective for each in dataset.samples} == {
        "images/a.png": True,
        "images/good.png": False,
    }


def test_task_of_two_images_is_refused(root: Path) -> None:
    dumped(root / "p.json", [label_studio_task({"left": "a.png", "right": "good.png"}, labelled_region())])
    with pytest.raises(DatasetError, match=r"several images, a\.png and good\.png"):
        taken("label-studio", root)


def test_regions_that_no_id_joins_with_their_labels_are_refused(root: Path) -> None:
    pair = [
        {"type": "polygon", "value": {"points": [[0, 0], [50, 0], [50, 50]]}},
        {"type": "labels", "value": {"labels": ["dent"]}},
    ]
    dumped(root / "p.json", [label_studio_task({"image": "a.png"}, *pair)])
    with pytest.raises(DatasetError, match="has no id"):
        taken("label-studio", root)


@pytest.mark.parametrize(
    "name",
    [
        "/data/local-files/?d=set%5Cimages%5Ca.png",
        "https://host/x/a.png?signature=1",
        "s3://b/images/%61.png?v=1",
    ],
)
def test_encoded_separators_and_queries_are_read(root: Path, name: str) -> None:
    dumped(root / "p.json", [label_studio_task({"image": name}, labelled_region())])
    _, dataset = taken("label-studio", root)
    assert [each.name for each in dataset.samples] == ["images/a.png"]


def test_classes_of_yolo_are_a_list(root: Path) -> None:
    written(root / "data.yaml", "names: dent")
    with pytest.raises(DatasetError, match=r"names: \[dent\]"):
        taken("yolo", root)


@pytest.mark.parametrize("names", [("\u00e9.png", "e\u0301.txt"), ("IMG.PNG", "img.txt")])
def test_text_of_yolo_is_found_in_another_spelling(root: Path, names: tuple[str, str]) -> None:
    image(root / "images" / names[0])
    written(root / "labels" / names[1], "0 0.1 0.1 0.5 0.1 0.5 0.5")
    written(root / "data.yaml", "names: [dent]")
    _, dataset = taken("yolo", root)
    assert [each.defective for each in dataset.samples].count(True) == 1


def test_objects_of_pascal_voc_without_a_mask_are_refused(root: Path) -> None:
    image(root / "JPEGImages/a.png")
    image(root / "JPEGImages/b.png")
    mask(root / "SegmentationClass/a.png", np.zeros((*SIZE, 3), np.uint8))
    written(root / "Annotations/b.xml", "<annotation><object></object></annotation>")
    with pytest.raises(DatasetError, match=r"has objects in .*b\.xml but no mask"):
        taken("voc", root)


@pytest.mark.parametrize("name", ["voc", "roboflow"])
def test_mask_in_jpeg_is_refused(root: Path, name: str) -> None:
    grey = np.zeros(SIZE, np.uint8)
    if name == "voc":
        image(root / "JPEGImages/a.png")
        mask(root / "SegmentationClass/a.jpg", grey)
        mask(root / "SegmentationClass/b.png", grey)
    else:
        image(root / "train/a.png")
        mask(root / "train/a_mask.jpg", grey)
        written(root / "train/_classes.csv", "Pixel Value, Class\n0, background\n1, dent\n")
    with pytest.raises(DatasetError, match="is no mask: JPEG"):
        taken(name, root)


def test_coloured_mask_of_roboflow_is_refused(root: Path) -> None:
    image(root / "train/a.png")
    mask(root / "train/a_mask.png", np.full((*SIZE, 3), (0, 1, 0), np.uint8))
    written(root / "train/_classes.csv", "Pixel Value, Class\n0, background\n1, dent\n")
    with pytest.raises(DatasetError, match="is coloured"):
        taken("roboflow", root)


@pytest.mark.parametrize("name", ["cvat", "via", "label-studio"])
def test_image_that_no_file_names_is_not_left_out_silently(root: Path, name: str) -> None:
    if name == "cvat":
        cvat_images(root, cvat_image("a.png", CVAT_DENT))
    elif name == "label-studio":
        dumped(root / "p.json", [label_studio_task({"image": "a.png"}, labelled_region())])
    else:
        shape = {"name": "circle", "cx": 50, "cy": 50, "r": 10}
        region = {"shape_attributes": shape, "region_attributes": {"label": "dent"}}
        dumped(root / "via.json", {"a": {"filename": "a.png", "regions": [region]}})
    imported, _ = taken(name, root)
    (note,) = [each for each in imported.notes if "named by no annotation" in each]
    assert note.startswith("1 images")
    assert "good.png" in note


def test_ticked_in_no_box_of_via_is_not_good(root: Path) -> None:
    def entry(name: str, ticked: bool) -> Json:
        shape = {"name": "circle", "cx": 50, "cy": 50, "r": 10}
        region = {"shape_attributes": shape, "region_attributes": {"label": {"dent": ticked}}}
        return {"filename": name, "regions": [region]}

    dumped(root / "via.json", {"a": entry("a.png", True), "b": entry("good.png", False)})
    _, dataset = taken("via", root)
    assert [each.name for each in dataset.samples] == ["images/a.png"]


def test_palette_of_a_supervisely_bitmap_shows_by_its_transparency(root: Path) -> None:
    drawn = Image.fromarray(np.eye(8, dtype=np.uint8), mode="P")
    drawn.putpalette([255, 255, 255, 0, 0, 0])
    packed = io.BytesIO()
    drawn.save(packed, "PNG", transparency=0)
    data = base64.b64encode(zlib.compress(packed.getvalue())).decode()
    bitmap = {"classTitle": "dent", "geometryType": "bitmap", "bitmap": {"origin": [5, 6], "data": data}}
    (root / "images").rename(root / "img")
    dumped(root / "meta.json", {"classes": [{"title": "dent"}]})
    size = {"height": SIZE[0], "width": SIZE[1]}
    dumped(root / "ann/a.png.json", {"size": size, "objects": [bitmap]})
    _, dataset = taken("supervisely", root)
    expected = np.zeros(SIZE, np.bool_)
    expected[6:14, 5:13] = np.eye(8)
    same(marked(dataset, "a.png"), dent=expected)


def test_text_of_another_image_is_not_taken_for_its_case(root: Path) -> None:
    image(root / "images/A.png")
    written(root / "labels/a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5")
    written(root / "data.yaml", "names: [dent]")
    _, dataset = taken("yolo", root)
    assert [each.defective for each in dataset.samples].count(True) == 1

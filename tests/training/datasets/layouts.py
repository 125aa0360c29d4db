"""Small sets in the true layouts, one writer each: images of 32 x 24 px, defects at known places."""

import base64
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.data.layouts.magnetic_tile import write_generated

Grey = NDArray[np.uint8]
SIZE = (24, 32)  # height, width
SCALE = np.uint8(255)


def box(top: int, left: int, bottom: int, right: int) -> Grey:
    """A mask [H, W] of 0 and 1 that holds one rectangle; `bottom` and `right` lie outside."""
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


FIRST, SECOND = box(4, 6, 10, 20), box(8, 12, 20, 16)  # they overlap
NONE = np.zeros(SIZE, np.uint8)


def encoded(pixels: NDArray[Any], suffix: str) -> bytes:
    """The bytes of an image file."""
    return bytes(cv2.imencode(suffix, pixels)[1])


def write(path: Path, pixels: NDArray[Any]) -> Path:
    """Write an image by its suffix, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, path.suffix.lower()))
    return path


def picture(path: Path, seed: int = 0) -> Path:
    """Write a noisy grey image."""
    return write(path, np.random.default_rng(seed).integers(40, 200, SIZE, dtype=np.uint8))


def runs(mask: Grey) -> str:
    """Severstal's `start length ...`: down the columns, the first pixel being 1."""
    flat = np.concatenate([[0], mask.flatten(order="F"), [0]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))


def compressed(mask: Grey) -> str:
    """COCO's compressed run lengths."""
    counts: Any = coco_mask.encode(np.asfortranarray(mask))["counts"]
    return str(counts, "ascii")


def write_severstal(root: Path) -> None:
    for name in ("both.jpg", "first.jpg", "good.jpg"):
        picture(root / "train_images" / name)
    lines = [("both.jpg", 1, FIRST), ("both.jpg", 4, SECOND), ("first.jpg", 1, FIRST)]
    text = "".join(f"{name},{number},{runs(mask)}\n" for name, number, mask in lines)
    (root / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n" + text)
    picture(root / "test_images/unlabelled.jpg")
    (root / "sample_submission.csv").write_text("ImageId,EncodedPixels,ClassId\n")


def write_severstal_older(root: Path) -> None:
    write_severstal(root)
    marks = {("both.jpg", 1): FIRST, ("both.jpg", 4): SECOND, ("first.jpg", 1): FIRST}
    keys = [(name, number) for name in ("both.jpg", "first.jpg", "good.jpg") for number in (1, 2, 3, 4)]
    text = "".join(f"{name}_{number},{runs(marks.get((name, number), NONE))}\n" for name, number in keys)
    (root / "train.csv").write_text("ImageId_ClassId,EncodedPixels\n" + text)


def write_neu_seg(root: Path) -> None:
    two = np.where(SECOND > 0, np.uint8(3), FIRST)  # classes of one image cannot overlap there
    for part, masks in (("training", (FIRST, two)), ("test", (NONE, 2 * FIRST))):
        for number, mask in enumerate(masks):
            picture(root / f"images/{part}/00000{number}.jpg")
            write(root / f"annotations/{part}/00000{number}.png", mask)
    (root / "classes.txt").write_text("inclusion\npatches\nscratches\n")


def write_dagm(root: Path) -> None:
    for texture in ("Class1", "Class2", "Class10"):
        for part, first in (("Train", 576), ("Test", 1)):
            folder = root / texture / part
            picture(folder / f"{first:04}.PNG")
            picture(folder / f"{first + 1:04}.PNG")
            write(folder / "Label" / f"{first + 1:04}_label.PNG", SCALE * FIRST)
            lines = [f"{first}\t0\t{first:04}.PNG\t0\t0"]
            lines.append(f"{first + 1}\t1\t{first + 1:04}.PNG\t0\t{first + 1:04}_label.PNG")
            (folder / "Label/Labels.txt").write_text("\n".join(["1", *lines]) + "\n")
            (folder / "Thumbs.db").write_bytes(b"")


def write_kolektor_sdd(root: Path) -> None:
    for folder in ("kos01", "kos02"):
        for part, mask in (("Part0", NONE), ("Part1", FIRST)):
            picture(root / folder / f"{part}.jpg")
            write(root / folder / f"{part}_label.bmp", mask * (255 if folder == "kos01" else 1))


def write_kolektor_sdd2(root: Path) -> None:
    for part, first in (("train", 10000), ("test", 20000)):
        for number, mask in ((first, NONE), (first + 1, FIRST)):
            picture(root / part / f"{number}.png")
            write(root / part / f"{number}_GT.png", SCALE * mask)


def write_mvtec(root: Path) -> None:
    for path in ("train/good/000.png", "train/good/001.png", "test/good/000.png"):
        picture(root / path)
    for defect, mask in (("bent", FIRST), ("scratch", SECOND)):
        picture(root / f"test/{defect}/000.png")
        write(root / f"ground_truth/{defect}/000_mask.png", SCALE * mask)
    for name in ("license.txt", "readme.txt"):
        (root / name).write_text("Attribution")


def write_crack500(root: Path) -> None:
    for part, folder in (("train", "traincrop"), ("val", "valcrop/valcrop"), ("test", "testcrop")):
        lines = []
        for crop, mask in (("1_361", FIRST), ("641_361", NONE)):
            name = f"20160222_08101{len(part)}_{crop}"
            picture(root / folder / f"{name}.jpg")
            write(root / folder / f"{name}.png", SCALE * mask)
            lines.append(f"{part}crop/{name}.jpg {part}crop/{name}.png\n")
        (root / f"{part}.txt").write_text("".join(lines))


def write_pairs(root: Path) -> None:
    for name, mask in (("a", SCALE * FIRST), ("b", SECOND), ("c", NONE)):  # marked by 255, by 1, not at all
        picture(root / f"images/{name}.jpg")
        write(root / f"masks/{name}.png", mask)


def coco_facts() -> dict[str, Any]:
    """An annotation file of every form of segmentation."""
    whole = {"size": list(SIZE), "counts": compressed(SECOND)}
    flat = SECOND.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    polygon = [6, 4, 20, 4, 20, 10, 6, 10]
    entries = [
        (1, 7, [polygon], 0), (1, 9, whole, 0),
        (2, 9, {"size": list(SIZE), "counts": counts}, 1),
        (3, 7, [], 0),
        (5, 7, [polygon, [0, 0, 2, 0, 2, 2, 0, 2]], 0),
    ]  # fmt: skip
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for number in (1, 2, 3, 4, 5)
        ],
        "annotations": [
            {"id": at, "image_id": image, "category_id": category, "segmentation": drawn, "iscrowd": crowd,
             "bbox": [6, 4, 14, 6]}
            for at, (image, category, drawn, crowd) in enumerate(entries)
        ],
        "categories": [
            {"id": 0, "name": "flaws", "supercategory": "none"},
            {"id": 7, "name": "dent", "supercategory": "flaws"},
            {"id": 9, "name": "pit", "supercategory": "flaws"},
        ],
    }  # fmt: skip


def write_coco(root: Path) -> None:
    for number in (1, 2, 3, 4, 5):
        picture(root / f"images/train2017/{number}.jpg")
    (root / "annotations").mkdir()
    (root / "annotations/instances_train2017.json").write_text(json.dumps(coco_facts()))
    (root / "annotations/captions_train2017.json").write_text('{"images": [], "annotations": []}')


def labelme_facts(image: str, *shapes: tuple[str, str, list[list[float]]]) -> dict[str, Any]:
    """What labelme saves of one image."""
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": label,
                "points": points,
                "group_id": None,
                "shape_type": kind,
                "flags": {},
                "mask": None,
            }
            for label, kind, points in shapes
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }


def write_labelme(root: Path) -> None:
    shapes: dict[str, list[tuple[str, str, list[list[float]]]]] = {
        "polygon": [("dent", "polygon", [[6, 4], [19, 4], [19, 9], [6, 9]])],
        "overlap": [("dent", "rectangle", [[19, 9], [6, 4]]), ("pit", "rectangle", [[12, 8], [15, 19]])],
        "circle": [("pit", "circle", [[12, 12], [12, 15]])],
        "line": [("scratch", "line", [[2, 12], [30, 12]])],
        "strip": [("scratch", "linestrip", [[2, 12], [20, 12], [30, 12]])],
        "point": [("pit", "point", [[12, 12]])],
        "good": [],
    }
    for name, drawn in shapes.items():
        picture(root / f"{name}.jpg")
        (root / f"{name}.json").write_text(json.dumps(labelme_facts(f"{name}.jpg", *drawn)))
    patch = labelme_facts("patch.jpg", ("dent", "mask", [[6, 4], [19, 9]]))
    patch["shapes"][0]["mask"] = base64.b64encode(encoded(SCALE * FIRST[4:10, 6:20], ".png")).decode()
    picture(root / "patch.jpg")
    (root / "patch.json").write_text(json.dumps(patch))


def write_folder(root: Path) -> None:
    picture(root / "good/a.jpg")
    for name in ("dent/a.jpg", "dent/b.png", "pit/a.jpg"):
        picture(root / "defect" / name)
    write(root / "masks/dent/a.png", SCALE * FIRST)
    write(root / "masks/pit/a.png", SCALE * SECOND)


def write_shards(root: Path) -> None:
    (root / "classes.json").write_text('{"0": "background", "1": "crack"}')
    facts = {"group": "g", "source": "set", "defective": False}
    with tarfile.open(root / "set-000.tar", "w") as tar:
        for name, data in (("a.jpg", encoded(NONE + 90, ".jpg")), ("a.json", json.dumps(facts).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


WRITERS: dict[str, Callable[[Path], None]] = {
    "magnetic-tile": lambda root: write_generated(root, count=4, seed=1),
    "shards": write_shards,
    "severstal": write_severstal,
    "neu-seg": write_neu_seg,
    "dagm": write_dagm,
    "kolektor-sdd": write_kolektor_sdd,
    "kolektor-sdd2": write_kolektor_sdd2,
    "mvtec": write_mvtec,
    "crack500": write_crack500,
    "pairs": write_pairs,
    "coco": write_coco,
    "labelme": write_labelme,
    "folder": write_folder,
}

"""Reader of Pascal VOC segmentation, which CVAT exports as "Segmentation mask 1.1".

Source: docs.cvat.ai, "Segmentation mask"; host.robots.ox.ac.uk/pascal/VOC, which
has these colours and this void edge.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from training.data.exports.masks import BACKGROUND
from training.data.exports.reading import Exported, Reading, in_place, size_of, values_of
from training.data.exports.shapes import Painted, Shape
from training.data.listing import MASK_SUFFIXES, PARTS, is_picture, same_name, walk
from training.data.sample import DatasetError, Flags, Published, Size

Colour = tuple[int, int, int]
VOID: Colour = (224, 224, 192)  # of Pascal VOC: edges that count nowhere
_VOC = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def read_voc(reading: Reading) -> Iterator[Exported]:
    """Yield the images in JPEGImages; one without a mask in SegmentationClass is good."""
    bases = {
        folder.parent
        for path in walk(reading.root)
        for folder in path.relative_to(reading.root).parents
        if folder.name == "SegmentationClass"
    }
    if not bases:
        raise DatasetError(f"{reading.root} holds no masks in a folder SegmentationClass; export it anew")
    for base in sorted(bases):
        yield from _read_voc(reading, reading.root / base)


def _read_voc(reading: Reading, base: Path) -> Iterator[Exported]:
    classes = _labelmap(reading, base)
    reading.declare(name for name in classes.values() if name.lower() not in BACKGROUND)
    folder = base / "SegmentationClass"
    masks = _by_stem(folder, [path for path in walk(folder) if path.suffix.lower() in MASK_SUFFIXES])
    pictures = base / "JPEGImages"
    images = _by_stem(pictures, [path for path in walk(pictures) if is_picture(path)])
    splits = _image_sets(base)
    for stem in sorted({*masks, *splits} - set(images)):
        reading.faults.add(f"{pictures / stem} is missing: no image has that name; copy it there")
    for path in walk(folder):
        if is_picture(path) and path.suffix.lower() not in MASK_SUFFIXES:
            reading.faults.add(f"{path} is no mask: JPEG and WebP change its colours; export it as PNG")
    for stem, image in images.items():
        with reading.faults.collected():
            boxes = base / "Annotations" / f"{stem}.xml"
            if stem not in masks and boxes.is_file() and b"<object>" in boxes.read_bytes():
                raise DatasetError(
                    f"{image} has objects in {boxes} but no mask; add the mask, or move it away"
                )
            size, mask = size_of(image), masks.get(stem)
            shapes = [] if mask is None else _coloured(mask, classes, size)
            yield Exported(image, size, shapes, splits.get(stem))
    reading.note(len(set(images) - set(masks)), "images have no mask: they are taken as good")


def _labelmap(reading: Reading, base: Path) -> dict[Colour, str]:
    """Class names by colour: those of labelmap.txt, else of Pascal VOC itself."""
    path = base / "labelmap.txt"
    if not path.is_file():
        reading.notes.append(f"{path} is missing: the classes and colours of Pascal VOC are taken")
        return {_voc_colour(number): name for number, name in enumerate(_VOC)}
    classes: dict[Colour, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            with in_place(f"{path} line {number}"):
                name, colour, *_ = line.rsplit(":", 3)
                red, green, blue = (int(each) for each in colour.split(","))
                classes[red, green, blue] = name.strip()
    return classes


def _voc_colour(number: int) -> Colour:
    """The colour of a class: its bits, three at a time, from the highest bit of each channel down."""
    channels = [0, 0, 0]
    for step in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * step + channel) & 1) << (7 - step)
    return channels[0], channels[1], channels[2]


def _coloured(mask: Path, classes: Mapping[Colour, str], size: Size) -> list[Shape]:
    """One shape for each colour of a mask; raises DatasetError for one without a name."""
    colours = np.unique(_packed(mask, size))
    shapes: list[Shape] = []
    for packed in colours.tolist():
        colour = (packed >> 16, packed >> 8 & 255, packed & 255)
        name = classes.get(colour)
        if name is None and colour not in (VOID, (0, 0, 0)):
            raise DatasetError(
                f"{mask} holds the colour {colour}, which labelmap.txt does not name; add a line"
            )
        if name is None and colour == VOID:
            shapes.append(Painted("void", partial(_where_packed, mask, packed), ignored=True))
        elif name is not None and name.lower() not in BACKGROUND:
            shapes.append(Painted(name, partial(_where_packed, mask, packed)))
    return shapes


def _packed(mask: Path, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """A mask's colours [H, W] as numbers, red highest."""
    rgb = values_of(mask, size, "RGB").astype(np.uint32)
    return np.asarray(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], np.uint32)


def _where_packed(mask: Path, packed: int, size: Size) -> Flags:
    return np.asarray(_packed(mask, size) == packed)


def _image_sets(base: Path) -> dict[str, Published | None]:
    """The published split of each image, from the names of the lists in ImageSets."""
    folder = base / "ImageSets" / "Segmentation"
    listed: dict[str, Published | None] = {}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            if stem := same_name(line.strip().replace("\\", "/")):
                listed[stem] = PARTS.get(path.stem.lower()) or listed.get(stem)
    return listed


def _by_stem(folder: Path, paths: list[Path]) -> dict[str, Path]:
    return {same_name(path.relative_to(folder).with_suffix("").as_posix()): path for path in paths}

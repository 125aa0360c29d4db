"""The supported data layouts, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.data.classes import AS_WRITTEN
from training.data.foreign import foreign_format
from training.data.layouts.coco import is_coco, read_coco
from training.data.layouts.crack500 import is_crack500, read_crack500
from training.data.layouts.dagm import is_dagm, read_dagm
from training.data.layouts.folder import is_folder, read_folder
from training.data.layouts.kolektor import (
    is_kolektor_sdd,
    is_kolektor_sdd2,
    read_kolektor_sdd,
    read_kolektor_sdd2,
)
from training.data.layouts.labelme import is_labelme, read_labelme
from training.data.layouts.magnetic_tile import is_magnetic_tile, read_magnetic_tile
from training.data.layouts.mvtec import is_mvtec, read_mvtec
from training.data.layouts.neu_seg import is_neu_seg, read_neu_seg
from training.data.layouts.pairs import is_pairs, read_pairs
from training.data.layouts.severstal import is_severstal, read_severstal
from training.data.layouts.shards import is_shards, read_shards
from training.data.listing import is_image_of_any_kind, walk
from training.data.sample import Dataset, DatasetError
from training.labels import LabelsConfig


@dataclass(frozen=True)
class Layout:
    """One layout: a description for messages, a test whether a folder has it, and its reader."""

    looks: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, LabelsConfig], Dataset]


LAYOUTS = {
    "magnetic-tile": Layout("MT_CLASS/Imgs/NAME.jpg and groups.csv", is_magnetic_tile, read_magnetic_tile),
    "shards": Layout("classes.json and *.tar with KEY.jpg, KEY.mask.png, KEY.json", is_shards, read_shards),
    "severstal": Layout("train.csv and train_images/NAME.jpg", is_severstal, read_severstal),
    "neu-seg": Layout("images/training/N.jpg and annotations/training/N.png", is_neu_seg, read_neu_seg),
    "dagm": Layout("ClassN/Train/NNNN.PNG and ClassN/Train/Label/Labels.txt", is_dagm, read_dagm),
    "kolektor-sdd": Layout("kosNN/PartN.jpg and PartN_label.bmp", is_kolektor_sdd, read_kolektor_sdd),
    "kolektor-sdd2": Layout("train/NNNNN.png and NNNNN_GT.png", is_kolektor_sdd2, read_kolektor_sdd2),
    "mvtec": Layout("train/good, test/DEFECT and ground_truth/DEFECT", is_mvtec, read_mvtec),
    "crack500": Layout("train.txt and traincrop/NAME.jpg, NAME.png", is_crack500, read_crack500),
    "pairs": Layout("images/NAME.jpg and masks/NAME.png, also in train, val, test", is_pairs, read_pairs),
    "coco": Layout("COCO instance JSON and its images", is_coco, read_coco),
    "labelme": Layout("NAME.jpg and NAME.json of labelme", is_labelme, read_labelme),
    "folder": Layout("good/, defect/ (or defect/CLASS/) and masks/", is_folder, read_folder),
}


# Identified by their own files alone, whatever else lies in the folder.
_UNMISTAKABLE = {"coco", "labelme", "shards", "magnetic-tile"}


def read_dataset(
    root: Path, layout: str | None = None, unlabelled: bool = False, labels: LabelsConfig = AS_WRITTEN
) -> Dataset:
    """Read a folder in the given layout; None detects the layout.

    `unlabelled` keeps images whose label is unknown, for the audit. `labels` is the configuration of
    labels and mask values. Raises DatasetError if the folder has no known layout or several, if the
    reader refuses it, or, without `unlabelled`, if the label of an image is unknown.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; give the root folder of a data set")
    if ".." in root.parts:
        root = root.resolve()
    if layout is None:
        layout = _detect(root)
    elif layout not in LAYOUTS:
        raise DatasetError(f"{layout} is no known layout; use one of {', '.join(LAYOUTS)}")
    dataset = LAYOUTS[layout].read(root, labels)
    wrong = [sample.unlabelled for sample in dataset.samples if sample.unlabelled is not None]
    if wrong and not unlabelled:
        raise DatasetError(
            f"{wrong[0]}; correct the mask, or remove it and its image"
            + (f" ({len(wrong)} such masks; `data check` lists them)" if len(wrong) > 1 else "")
        )
    return dataset


def _detect(root: Path) -> str:
    fitting = [name for name, layout in LAYOUTS.items() if layout.fits(root)]
    if not _UNMISTAKABLE & set(fitting) and (foreign := foreign_format(root)):
        raise DatasetError(f"{root} {foreign}")
    if "folder" in fitting and {"coco", "labelme"} & set(
        fitting
    ):  # these folders hold good images beside the annotated ones
        fitting.remove("folder")
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DatasetError(f"{root} looks like {' and '.join(fitting)}; name its layout")
    if not any(is_image_of_any_kind(path) for path in walk(root)):
        raise DatasetError(f"{root} has no known layout: it holds no images")
    known = "; ".join(f"{name}: {layout.looks}" for name, layout in LAYOUTS.items())
    raise DatasetError(f"{root} has no known layout; known are {known}")

"""Convert an export of an annotation tool, a folder or a zip file, to a data set that Passline reads."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.exports.cvat import read_cvat
from training.data.exports.datumaro_reader import PREFIX, read_datumaro
from training.data.exports.label_studio import read_label_studio
from training.data.exports.masks import read_brush_png, read_btad, read_roboflow
from training.data.exports.reading import Exported, Reading
from training.data.exports.supervisely import read_supervisely
from training.data.exports.via import read_via
from training.data.exports.voc import read_voc
from training.data.exports.writer import Imported, write_imported
from training.data.exports.yolo import read_yolo
from training.data.sample import DatasetError

Reader = Callable[[Reading], Iterator[Exported]]


@dataclass(frozen=True)
class ExportFormat:
    """One format: its name in the tool, and its reader."""

    what: str
    read: Reader


FORMATS = {
    "yolo": ExportFormat("YOLO segmentation (Ultralytics): data.yaml, images, labels", read_yolo),
    "cvat": ExportFormat("CVAT for images 1.1 (XML)", read_cvat),
    "voc": ExportFormat("CVAT's Segmentation mask 1.1; Pascal VOC segmentation", read_voc),
    "label-studio": ExportFormat("Label Studio's JSON", read_label_studio),
    "label-studio-png": ExportFormat("Label Studio's brush labels as PNG, with tasks.csv", read_brush_png),
    "supervisely": ExportFormat("Supervisely: meta.json, img, ann", read_supervisely),
    "via": ExportFormat("VGG Image Annotator (VIA) 2, JSON", read_via),
    "roboflow": ExportFormat("Roboflow's semantic segmentation masks, _classes.csv", read_roboflow),
    "btad": ExportFormat("BTAD: train/ok, test/ko, ground_truth/ko", read_btad),
}


def import_export(name: str, source: Path, out: Path) -> Imported:
    """Write the export `source`, a folder or a zip file, as a new data set `out`.

    `name` is one of FORMATS, or `datumaro:` and the name of one of datumaro's formats. Raises DatasetError
    where the export cannot be read or `out` is there and not empty; then nothing is written.
    """
    if name.startswith(PREFIX):
        reader: Reader = partial(read_datumaro, name=name.removeprefix(PREFIX))
    elif name in FORMATS:
        reader = FORMATS[name].read
    else:
        raise DatasetError(f"{name} is no known format; use one of {', '.join(FORMATS)} or {PREFIX}NAME")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already; give a new or empty folder")
    if out.resolve().is_relative_to(source.resolve()):
        raise DatasetError(f"{out} lies in {source}, which is not changed; give a folder elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _beside(out, "import") as partial_out, _unpacked(source, out) as root:
        partial_out.mkdir()
        reading = Reading(root)
        imported = write_imported(partial_out, reading, reader(reading))
        partial_out.replace(out)
    return imported


@contextmanager
def _beside(out: Path, what: str) -> Iterator[Path]:
    """Give the path of a hidden folder beside `out`, which is gone at the end whatever happens."""
    path = out.with_name(f".{out.name}.{what}")
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _unpacked(source: Path, out: Path) -> Iterator[Path]:
    """Give the folder of an export, for a zip file one beside `out` that it is unpacked to."""
    if source.is_dir():
        yield source.resolve()
        return
    if not zipfile.is_zipfile(source):
        raise DatasetError(f"{source} is neither a folder nor a zip file; give the export of a tool")
    with _beside(out, "unpacked") as folder:
        _unpack(source, folder)
        yield folder.resolve()


def _unpack(source: Path, folder: Path) -> None:
    """Unpack a zip file; raises DatasetError where it is broken, encrypted or too large for the disk."""
    try:
        with zipfile.ZipFile(source) as archive:
            needed = sum(member.file_size for member in archive.infolist())
            free = shutil.disk_usage(folder.parent).free
            if needed > free:
                raise DatasetError(f"{source} unpacks to {needed} bytes, but only {free} are free; make room")
            archive.extractall(folder)  # which keeps every member below the folder
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DatasetError(f"{source} cannot be unpacked ({error}); unpack it and give the folder") from error

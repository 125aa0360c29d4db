"""The record of one inspection, made on the worker thread that inspected it."""

import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from app.database.times import to_us
from app.history.files import ImageFiles
from app.history.queue_reasons import SampleRates, reason_of
from app.inspection.decoding.raw import RawFrame
from app.inspection.png_encode import png_bytes
from app.inspection.preview import as_jpeg
from app.inspection.results import Inspection
from app.schemas.inspections import InspectionAnswer, MaskNone

# The first bytes of the formats that are read, and the ending of their files.
SIGNATURES = {
    b"\x89PNG": "png",
    b"\xff\xd8": "jpg",
    b"BM": "bmp",
    b"II": "tif",
    b"MM": "tif",
}
RAW = "raw"  # a camera's frame
LEFT_OUT = ("overlay", "heatmap", "certificate")  # of an answer, when it is stored


@dataclass(frozen=True, slots=True)
class Made:
    """An inspection with what it was asked for and by whom."""

    answer: InspectionAnswer
    inspection: Inspection
    data: bytes | RawFrame
    filename: str | None
    significant_bits: int | None
    manifest_sha256: str
    request_id: str
    key_name: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of one inspection: columns of its row, images by defect class, its thumbnail (JPEG).

    `position` and hash in the chain are added when it is written.
    """

    columns: Mapping[str, Any]
    classes: Mapping[str, int]
    thumbnail: bytes


class Recorder:
    """Makes records, and stores the images that the policy keeps; any thread may use it."""

    def __init__(
        self,
        files: ImageFiles,
        keep: Literal["all", "some", "none"],
        every_pass: int,
        rates: SampleRates,
        chance: random.Random | None = None,
    ) -> None:
        """`some`: images of fails, of reviews, of the random sample and of every `every_pass`-th pass."""
        self._files = files
        self._keep = keep
        self._every_pass = every_pass
        self._rates = rates
        self._chance = chance or random.Random()
        self._passes = itertools.count()

    def record(self, made: Made) -> Record:
        """The record of an inspection; raises ImageNotStored.

        The inspection must have its `preview`.
        """
        answer, inspection = made.answer, made.inspection
        assert inspection.preview is not None
        decision = reason_of(answer, self._chance, self._rates)
        when = datetime.now(UTC)
        image_file = mask_file = stored = None
        if self._keeps(answer.verdict, drawn=decision.sample_weight is not None):
            image_file, mask_file, stored = self._store(made, when)
        columns = _columns(made, to_us(when)) | {
            "image_file": image_file,
            "mask_file": mask_file,
            "stored_bytes": stored,
            "sample_weight": decision.sample_weight,
            "queue_reason": decision.reason,
            "queue_rank": decision.rank,
            "reviewed": False,
        }
        classes = Counter(defect.defect_class for defect in answer.defects)
        return Record(columns, classes, as_jpeg(inspection.preview))

    def forget(self, record: Record) -> None:
        """Delete the files of a record that could not be written."""
        for name in ("image_file", "mask_file"):
            if record.columns[name] is not None:
                self._files.delete(record.columns[name])

    def _keeps(self, verdict: str, *, drawn: bool) -> bool:
        if self._keep != "some":
            return self._keep == "all"
        if verdict != "pass" or drawn:
            return True
        return self._every_pass > 0 and next(self._passes) % self._every_pass == 0

    def _store(self, made: Made, when: datetime) -> tuple[str, str | None, int]:
        """Names of image and mask, and how many bytes they have."""
        answer = made.answer
        data = made.data.data if isinstance(made.data, RawFrame) else made.data
        day = f"{when:%Y/%m/%d}"
        image = f"images/{day}/{answer.image.sha256}-{answer.id[:8]}.{_ending(made.data)}"
        self._files.put(image, data)
        if not answer.defects:  # its label map is all zero
            return image, None, len(data)
        mask = f"masks/{day}/{answer.image.sha256}-{answer.id[:8]}.png"
        png = png_bytes(made.inspection.label_map)
        self._files.put(mask, png)
        return image, mask, len(data) + len(png)


def _ending(data: bytes | RawFrame) -> str:
    if isinstance(data, RawFrame):
        return RAW
    return next((ending for start, ending in SIGNATURES.items() if data.startswith(start)), "bin")


def _columns(made: Made, time_us: int) -> dict[str, Any]:
    answer, frame = made.answer, made.data if isinstance(made.data, RawFrame) else None
    stored = answer.model_copy(update={"mask": MaskNone(format="none", data=None)} | dict.fromkeys(LEFT_OUT))
    return {
        "id": answer.id,
        "time_us": time_us,
        "request_id": made.request_id,
        "key_name": made.key_name,
        "camera_id": answer.camera_id,
        "part_id": answer.part_id,
        "filename": made.filename,
        "recipe": answer.recipe,
        "recipe_version": answer.recipe_version,
        "bundle": answer.model.name,
        "bundle_version": answer.model.version,
        "manifest_sha256": made.manifest_sha256,
        "class_names": json.dumps(made.inspection.classes),
        "artifact": answer.model.artifact,
        "execution_provider": answer.model.execution_provider,
        "verdict": answer.verdict,
        "defects": len(answer.defects),
        "image_probability": answer.image_probability,
        "image_threshold": answer.image_threshold,
        "dice_estimated": answer.dice.estimated.any_defect,
        "width": answer.image.width,
        "height": answer.image.height,
        "pixel_format": answer.image.pixel_format,
        "stride": None if frame is None else frame.stride,
        "significant_bits": made.significant_bits,
        "image_sha256": answer.image.sha256,
        "mask_sha256": hashlib.sha256(made.inspection.label_map.tobytes()).hexdigest(),
        "total_ms": answer.timings_ms["total"],
        "answer": stored.model_dump_json(),
    }

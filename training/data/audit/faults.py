"""Kinds of faults with their remedies, and the faults of a single image and its mask."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from app.inspection.decoding.decode import decode, decode_mask
from app.inspection.decoding.files import open_image
from app.inspection.errors import ImageError, ReferenceMaskInvalid
from training.data.audit.signatures import Signature, signature
from training.data.masks import MaskImage
from training.data.sample import (
    DEFECTS,
    MAX_CLASSES,
    Annotation,
    Bits,
    DatasetError,
    MaskFile,
    Pixels,
    Sample,
    Size,
    class_mask,
    counted,
    defects,
    grey,
    named,
)
from training.limits import limits

COLOUR_LEVELS = 16  # a pixel whose channels differ by more is coloured
COLOURED_SHARE = 0.001  # an image with a larger share of coloured pixels is in colour
BLANK_SPREAD = 1.0  # grey levels; an image with a smaller standard deviation is blank

# What to do about each kind of fault, in the order of the report.
REMEDIES = {
    "unreadable image": "copy the file again from its source, or remove it from the set",
    "unreadable mask": "copy the mask again from its source, or draw it again",
    "mask of another size": "export the mask at the size of its image, pixel for pixel",
    "mask value that is no class": "save the mask without smoothing, as PNG, or name the missing class",
    "annotation that does not fit": "correct the annotation as the message says",
    "empty mask on a defective image": "draw the defect, or label the image good",
    "mask on a good image": "label the image with its defect, or clear the mask",
    "label and mask name different classes": "correct the image's label or its mask",
    "speckle": "remove the specks from the mask; they are slips of the pen or of a threshold",
    "blank image": "remove it: the camera or the light was off, or the file is damaged",
    "exact duplicate": "keep one of the copies",
    "copies across splits": "put all copies into one split: a test on them measures memory",
    "group across splits": "put the whole group into one split",
    "copies in different groups": "join the groups: a split by group would put one surface on both sides",
    "conflicting labels of copies": "look at the images and give all copies the label that is right",
}


@dataclass(frozen=True)
class Fault:
    """One fault: its kind (a key of REMEDIES), the names of the images, and a description."""

    kind: str
    samples: tuple[str, ...]
    found: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.kind]


@dataclass(frozen=True)
class Examined:
    """Measurements of a readable image and its mask.

    `areas` holds (class number, area in px) of each connected defect region. `sharpness` is the variance
    of the Laplacian, `brightness` the mean grey level. `pixels_digest` and `mask_digest` are equal for
    equal contents. `signature` is None for a blank image, which has no texture to compare. `marked` is
    the share of pixels that the mask marks as a defect. `coloured` is True for an image in colour,
    `turned` where its EXIF orientation rotates or mirrors it.
    """

    size: Size
    brightness: float
    sharpness: float
    areas: tuple[tuple[int, int], ...]
    pixels_digest: bytes
    mask_digest: bytes
    signature: Signature | None
    marked: float = 0.0
    coloured: bool = False
    turned: bool = False


def examine(
    sample: Sample, classes: tuple[str, ...], usual: float, speckle_px: int
) -> tuple[Examined | None, list[Fault]]:
    """Read an image and its mask once; return its measurements (None if unreadable) and its faults."""
    try:
        with named(sample.name, sample.image):
            data = sample.image.read()
            decoded = decode(data, limits())
    except DatasetError as error:
        return None, [Fault("unreadable image", (sample.name,), str(error))]
    pixels = grey(decoded)
    bits, faults = _mask_faults(sample, classes, pixels)
    areas = _areas(bits, len(classes))
    specks = sum(area < speckle_px for _, area in areas)
    if specks:
        faults.append(Fault("speckle", (sample.name,), f"{specks} regions of fewer than {speckle_px} px"))
    blank = float(pixels.std()) < BLANK_SPREAD
    if blank:
        faults.append(Fault("blank image", (sample.name,), f"all grey levels near {pixels.mean():.0f}"))
    examined = Examined(
        size=(pixels.shape[0], pixels.shape[1]),
        brightness=float(pixels.mean()),
        sharpness=float(cv2.Laplacian(pixels, cv2.CV_32F).var()),
        areas=tuple(areas),
        pixels_digest=_digest(pixels),
        mask_digest=_digest(bits),
        signature=None if blank else signature(pixels, usual),
        marked=float(defects(bits).mean()),
        coloured=_is_coloured(decoded),
        turned=open_image(data).orientation in range(2, 9),
    )
    return examined, faults


def _is_coloured(decoded: Pixels) -> bool:
    """Whether many pixels are clearly coloured; JPEG compression tints grey pixels slightly."""
    if decoded.ndim == 2:
        return False
    return bool((np.ptp(decoded, axis=2) > COLOUR_LEVELS).mean() > COLOURED_SHARE)


def _mask_faults(sample: Sample, classes: tuple[str, ...], pixels: Pixels) -> tuple[Bits, list[Fault]]:
    """The class bits [H, W], all 0 if the mask cannot be used, and the faults of the mask."""
    size = (pixels.shape[0], pixels.shape[1])
    nothing = np.zeros(size, np.uint16)
    if sample.annotation is None:
        return nothing, []
    try:
        bits = sample.annotation.draw(size)
    except DatasetError as error:
        return nothing, [Fault(_refusal(sample.annotation, size), (sample.name,), str(error))]
    shown = int(np.bitwise_or.reduce(bits, axis=None) & DEFECTS)
    partly = sample.ignores or not counted(bits).all()  # ignored pixels may show a class of the label
    numbers = [number for number in range(1, MAX_CLASSES + 1) if shown >> (number - 1) & 1]
    beyond = [str(number) for number in numbers if number > len(classes)]
    labelled = {name for name in sample.picture_class.split(",") if name in classes}
    drawn = {classes[number - 1] for number in numbers if number <= len(classes)}
    checks = {
        "mask value that is no class": (bool(beyond), f"class {', '.join(beyond)} of {len(classes)}"),
        "empty mask on a defective image": (sample.defective and not shown, "no pixel is marked"),
        "mask on a good image": (
            not sample.defective and shown > 0,
            f"{np.count_nonzero(defects(bits))} px marked",
        ),
        "label and mask name different classes": (
            bool(labelled and drawn and (labelled != drawn and not (partly and drawn < labelled))),
            f"label {', '.join(sorted(labelled))}; mask {', '.join(sorted(drawn))}",
        ),
    }
    return bits, [Fault(kind, (sample.name,), found) for kind, (wrong, found) in checks.items() if wrong]


def _refusal(annotation: Annotation, size: Size) -> str:
    """The kind of fault of an annotation that could not be drawn."""
    if not isinstance(annotation, MaskFile | MaskImage):
        return "annotation that does not fit"
    try:
        shape = decode_mask(annotation.blob.read(), limits()).shape
    except ReferenceMaskInvalid:
        return "mask value that is no class"
    except (DatasetError, ImageError):
        return "unreadable mask"
    return "mask of another size" if shape != size else "mask value that is no class"


def _areas(bits: Bits, classes: int) -> list[tuple[int, int]]:
    """(class number, px) of each 8-connected region."""
    areas = []
    for number in range(1, classes + 1):
        marked = class_mask(bits, number)
        if marked.any():
            regions = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)[2]
            areas += [(number, int(area)) for area in regions[1:, cv2.CC_STAT_AREA]]
    return areas


def _digest(array: Pixels | Bits) -> bytes:
    return hashlib.blake2b(repr(array.shape).encode() + array.tobytes(), digest_size=16).digest()

"""Decode an upload to upright 8-bit pixels, or raise a named error; never a partial image."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.depth import blocks
from app.inspection.decoding.exif import upright
from app.inspection.decoding.files import LosslessFile, open_image, open_lossless
from app.inspection.decoding.raw import RawFrame, decode_frame
from app.inspection.errors import (
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ReferenceMaskInvalid,
    ReferenceMaskSizeMismatch,
    ReferenceMaskUnreadable,
)
from app.inspection.results import ImageInfo

HASHED = 1 << 22  # bytes hashed between two checks
WHITE = 255  # defect value of a reference mask without classes


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of an upload: size in bytes, number of pixels, and shortest side in pixels."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000
    min_side_px: int = 1


def decode(
    data: bytes | RawFrame,
    limits: DecodeLimits,
    check_shape: Callable[[int, int], object] | None = None,
    significant_bits: int | None = None,
    cancellation: Cancellation = NEVER,
) -> NDArray[np.uint8]:
    """Decode JPEG, PNG, BMP, TIFF or a raw frame to uint8 [H, W] (grey) or [H, W, 3] (RGB).

    Files are turned upright by their EXIF orientation. Limits are checked on the header, before pixels
    are allocated. Then `check_shape` is called with the stored height and width, and may raise.
    `significant_bits` is the number of bits, from the lowest on, that a 16-bit file or frame uses.
    Without it the file must state it, or its values must look like 16 bits. The high 8 of them are kept.
    Raises an ImageError, and the error of `cancellation`.
    """
    _check_bytes(data.data if isinstance(data, RawFrame) else data, limits)
    if isinstance(data, RawFrame):
        _check_shape((data.width, data.height), limits, check_shape)
        return decode_frame(data, significant_bits, cancellation)
    file = open_image(data)
    _check_shape(file.size, limits, check_shape)
    return upright(file.pixels(significant_bits, cancellation), file.orientation)


def stored_size(data: bytes | RawFrame, limits: DecodeLimits) -> tuple[int, int]:
    """Width and height in pixels by the header, not turned upright; raises an ImageError."""
    if isinstance(data, RawFrame):
        return data.width, data.height
    _check_bytes(data, limits)
    return open_image(data).size


def decode_reference_mask(
    data: bytes, shape: tuple[int, int], n_classes: int, cancellation: Cancellation = NEVER
) -> tuple[NDArray[np.uint8], bool]:
    """Decode a reference mask to (label map uint8 [H, W], whether it has classes).

    Values 0..n_classes are class ids; for a palette image, its indices. A mask of only 0 and 255 marks
    defects without a class: its label map has 0 and 1. `shape` is the image's (H, W). Raises a
    ReferenceMaskError.
    """
    try:
        values = decode_mask(data, DecodeLimits(max_pixels=shape[0] * shape[1]), cancellation=cancellation)
    except ImageTooLarge as error:
        raise ReferenceMaskSizeMismatch(f"the reference mask is larger than the image: {error}") from error
    except ImageError as error:
        raise ReferenceMaskUnreadable(
            f"the reference mask must be a PNG, BMP or TIFF file: {error}"
        ) from error
    if values.shape != shape:
        raise ReferenceMaskSizeMismatch(
            f"the reference mask is {values.shape[1]} x {values.shape[0]} pixels; "
            f"the image is {shape[1]} x {shape[0]}"
        )
    return _label_map(values, n_classes, cancellation)


def decode_mask(
    data: bytes, limits: DecodeLimits, colours: bool = False, cancellation: Cancellation = NEVER
) -> NDArray[np.integer[Any]]:
    """Decode a mask to its stored values [H, W]: grey levels, or the indices of a palette image.

    With `colours` the values are 0xRRGGBB. Raises an ImageError, or ReferenceMaskInvalid for a colour
    mask if `colours` is false.
    """
    file = open_lossless(data)
    _check_size(file.size, limits)
    return upright(_colours(file) if colours else _greys(file, cancellation), file.orientation)


def _label_map(
    values: NDArray[np.integer[Any]], n_classes: int, cancellation: Cancellation
) -> tuple[NDArray[np.uint8], bool]:
    """A reference mask's values as a label map, and whether it has classes."""
    found: set[int] = set()
    for rows in blocks(values, cancellation):
        found.update(np.flatnonzero(np.bincount(values[rows].ravel())).tolist())
    if WHITE in found and found <= {0, WHITE}:
        return (values > 0).astype(np.uint8), False
    if max(found) > n_classes:
        wrong = sorted(value for value in found if value > n_classes)[:5]
        raise ReferenceMaskInvalid(
            f"the reference mask holds {wrong}; right are class ids 0..{n_classes}, or 0 and 255 alone for a "
            "defect of any class"
        )
    return values.astype(np.uint8), True


def _check_bytes(data: bytes, limits: DecodeLimits) -> None:
    if not data:
        raise ImageEmpty("the image has no bytes; send a JPEG, PNG, BMP or TIFF file, or a camera's frame")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(data)} bytes; at most {limits.max_bytes} are accepted")


def _check_shape(
    size: tuple[int, int], limits: DecodeLimits, check_shape: Callable[[int, int], object] | None
) -> None:
    _check_size(size, limits)
    if check_shape is not None:
        check_shape(size[1], size[0])


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} = {width * height} pixels; "
            f"at most {limits.max_pixels} are accepted"
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"the image is {width} x {height} pixels; each side must be {limits.min_side_px} or more"
        )


def _greys(file: LosslessFile, cancellation: Cancellation) -> NDArray[np.integer[Any]]:
    """The values of a mask [H, W], unscaled: a class id is not a brightness."""
    values = file.values(cancellation)
    if values.ndim == 2:
        return values
    if np.ptp(values, axis=2).any():
        raise ReferenceMaskInvalid("the reference mask is in colour; send grey values or a palette image")
    return values[..., 0]


def _colours(file: LosslessFile) -> NDArray[np.int32]:
    """The colours of a mask [H, W] as 0xRRGGBB; for 16 bits, the high 8 bits of each channel."""
    pixels = file.pixels(significant_bits=16).astype(np.int32)
    red, green, blue = (pixels,) * 3 if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    return red << 16 | green << 8 | blue


def image_info(
    image: NDArray[np.uint8], data: bytes | RawFrame, cancellation: Cancellation = NEVER
) -> ImageInfo:
    """Size of the decoded image, and hash and pixel format of the bytes sent."""
    sent, pixel_format = (data.data, data.pixel_format) if isinstance(data, RawFrame) else (data, None)
    found, view = hashlib.sha256(), memoryview(sent)
    for start in range(0, len(view), HASHED):
        cancellation.check()
        found.update(view[start : start + HASHED])
    return ImageInfo(image.shape[1], image.shape[0], found.hexdigest(), pixel_format)

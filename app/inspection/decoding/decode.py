"""From the bytes of an upload to upright 8-bit pixels, or to a named error; never to half an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.decoding.files import LosslessFile, open_image, open_lossless
from app.inspection.decoding.orientation import upright
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

WHITE, MIDDLE_GREY = 255, 127  # of a reference mask without classes


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How large an upload may be: bytes as uploaded, pixels once decoded; and its shortest side in pixels."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000
    min_side_px: int = 1


def decode(
    data: bytes | RawFrame,
    limits: DecodeLimits,
    check_shape: Callable[[int, int], object] | None = None,
    significant_bits: int | None = None,
) -> NDArray[np.uint8]:
    """Decode JPEG, PNG, BMP, TIFF or a raw frame to uint8 [H, W] (grey) or [H, W, 3] (RGB).

    Files are turned upright as their EXIF says. Limits are checked on the header, before a pixel is
    allocated; so is what `check_shape`, given the stored height and width, raises. `significant_bits` is how
    many of 16 bits, from the lowest on, a file or frame uses; without it the file must say so, or look as if
    it used all. The high 8 of them are kept. Raises an ImageError.
    """
    _check_bytes(data.data if isinstance(data, RawFrame) else data, limits)
    if isinstance(data, RawFrame):
        _check_shape((data.width, data.height), limits, check_shape)
        return decode_frame(data, significant_bits)
    file = open_image(data)
    _check_shape(file.size, limits, check_shape)
    return upright(file.pixels(significant_bits), file.orientation)


def decode_reference_mask(
    data: bytes, shape: tuple[int, int], n_classes: int
) -> tuple[NDArray[np.uint8], bool]:
    """Decode a reference mask to (label map uint8 [H, W], whether it tells classes apart).

    Values 0..n_classes are class ids (of a palette picture: its indices). A grey mask that holds 255 marks
    defects without a class, wherever it is above 127: its label map holds 0 and 1. `shape` is the
    picture's (H, W). Raises a ReferenceMaskError.
    """
    try:
        file = open_lossless(data)
        _check_size(file.size, DecodeLimits(max_pixels=shape[0] * shape[1]))
        values, are_indices = _mask_values(file)
    except ImageTooLarge as error:
        raise ReferenceMaskSizeMismatch(f"the reference mask is larger than the picture: {error}") from error
    except ImageError as error:
        raise ReferenceMaskUnreadable(
            f"the reference mask must be a PNG, BMP or TIFF file: {error}"
        ) from error
    if values.shape != shape:
        raise ReferenceMaskSizeMismatch(
            f"the reference mask is {values.shape[1]} x {values.shape[0]} pixels; "
            f"the picture is {shape[1]} x {shape[0]}"
        )
    return _label_map(values, n_classes, not are_indices)


def _label_map(
    values: NDArray[np.integer[Any]], n_classes: int, greys: bool
) -> tuple[NDArray[np.uint8], bool]:
    """A reference mask's values as a label map, and whether that tells classes apart."""
    found = set(np.unique(values).tolist())
    # Drawn masks have soft edges: greys between 0 and 255, which are no classes. A palette has no greys.
    if max(found) == WHITE and (greys or found <= {0, WHITE}):
        return (values > MIDDLE_GREY).astype(np.uint8), False
    if max(found) > n_classes:
        wrong = sorted(value for value in found if value > n_classes)[:5]
        raise ReferenceMaskInvalid(
            f"the reference mask holds {wrong}; right are class ids 0..{n_classes}, or greys up to 255, "
            "where those above 127 are defects"
        )
    return values.astype(np.uint8), True


def _check_bytes(data: bytes, limits: DecodeLimits) -> None:
    if not data:
        raise ImageEmpty("the picture has no bytes; send a JPEG, PNG, BMP or TIFF file, or a camera's frame")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the picture has {len(data)} bytes; at most {limits.max_bytes} are accepted")


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
            f"the picture is {width} x {height} = {width * height} pixels; "
            f"at most {limits.max_pixels} are accepted"
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"the picture is {width} x {height} pixels; each side must be {limits.min_side_px} or more"
        )


def _mask_values(file: LosslessFile) -> tuple[NDArray[np.integer[Any]], bool]:
    """The values of a reference mask [H, W], unscaled, and whether they are indices.

    A class id must not be read as a brightness.
    """
    values, are_indices = file.values()
    if values.ndim == 3:
        if np.ptp(values, axis=2).any():
            raise ReferenceMaskInvalid(
                "the reference mask is in colour; send grey values or a palette picture"
            )
        values = values[..., 0]
    return upright(values, file.orientation), are_indices

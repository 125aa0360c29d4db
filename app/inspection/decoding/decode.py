"""From the bytes of an upload to upright 8-bit pixels, or to a named error; never to half an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding.files import (
    BROKEN,
    FORMATS,
    GREY16_MODES,
    LOSSLESS,
    is_16_bit,
    load_pixels,
    open_image,
)
from app.inspection.decoding.raw import RawFrame, decode_frame
from app.inspection.errors import (
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageUnsupported,
    ReferenceMaskInvalid,
    ReferenceMaskSizeMismatch,
    ReferenceMaskUnreadable,
)

GREY_MODES = ("L", "1")
COLOUR_MODES = ("RGB", "P", "CMYK", "YCbCr")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
DEEP_LEVELS = 4096 >> 8  # what 12 bits in a 16-bit file stay below, once they are 8
WHITE, MIDDLE_GREY = 255, 127  # of a reference mask without classes
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How large an upload may be: bytes as uploaded, pixels once decoded; and its shortest side in pixels."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000
    min_side_px: int = 1


def decode(
    data: bytes | RawFrame, limits: DecodeLimits, check_shape: Callable[[int, int], object] | None = None
) -> NDArray[np.uint8]:
    """Decode JPEG, PNG, BMP, TIFF or a raw frame to uint8 [H, W] (grey) or [H, W, 3] (RGB).

    Files are turned upright as their EXIF says. Limits are checked on the header, before a pixel is
    allocated; so is what `check_shape`, given the stored height and width, raises. 16 bits become 8 by
    dropping the low byte, for every picture alike: a scale chosen per picture would make scores incomparable.
    But 10 or 12 bits in a 16-bit file, of which nearly black would remain, are refused. Raises an ImageError.
    """
    _check_bytes(data.data if isinstance(data, RawFrame) else data, limits)
    if isinstance(data, RawFrame):
        _check_shape((data.width, data.height), limits, check_shape)
        return decode_frame(data)
    image, frame = open_image(data, FORMATS)
    _check_shape(image.size, limits, check_shape)
    deep = is_16_bit(image)
    pixels = _pixels(load_pixels(image, data, frame))
    if deep and pixels.max() < DEEP_LEVELS:
        raise ImageUnsupported(
            "no value of the 16 bit picture reaches 4096: it looks like 10 or 12 bits in a 16-bit file, or "
            "is black all over; camera data must be shifted to the full 16 bits"
        )
    return pixels


def decode_reference_mask(
    data: bytes, shape: tuple[int, int], n_classes: int
) -> tuple[NDArray[np.uint8], bool]:
    """Decode a reference mask to (label map uint8 [H, W], whether it tells classes apart).

    Values 0..n_classes are class ids (of a palette picture: its indices). A grey mask that holds 255 marks
    defects without a class, wherever it is above 127: its label map holds 0 and 1. `shape` is the
    picture's (H, W). Raises a ReferenceMaskError.
    """
    try:
        image, _ = open_image(data, LOSSLESS)
        _check_size(image.size, DecodeLimits(max_pixels=shape[0] * shape[1]))
        values = _mask_values(load_pixels(image, data))
        greys = image.mode != "P"
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
    return _label_map(values, n_classes, greys)


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


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return _upright(_to_8_bit(image), _orientation(image))


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """The picture's stored pixels as uint8, grey or RGB."""
    see_through = "transparency" in image.info
    if image.mode in GREY16_MODES and not see_through:
        return np.asarray(np.asarray(image) >> 8, dtype=np.uint8)
    if image.mode in ALPHA_MODES or (see_through and image.mode in (*GREY_MODES, "RGB", "P")):
        image = image.convert("LA" if image.mode in (*GREY_MODES, "LA", "La") else "RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise ImageUnsupported("the picture has transparent pixels; send it without an alpha channel")
        return np.asarray(image)[..., 0] if image.mode == "LA" else np.asarray(image)[..., :3]
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))
    raise ImageUnsupported(f"pixel format {image.mode} is not read; send 8 or 16 bit grey or RGB")


def _mask_values(image: Image.Image) -> NDArray[np.integer[Any]]:
    """The values of a reference mask [H, W], unscaled: a class id must not be read as a brightness."""
    if image.mode in ("P", *GREY16_MODES):
        return _upright(np.asarray(image), _orientation(image))
    pixels = _pixels(image)
    if pixels.ndim == 2:
        return pixels
    if np.ptp(pixels, axis=2).any():
        raise ReferenceMaskInvalid("the reference mask is in colour; send grey values or a palette picture")
    return pixels[..., 0]


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a picture whose EXIF cannot be read is taken as stored, like viewers do."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except BROKEN:
        return 1


def _upright(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

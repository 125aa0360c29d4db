"""From the bytes of an upload to upright 8-bit pixels, or to a named error; never to a half-read picture.

docs/api.md has the table of what is read. OpenCV reads 16-bit PNGs only: what a cut JPEG lacks, it fills with
grey and says nothing, and grey has no cracks.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from app.inspection.decoding import jpeg, png, tiff
from app.inspection.decoding.depth import to_8_bits
from app.inspection.decoding.orientation import exif_of, exif_orientation, upright
from app.inspection.decoding.raw import RawFrame, decode_frame
from app.inspection.errors import (
    ImageAnimated,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
    ReferenceMaskInvalid,
    ReferenceMaskSizeMismatch,
    ReferenceMaskUnreadable,
)

# Both are switches of the whole process. Pillow's own limit would warn, or fail, at a number of pixels that
# is not ours, and a truncated picture must stay an error whatever another library would like.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

PILLOW = ("PNG", "BMP")
LOSSLESS = (*PILLOW, "TIFF")
FORMATS = ("JPEG", *LOSSLESS)
SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, b"BM", *tiff.SIGNATURES)
GREY_MODES = ("L", "1")
BMP_RUNS = (1, 2)  # compression of 8 and of 4 bits
COLOUR_MODES = ("RGB", "P", "CMYK", "YCbCr")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")

# What Pillow raises on broken files, found by mutating some. A Warning arrives as an exception only where
# the process asked for that, as tests do.
BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, Warning,
)  # fmt: skip

SEVERAL = "the file holds several {}; send each as a picture of its own"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # of an object, in what an exception says

MAX_READS = 100_000  # by which Pillow takes a file; a real picture needs some thousands
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
    file = _open(data)
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
        file = _open_lossless(data)
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


class OpenedFile(Protocol):
    """A file of which only the header has been read."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""

    @property
    def orientation(self) -> int:
        """How the image is to be turned, as EXIF numbers it."""

    def pixels(self, significant_bits: int | None = None) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""


class LosslessFile(OpenedFile, Protocol):
    """A file that can hold a reference mask."""

    def values(self) -> tuple[NDArray[np.integer[Any]], bool]:
        """The samples as they are, and whether they are a palette's indices."""


class _Frugal(BytesIO):
    """A file that cannot be read bit by bit for ever: filling, or empty chunks, by the million."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it is made of more than {MAX_READS} pieces")
        return super().read(size)


def _open(data: bytes) -> OpenedFile:
    """Read the header only, and refuse what is plainly not one complete picture."""
    if not data.startswith(jpeg.SIGNATURE):
        return _open_lossless(data, FORMATS)
    file = jpeg.opened(data)
    _refuse_another(data, jpeg.end_of(data, file.frame))
    return file


def _open_lossless(data: bytes, formats: tuple[str, ...] = LOSSLESS) -> LosslessFile:
    """As `_open`, of one that may be a mask; `formats` are those that the caller reads."""
    if data.startswith(tiff.SIGNATURES):
        return tiff.opened(data)
    try:
        if data.startswith(png.SIGNATURE):
            Image.open(_Frugal(data), formats=PILLOW).verify()  # checksums, which loading leaves unread
            _refuse_another(data, png.end_of(data))
        if data.startswith(b"BM"):
            _refuse_another(data, int.from_bytes(data[2:6], "little") or len(data))  # its own size, or none
        image = Image.open(_Frugal(data), formats=PILLOW)
        if image.format == "BMP" and image.info.get("compression") in BMP_RUNS:
            raise ImageUnsupported(
                "the BMP holds runs, and what they leave out is black; save it uncompressed"
            )
        if image.format == "PNG" and getattr(image, "is_animated", False):
            raise ImageAnimated(SEVERAL.format("frames"))
    except UnidentifiedImageError as error:
        if data.startswith((png.SIGNATURE, b"BM")):
            raise _broken(data, error) from error
        raise ImageUnsupported(f"the file is none of {', '.join(formats)}") from error
    except BROKEN as error:
        raise _broken(data, error) from error
    return PillowFile(image, data)


def _refuse_another(data: bytes, end: int) -> None:
    """Raise ImageAnimated if a picture begins behind the `end` of a file's own: nobody would look at it."""
    if data.startswith(SIGNATURES, end) or png.SIGNATURE in data[end:] or jpeg.ANOTHER.search(data, end):
        raise ImageAnimated(SEVERAL.format("pictures"))


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


@dataclass(frozen=True, slots=True, eq=False)
class PillowFile:
    """A PNG or BMP of which only the header has been read."""

    image: ImageFile.ImageFile
    data: bytes = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.image.size

    @property
    def orientation(self) -> int:
        """How the image is to be turned."""
        if self.image.format == "PNG" and (exif := png.exif(self.data)):
            return exif_orientation(lambda: exif_of(exif))
        for name in ("xmp", "XML:com.adobe.xmp"):  # where Pillow would look too
            self.image.info.pop(name, None)
        return exif_orientation(lambda: Image.Image.getexif(self.image))  # that of PNGs would decode anew

    def pixels(self, significant_bits: int | None = None) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""
        if self._is_16_bit():
            samples = self._samples_16()
            found = to_8_bits(samples, png.significant_bits(self.data, samples), significant_bits)
            return found[..., 0] if found.shape[2] == 1 else found
        return _to_8_bit(self._loaded())

    def values(self) -> tuple[NDArray[np.integer[Any]], bool]:
        """The samples as they are, and whether they are a palette's indices."""
        if self._is_16_bit():
            return self._samples_16(), False
        image = self._loaded()
        return (np.asarray(image), True) if image.mode == "P" else (_to_8_bit(image), False)

    def _is_16_bit(self) -> bool:
        return self.image.format == "PNG" and png.is_16_bit(self.data)

    def _samples_16(self) -> NDArray[np.uint16]:
        self._check_whole()
        return png.samples_16(self.data)

    def _loaded(self) -> Image.Image:
        self._check_whole()
        try:
            self.image.load()
        except BROKEN as error:
            raise _broken(self.data, error) from error
        return self.image

    def _check_whole(self) -> None:
        """Raise ImageTruncated where a part is missing that Pillow would fill with black."""
        lack = None
        try:
            if any(extents != (0, 0, *self.size) for _, extents, *_ in self.image.tile):
                lack = "its pixels do not cover it"
            elif self.image.format == "PNG":
                lack = png.missing(self.data)
        except BROKEN as error:
            raise _broken(self.data, error) from error
        if lack:
            raise ImageTruncated(f"the file holds only a part of the picture ({lack}); send it whole")


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """The picture's stored pixels of 8 bits or fewer as uint8, grey or RGB."""
    see_through = "transparency" in image.info
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


def _broken(data: bytes, error: Exception) -> ImageError:
    """Name what a supported file suffers from: an early end, which a sender can repair, or anything else."""
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or _ends_early(data):
        return ImageTruncated(f"the file ends before the picture does{_reason(error)}; send it whole")
    return ImageUndecodable(f"the file is broken and cannot be decoded{_reason(error)}; export it anew")


def _reason(error: Exception) -> str:
    """The decoder's own words in brackets, where they say something to whoever sent the file."""
    of_the_code = isinstance(error, (UnidentifiedImageError, LookupError, TypeError, struct.error))
    text = str(error)
    return "" if of_the_code or not text or ADDRESS.search(text) else f" ({text})"


def _ends_early(data: bytes) -> bool:
    """Whether the file's own structure says that more should follow."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return len(data) < 8 or int.from_bytes(data[2:6], "little") > len(data)  # a BMP's own size

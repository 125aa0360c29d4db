"""Open image files by their header: JPEG and TIFF in their own modules, PNG and BMP with Pillow.

docs/api.md has the table of supported encodings. OpenCV decodes only 16-bit PNGs: it silently fills the
missing part of a truncated JPEG with grey, in which no defect would be found.
"""

import re
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding import jpeg, png, tiff
from app.inspection.decoding.depth import to_8_bits
from app.inspection.decoding.exif import orientation_of
from app.inspection.errors import (
    ImageAnimated,
    ImageError,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
)

# Both settings apply to the whole process. Pillow's own pixel limit would warn or fail below ours. A
# truncated image must be an error even if another library changed that setting.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

PILLOW = ("PNG", "BMP")
LOSSLESS = (*PILLOW, "TIFF")
FORMATS = ("JPEG", *LOSSLESS)
SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, b"BM", *tiff.SIGNATURES)
GREY_MODES = ("L", "1")
BMP_RUNS = (1, 2)  # run-length compression of 8 and of 4 bits
COLOUR_MODES = ("RGB", "P", "CMYK", "YCbCr")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")

# Exceptions that Pillow raises on broken files, found by fuzzing. A Warning is an exception only if the
# process turned warnings into errors, as the tests do.
BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, Warning,
)  # fmt: skip

SEVERAL = "the file holds several {}; send each as an image of its own"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # an object's address in an exception's text

MAX_READS = 100_000  # read calls by Pillow for one file; a real image needs some thousands


class OpenedFile(Protocol):
    """A file of which only the header has been read."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""


class LosslessFile(OpenedFile, Protocol):
    """A file that can hold a reference mask."""

    def values(self) -> NDArray[np.integer[Any]]:
        """The stored samples, unscaled; for a palette image, its indices."""


class _Frugal(BytesIO):
    """A file with a limit on read calls: a file of millions of empty chunks would take for ever."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it consists of more than {MAX_READS} pieces")
        return super().read(size)


def open_image(data: bytes) -> OpenedFile:
    """Read the header only; raises an ImageError for data that is not one complete image."""
    if not data.startswith(jpeg.SIGNATURE):
        return open_lossless(data, FORMATS)
    file = jpeg.opened(data)
    _refuse_another(data, jpeg.end_of(data, file.frame))
    return file


def open_lossless(data: bytes, formats: tuple[str, ...] = LOSSLESS) -> LosslessFile:
    """As `open_image`, for lossless files; `formats` are those that an error message lists."""
    if data.startswith(tiff.SIGNATURES):
        return tiff.opened(data)
    try:
        if data.startswith(png.SIGNATURE):
            Image.open(_Frugal(data), formats=PILLOW).verify()  # checks the CRCs, which load() skips
            _refuse_another(data, png.end_of(data))
        if data.startswith(b"BM"):
            _refuse_another(data, int.from_bytes(data[2:6], "little") or len(data))  # its stated size
        image = Image.open(_Frugal(data), formats=PILLOW)
        if image.format == "BMP" and image.info.get("compression") in BMP_RUNS:
            raise ImageUnsupported(
                "the BMP is run-length encoded, and skipped pixels would be black; save it uncompressed"
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
    """Raise ImageAnimated if another image follows the `end` of the first: it would be ignored."""
    if data.startswith(SIGNATURES, end) or png.SIGNATURE in data[end:] or jpeg.ANOTHER.search(data, end):
        raise ImageAnimated(SEVERAL.format("images"))


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
        """The EXIF orientation, 1 to 8."""
        return orientation_of(png.exif(self.data)) if self.image.format == "PNG" else 1

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""
        if self._is_16_bit():
            samples = self._samples_16()
            found = to_8_bits(samples, png.significant_bits(self.data, samples), significant_bits)
            return found[..., 0] if found.shape[2] == 1 else found
        return _to_8_bit(self._loaded())

    def values(self) -> NDArray[np.integer[Any]]:
        """The stored samples, unscaled; for a palette image, its indices."""
        if self._is_16_bit():
            return self._samples_16()
        image = self._loaded()
        if image.mode == "P":
            return np.asarray(image)
        values = _to_8_bit(image)
        return values // png.spread(self.data) if image.format == "PNG" else values

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
        """Raise ImageTruncated if pixels are missing that Pillow would fill with black."""
        lack = None
        try:
            if any(extents != (0, 0, *self.size) for _, extents, *_ in self.image.tile):
                lack = "its pixels do not cover it"
            elif self.image.format == "PNG":
                lack = png.missing(self.data)
        except BROKEN as error:
            raise _broken(self.data, error) from error
        if lack:
            raise ImageTruncated(f"the file holds only a part of the image ({lack}); send it whole")


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """The stored pixels, of at most 8 bits per channel, as uint8 grey or RGB."""
    see_through = "transparency" in image.info
    if image.mode in ALPHA_MODES or (see_through and image.mode in (*GREY_MODES, "RGB", "P")):
        image = image.convert("LA" if image.mode in (*GREY_MODES, "LA", "La") else "RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise ImageUnsupported("the image has transparent pixels; send it without an alpha channel")
        return np.asarray(image)[..., 0] if image.mode == "LA" else np.asarray(image)[..., :3]
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))
    raise ImageUnsupported(f"pixel format {image.mode} is not read; send 8 or 16 bit grey or RGB")


def _broken(data: bytes, error: Exception) -> ImageError:
    """The error for a broken file: ImageTruncated if it ends early, else ImageUndecodable."""
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or _ends_early(data):
        return ImageTruncated(f"the file ends before the image does{_reason(error)}; send it whole")
    return ImageUndecodable(f"the file is broken and cannot be decoded{_reason(error)}; export it anew")


def _reason(error: Exception) -> str:
    """The decoder's message in brackets, if it helps the user."""
    of_the_code = isinstance(error, (UnidentifiedImageError, LookupError, TypeError, struct.error))
    text = str(error)
    return "" if of_the_code or not text or ADDRESS.search(text) else f" ({text})"


def _ends_early(data: bytes) -> bool:
    """Whether the file's structure says that data is missing at its end."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return len(data) < 8 or int.from_bytes(data[2:6], "little") > len(data)  # size stated in the BMP

"""Files opened by their header: JPEG and TIFF by their own modules, PNG and BMP by Pillow.

docs/api.md has the table of what is read. OpenCV reads 16-bit PNGs only: what a cut JPEG lacks, it fills with
grey and says nothing, and grey has no cracks.
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

from app.inspection.decoding import jpeg, png, tiff
from app.inspection.decoding.depth import to_8_bits
from app.inspection.decoding.orientation import exif_of, exif_orientation
from app.inspection.errors import (
    ImageAnimated,
    ImageError,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
)

# Both are switches of the whole process. Pillow's own limit would warn, or fail, at a number of pixels that
# is not ours, and a truncated image must stay an error whatever another library would like.
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

SEVERAL = "the file holds several {}; send each as an image of its own"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # of an object, in what an exception says

MAX_READS = 100_000  # by which Pillow takes a file; a real image needs some thousands


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

    def values(self) -> NDArray[np.integer[Any]]:
        """The samples as they are, of a palette image its indices."""


class _Frugal(BytesIO):
    """A file that cannot be read bit by bit for ever: filling, or empty chunks, by the million."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it is made of more than {MAX_READS} pieces")
        return super().read(size)


def open_image(data: bytes) -> OpenedFile:
    """Read the header only, and refuse what is plainly not one complete image."""
    if not data.startswith(jpeg.SIGNATURE):
        return open_lossless(data, FORMATS)
    file = jpeg.opened(data)
    _refuse_another(data, jpeg.end_of(data, file.frame))
    return file


def open_lossless(data: bytes, formats: tuple[str, ...] = LOSSLESS) -> LosslessFile:
    """As `open_image`, of one that may be a mask; `formats` are those that the caller reads."""
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
    """Raise ImageAnimated if an image begins behind the `end` of a file's own: nobody would look at it."""
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

    def values(self) -> NDArray[np.integer[Any]]:
        """The samples as they are, of a palette image its indices."""
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
            raise ImageTruncated(f"the file holds only a part of the image ({lack}); send it whole")


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """The image's stored pixels of 8 bits or fewer as uint8, grey or RGB."""
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
    """Name what a supported file suffers from: an early end, which a sender can repair, or anything else."""
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or _ends_early(data):
        return ImageTruncated(f"the file ends before the image does{_reason(error)}; send it whole")
    return ImageUndecodable(f"the file is broken and cannot be decoded{_reason(error)}; export it anew")


def _reason(error: Exception) -> str:
    """The decoder's own words in brackets, if they help the sender."""
    of_the_code = isinstance(error, (UnidentifiedImageError, LookupError, TypeError, struct.error))
    text = str(error)
    return "" if of_the_code or not text or ADDRESS.search(text) else f" ({text})"


def _ends_early(data: bytes) -> bool:
    """Whether the file's own structure says that more should follow."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return len(data) < 8 or int.from_bytes(data[2:6], "little") > len(data)  # a BMP's own size

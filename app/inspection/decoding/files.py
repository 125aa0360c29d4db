"""From a file's bytes to a Pillow image of which all is there, or to a named error.

Pillow decodes, not OpenCV: OpenCV fills what a cut file lacks with grey and says nothing, and grey has no
cracks.
"""

import re
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from app.inspection.decoding import jpeg, png, tiff
from app.inspection.errors import (
    ImageAnimated,
    ImageError,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
)

# Both are switches of the whole process. Pillow's own limit would warn, or fail, at a number of pixels that
# is not ours, and a truncated picture must stay an error whatever another library would like.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

LOSSLESS = ("PNG", "BMP", "TIFF")
FORMATS = ("JPEG", *LOSSLESS)
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY16_MODES = ("I;16", "I;16L", "I;16B")
BMP_RUNS = (1, 2)  # compression of 8 and of 4 bits

# What Pillow raises on broken files, found by mutating some. A Warning arrives as an exception only where
# the process asked for that, as tests do.
BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, Warning,
)  # fmt: skip

SEVERAL = "the file holds several {}; send each as a picture of its own"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # of an object, in what an exception says

MAX_SCANS = 100  # each goes over the whole picture; encoders make about ten
MAX_READS = 100_000  # by which Pillow takes a file; a real picture needs some thousands


class _Frugal(BytesIO):
    """A file that cannot be read bit by bit for ever: filling, or empty chunks, by the million."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it is made of more than {MAX_READS} pieces")
        return super().read(size)


def open_image(data: bytes, formats: tuple[str, ...]) -> tuple[ImageFile.ImageFile, jpeg.Frame | None]:
    """Read the header only, and refuse what is plainly not one complete picture; a JPEG with its frame."""
    try:
        if data.startswith(b"\x89PNG") and "PNG" in formats:
            Image.open(_Frugal(data), formats=formats).verify()  # checksums, which loading leaves unread
            _refuse_another(data, png.end_of(data))
        if data.startswith(b"BM") and "BMP" in formats:
            _refuse_another(data, int.from_bytes(data[2:6], "little") or len(data))  # its own size, or none
        frame = jpeg.read(data)
        image = Image.open(_Frugal(data if frame is None else _checked_jpeg(data, frame)), formats=formats)
        if frame is None and data.startswith(jpeg.START):  # of the others nothing tells that they are whole
            raise ImageUnsupported("the JPEG is arithmetic, lossless or broken; export it as baseline")
        if image.format == "BMP" and image.info.get("compression") in BMP_RUNS:
            raise ImageUnsupported(
                "the BMP holds runs, and what they leave out is black; save it uncompressed"
            )
        if image.format in ("TIFF", "PNG") and getattr(image, "is_animated", False):
            raise ImageAnimated(SEVERAL.format("frames or pages"))
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise _broken(data, error) from error
        raise ImageUnsupported(f"the file is none of {', '.join(formats)}") from error
    except BROKEN as error:
        raise _broken(data, error) from error
    return image, frame


def _refuse_another(data: bytes, end: int) -> None:
    """Raise ImageAnimated if a picture begins behind the `end` of a file's own: nobody would look at it."""
    if data.startswith(SIGNATURES, end) or png.SIGNATURE in data[end:] or jpeg.ANOTHER.search(data, end):
        raise ImageAnimated(SEVERAL.format("pictures"))


def _checked_jpeg(data: bytes, frame: jpeg.Frame) -> bytes:
    """A JPEG prepared so that Pillow notices if it was cut, or refused."""
    if len(frame.scans) > MAX_SCANS:
        raise ImageUnsupported(
            f"the JPEG has {len(frame.scans)} scans; at most {MAX_SCANS} are read: export it as baseline"
        )
    _refuse_another(data, jpeg.end_of(data, frame))
    if what := jpeg.missing(data, frame):
        raise ImageTruncated(f"the file ends before the picture does ({what}); send it whole")
    return jpeg.without_end(data, frame)


def is_16_bit(image: ImageFile.ImageFile) -> bool:
    """Whether the file, of which only the header is read, stores 16 bits a channel; Pillow may make it 8."""
    return image.mode in GREY16_MODES or (
        image.format in ("PNG", "TIFF") and any(";16" in str(args) for *_, args in image.tile)
    )


def load_pixels(image: ImageFile.ImageFile, data: bytes, frame: jpeg.Frame | None = None) -> Image.Image:
    """Read the pixels, of a file whose own structure says that all of them are there."""
    try:
        what = tiff.unsupported(image.tag_v2) if isinstance(image, TiffImageFile) else None
        if what is not None:
            raise ImageUnsupported(what)
        if lack := _lack(image, data):
            raise ImageTruncated(f"the file holds only a part of the picture ({lack}); send it whole")
        image.load()
    except BROKEN as error:
        raise _broken(data, error) from error
    if frame is not None and _has_cut_scan(image, data, frame):
        raise ImageTruncated("one of the picture's scans ends early; send the file whole")
    return image


def _lack(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """What the file lacks of the picture that Pillow would fill with black, or None."""
    if isinstance(image, TiffImageFile):
        return tiff.missing(image.tag_v2)
    if any(extents != (0, 0, *image.size) for _, extents, *_ in image.tile):
        return "its pixels do not cover it"
    return png.missing(data) if image.format == "PNG" else None


def _has_cut_scan(image: Image.Image, data: bytes, frame: jpeg.Frame) -> bool:
    """Whether a JPEG of several scans decodes to something else with bytes added that no whole scan touches.

    One of a single scan would have been noticed before.
    """
    if jpeg.has_one_scan(frame):
        return False
    try:
        again = np.asarray(Image.open(BytesIO(jpeg.filled(data, frame)), formats=("JPEG",)))
    except BROKEN:
        return True
    return not np.array_equal(np.asarray(image), again)


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
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if len(data) < 8:
        return True
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)  # its own size
    return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") >= len(
        data
    )  # its directory

"""Open image files by their header, each format in a module of its own.

docs/api.md has the table of supported encodings.
"""

import re
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding import bmp, jpeg, png, tiff
from app.inspection.errors import ImageAnimated, ImageUnsupported

LOSSLESS = ("PNG", "BMP", "TIFF")
FORMATS = ("JPEG", *LOSSLESS)
SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, bmp.SIGNATURE, *tiff.SIGNATURES)

# Formats that are not read, by what their files begin with.
UNREAD = {
    re.compile(start, re.DOTALL): name
    for start, name in {
        rb"RIFF....WEBP": "WebP",
        rb"GIF8": "GIF",
        rb"....ftyp(hei|hev|mif1|msf1)": "HEIC",
        rb"....ftypavi": "AVIF",
        rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000",
        rb"\0\0\0\x0cJXL |\xff\x0a": "JPEG XL",
        rb"P[1-7]\s": "Netpbm (PGM or PPM)",
        rb"8BPS": "Photoshop",
        rb"\x76\x2f\x31\x01": "OpenEXR",
        rb"%PDF": "PDF",
        rb"PK\x03\x04": "a zip archive",
        rb"\x1f\x8b": "a gzip archive",
        rb"/9j/|iVBORw0K|data:": "text in base64",
        rb"\s*<": "HTML or XML",
    }.items()
}


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

    def values(self, cancellation: Cancellation = NEVER) -> NDArray[np.integer[Any]]:
        """The stored samples, unscaled; for a palette image, its indices."""


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
    if data.startswith(png.SIGNATURE):
        file = png.opened(data)
        _refuse_another(data, file.chunks.end)
        return file
    if data.startswith(bmp.SIGNATURE):
        _refuse_another(data, bmp.end_of(data))
        return bmp.opened(data)
    what = next((name for start, name in UNREAD.items() if start.match(data)), None)
    found = f"the file is {what}, which is not read, and" if what else "the file is"
    raise ImageUnsupported(f"{found} none of {', '.join(formats)}; save it as PNG or TIFF")


def _refuse_another(data: bytes, end: int) -> None:
    """Raise ImageAnimated if another image follows the `end` of the first: it would be ignored."""
    if (
        data.startswith(SIGNATURES, end)
        or data.find(png.SIGNATURE, end) >= 0
        or jpeg.ANOTHER.search(data, end)
    ):
        raise ImageAnimated("the file holds several images; send each as an image of its own")

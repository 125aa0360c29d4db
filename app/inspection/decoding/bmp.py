"""Decode uncompressed BMP files with Pillow, and convert its pixels some rows at a time."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.errors import ImageError, ImageTruncated, ImageUndecodable, ImageUnsupported

# Both settings apply to the whole process. Pillow's own pixel limit would warn or fail below ours. A
# truncated image must be an error even if another library changed that setting.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

SIGNATURE = b"BM"
RUNS = (1, 2)  # run-length compression of 8 and of 4 bits
GREY_MODES = ("L", "1")
COLOUR_MODES = ("RGB", "P")
AT_ONCE = 1 << 18  # pixels converted together
# Exceptions that Pillow raises on broken files, found by fuzzing. A Warning is an exception only if the
# process turned warnings into errors, as the tests do.
BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, Warning,
)  # fmt: skip
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # an object's address in an exception's text


class _File(BytesIO):
    """The file as Pillow reads it, 64 KB at a time; a read ends with the error of `cancellation`."""

    cancellation: Cancellation = NEVER

    def read(self, size: int | None = -1, /) -> bytes:
        self.cancellation.check()
        return super().read(size)


@dataclass(frozen=True, slots=True, eq=False)
class BmpFile:
    """A BMP of which only the header has been read."""

    image: ImageFile.ImageFile
    data: bytes = field(repr=False)
    file: _File = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.image.size

    @property
    def orientation(self) -> int:
        """The orientation: a BMP has none, so it is 1."""
        return 1

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""
        return self._converted(_to_8_bit, cancellation)

    def values(self, cancellation: Cancellation = NEVER) -> NDArray[np.integer[Any]]:
        """The stored samples; for a palette image, its indices."""
        has_indices = self.image.mode == "P"
        return self._converted(_as_it_is if has_indices else _to_8_bit, cancellation)

    def _converted(
        self, convert: Callable[[Image.Image], NDArray[np.uint8]], cancellation: Cancellation
    ) -> NDArray[np.uint8]:
        """The pixels, converted in blocks of rows: Pillow would hold several copies of the whole image."""
        self._load(cancellation)
        width, height = self.size
        step = max(1, AT_ONCE // width)
        out: NDArray[np.uint8] | None = None
        for top in range(0, height, step):
            cancellation.check()
            block = convert(self.image.crop((0, top, width, min(top + step, height))))
            if out is None:
                out = np.empty((height, *block.shape[1:]), np.uint8)
            out[top : top + step] = block
        assert out is not None, "an image has rows"
        return out

    def _load(self, cancellation: Cancellation) -> None:
        """Let Pillow read the pixels; raises ImageTruncated if some are missing, which it leaves black."""
        if any(extents != (0, 0, *self.size) for _, extents, *_ in self.image.tile):
            raise ImageTruncated("the file holds only a part of the image; send it whole")
        self.file.cancellation = cancellation
        try:
            self.image.load()
        except BROKEN as error:
            raise _broken(self.data, error) from error


def opened(data: bytes) -> BmpFile:
    """Read the header only; raises an ImageError for an unsupported or broken BMP."""
    file = _File(data)
    try:
        image = Image.open(file, formats=("BMP",))
    except BROKEN as error:  # Pillow's own error for an unknown format is among them
        raise _broken(data, error) from error
    if image.info.get("compression") in RUNS:
        raise ImageUnsupported(
            "the BMP is run-length encoded, and skipped pixels would be black; save it uncompressed"
        )
    return BmpFile(image, data, file)


def end_of(data: bytes) -> int:
    """Offset of data after the image: the file's stated size."""
    return int.from_bytes(data[2:6], "little") or len(data)


def _as_it_is(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of at most 8 bits per channel as uint8 grey or RGB."""
    if image.mode == "RGBA":
        if image.getchannel("A").getextrema() != (255, 255):
            raise ImageUnsupported("the image has transparent pixels; send it without an alpha channel")
        return np.asarray(image)[..., :3]
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))
    raise ImageUnsupported(f"pixel format {image.mode} is not read; send 8 or 16 bit grey or RGB")


def _broken(data: bytes, error: Exception) -> ImageError:
    """The error for a broken file: ImageTruncated if it ends early, else ImageUndecodable."""
    ends_early = len(data) < 8 or int.from_bytes(data[2:6], "little") > len(data)  # its stated size
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or ends_early:
        return ImageTruncated(f"the file ends before the image does{_reason(error)}; send it whole")
    return ImageUndecodable(f"the file is broken and cannot be decoded{_reason(error)}; export it anew")


def _reason(error: Exception) -> str:
    """The decoder's message in brackets, if it helps the user."""
    of_the_code = isinstance(error, (UnidentifiedImageError, LookupError, TypeError, struct.error))
    text = str(error)
    return "" if of_the_code or not text or ADDRESS.search(text) else f" ({text})"

"""Read the orientation from EXIF data, and nothing else; turn an image upright by it.

EXIF data is a small TIFF. A library reads all its tags, and turns each value into an object: tags that share
their values need gigabytes for a file of 64 KB. Here only the entries of the first directory are read: the
orientation is stored in its entry.
"""

import re
import zlib
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

TIFF_HEADERS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
PREFIX = b"Exif\0\0"  # in JPEG, and by some writers in PNG
ORIENTATION = 0x0112
SIZES = {1: 1, 3: 2, 4: 4}  # bytes of the types that writers use for it
MOST_ENTRIES = 1000  # of the directory; cameras write some dozens
ENTRY_BYTES = 12
UPRIGHT = 1

# ImageMagick's text chunk: an empty line, the kind, the length, then hexadecimal lines.
TEXT_KEYWORD = b"Raw profile type exif\0"
TEXT_HEAD = re.compile(rb"\s*(?:exif|APP1)\s+\d+\s")
MOST_TEXT = 2 * 64 * 1024 + 8192  # characters; EXIF data in JPEG has at most 64 KB


def orientation_of(block: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or unreadable, as in image viewers."""
    tiff = block.removeprefix(PREFIX)
    order = TIFF_HEADERS.get(tiff[:4])
    if order is None:
        return UPRIGHT
    at = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[at : at + 2], order)
    for begin in range(at + 2, at + 2 + ENTRY_BYTES * min(count, MOST_ENTRIES), ENTRY_BYTES):
        entry = tiff[begin : begin + ENTRY_BYTES]
        if len(entry) < ENTRY_BYTES:
            break
        if int.from_bytes(entry[:2], order) == ORIENTATION:
            size = SIZES.get(int.from_bytes(entry[2:4], order), 0)
            found = int.from_bytes(entry[8 : 8 + size], order)
            return found if 1 <= found <= 8 and int.from_bytes(entry[4:8], order) == 1 else UPRIGHT
    return UPRIGHT


def of_text(content: bytes, *, packed: bool) -> bytes:
    """The EXIF data in a PNG's text chunk as ImageMagick writes it; empty if it is another text.

    `packed` is true for zTXt, false for tEXt. At most MOST_TEXT characters are unpacked and read.
    """
    if not content.startswith(TEXT_KEYWORD):
        return b""
    text = content[len(TEXT_KEYWORD) :]
    try:
        if packed:  # after the number of the method
            text = zlib.decompressobj().decompress(text[1 : 1 + MOST_TEXT], MOST_TEXT)
        head = TEXT_HEAD.match(text[:MOST_TEXT])
        return bytes.fromhex(text[head.end() : MOST_TEXT].decode("ascii")) if head else b""
    except (zlib.error, ValueError):
        return b""


def upright(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """The image turned upright, contiguous in memory."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

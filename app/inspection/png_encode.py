"""Encode pixels as PNG some rows at a time, so that a large image can be given up."""

import base64
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
SUB = 1  # the filter: each pixel less the one to its left
AT_ONCE = 1 << 20  # bytes


def png_base64(picture: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> str:
    """As `png_bytes`, in base64."""
    return base64.b64encode(png_bytes(picture, check)).decode("ascii")


def png_bytes(picture: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> bytes:
    """An image, grey [H, W] or BGR [H, W, 3], as a PNG file; `check` is called for each block of rows."""
    header = b"".join(each.to_bytes(4, "big") for each in picture.shape[1::-1])
    header += bytes((8, GREY if picture.ndim == 2 else RGB, 0, 0, 0))
    body = b"".join(_packed(picture, check))
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return SIGNATURE + b"".join(part for each in chunks for part in _chunk(*each))


def _packed(picture: NDArray[np.uint8], check: Callable[[], None]) -> Iterator[bytes]:
    """The filtered and deflated rows; runs alone, because images with noise hold little else to find."""
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    step = max(1, AT_ONCE // max(1, picture[0].size))
    for start in range(0, len(picture), step):
        check()
        rows = picture[start : start + step]
        rows = rows[..., ::-1] if rows.ndim == 3 else rows[..., None]
        lines = np.empty((len(rows), 1 + rows[0].size), np.uint8)
        lines[:, 0] = SUB
        lines[:, 1 : 1 + rows.shape[2]] = rows[:, 0]
        np.subtract(rows[:, 1:], rows[:, :-1], out=lines[:, 1 + rows.shape[2] :].reshape(rows[:, 1:].shape))
        yield packer.compress(lines.data)
    yield packer.flush()


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    crc = zlib.crc32(content, zlib.crc32(kind))
    return len(content).to_bytes(4, "big"), kind, content, crc.to_bytes(4, "big")

"""PNGs of every kind are read; one whose pixel data ends properly but too soon is not."""

import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.inspection.decoding import png
from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import ImageTruncated, ReferenceMaskUnreadable
from tests.inspection.bad_input import encode, picture, png_chunk

LIMITS = DecodeLimits()
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def made(
    size: tuple[int, int], raw: bytes, bits: int = 8, interlaced: bool = False, chunk: int = 999
) -> bytes:
    """A grey PNG of (width, height) that holds `raw` as its pixel data, in chunks of a given length."""
    packed = zlib.compress(raw)
    header = struct.pack(">IIBBBBB", *size, bits, 0, 0, 0, interlaced)
    parts = [packed[at : at + chunk] for at in range(0, len(packed), chunk)]
    chunks = [(b"IHDR", header), *((b"IDAT", part) for part in parts), (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(*each) for each in chunks)


def rows(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Pixel data without filters."""
    return np.insert(pixels, 0, 0, axis=1).tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "LA"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (96, 80)])
def test_whole_pngs_lack_nothing(mode: str, size: tuple[int, int]) -> None:
    assert png.missing(encode(Image.new(mode, size), "PNG")) is None


def test_missing_rows_are_noticed() -> None:
    pixels = picture()
    for chunk in (7, 999, 10**6):
        whole = made((96, 80), rows(pixels), chunk=chunk)
        np.testing.assert_array_equal(decode(whole, LIMITS), pixels)
        for lost in (1, 97, 40 * 97):
            cut = made((96, 80), rows(pixels)[:-lost], chunk=chunk)
            with pytest.raises(ImageTruncated, match=f"{80 * 97 - lost} of {80 * 97} bytes"):
                decode(cut, LIMITS)
            with pytest.raises(ReferenceMaskUnreadable, match="only a part"):
                decode_reference_mask(cut, (80, 96), 2)


def test_more_pixel_data_than_needed_does_no_harm() -> None:
    np.testing.assert_array_equal(decode(made((96, 80), rows(picture()) + b"more"), LIMITS), picture())


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 5), (96, 80), (33, 65)])
@pytest.mark.parametrize("bits", [1, 8, 16])
def test_missing_passes_of_an_interlaced_png_are_noticed(size: tuple[int, int], bits: int) -> None:
    length = 0
    for x, y, across, down in png.PASSES:
        columns, lines = len(range(x, size[0], across)), len(range(y, size[1], down))
        length += lines * (1 + -(-columns * bits // 8)) if columns else 0
    assert png.missing(made(size, bytes(length), bits, interlaced=True)) is None
    assert png.missing(made(size, bytes(length - 1), bits, interlaced=True))


def test_pixel_data_behind_another_chunk_is_not_counted() -> None:
    whole = made((96, 80), rows(picture()), chunk=2000)
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4) - 4
    split = whole[:second] + png_chunk(b"tEXt", b"Comment\0hello") + whole[second:]
    with pytest.raises(ImageTruncated):
        decode(split, LIMITS)


def test_counting_keeps_nothing() -> None:
    bomb = made((8000, 8000), bytes(8000 * 8001 - 1), chunk=10**6)
    tracemalloc.start()
    try:
        assert png.missing(bomb) is not None
        assert tracemalloc.get_traced_memory()[1] < 4 * png.PIECE_OUT
    finally:
        tracemalloc.stop()

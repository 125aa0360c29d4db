"""PNGs of every kind are read; one whose pixel data ends properly but too soon is not."""

import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding import png
from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import FrameMismatch, ImageTruncated, ImageUnsupported, ReferenceMaskUnreadable
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


def deep_png(samples: NDArray[np.integer[Any]], *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of samples [H, W, channels], with chunks before its pixel data."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(*each) for each in parts)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_read_in_every_colour_type(channels: int) -> None:
    samples = np.random.default_rng(channels).integers(0, 1 << 16, (9, 7, channels), dtype=np.uint16)
    if channels in (2, 4):
        samples[..., -1] = 65_535
    colours = samples[..., : 1 if channels < 3 else 3]
    expected = colours[..., 0] if channels < 3 else colours
    np.testing.assert_array_equal(decode(deep_png(samples), LIMITS), expected >> 8)
    twelve = deep_png(np.where(samples == 65_535, samples, samples >> 4).astype(np.uint16))
    np.testing.assert_array_equal(decode(twelve, LIMITS, None, 12), expected >> 8)
    if channels in (2, 4):
        samples[3, 3, -1] = 65_000
        with pytest.raises(ImageUnsupported, match="transparent"):
            decode(deep_png(samples), LIMITS)


def test_a_transparent_colour_of_16_bits_is_refused() -> None:
    samples = np.full((9, 7, 1), 40_000, np.uint16)
    with pytest.raises(ImageUnsupported, match="transparent colour"):
        decode(deep_png(samples, (b"tRNS", b"\1\1")), LIMITS)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_the_depth_of_an_sbit_chunk_is_used(bits: int) -> None:
    low = np.random.default_rng(bits).integers(0, 1 << bits, (20, 30, 3), dtype=np.uint16)
    chunk = (b"sBIT", bytes([bits] * 3))
    expected = (low >> (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(decode(deep_png(low, chunk), LIMITS), expected)
    high = low << (16 - bits)  # as the standard has it
    repeated = high | high >> bits
    for samples in (high, repeated, high // 8 << (16 - bits)):
        np.testing.assert_array_equal(decode(deep_png(samples, chunk), LIMITS), samples >> 8)
    low[0, 0, 0] = 60_001
    with pytest.raises(FrameMismatch, match=f"but {bits} bits go up to"):
        decode(deep_png(low, chunk), LIMITS)


@pytest.mark.parametrize("bits", [0, 1, 7, 16])
def test_an_sbit_chunk_that_says_nothing_of_16_bits_is_no_statement(bits: int) -> None:
    low = np.random.default_rng(0).integers(0, 1 << 12, (20, 30, 1), dtype=np.uint16)
    with pytest.raises(ImageUnsupported, match="send significant_bits=12"):
        decode(deep_png(low, (b"sBIT", bytes([bits]))), LIMITS)


def test_what_the_sender_says_comes_before_an_sbit_chunk() -> None:
    low = np.random.default_rng(0).integers(0, 1 << 12, (20, 30, 1), dtype=np.uint16)
    data = deep_png(low, (b"sBIT", bytes([16])))
    np.testing.assert_array_equal(decode(data, LIMITS, None, 12), low[..., 0] >> 4)


def test_a_16_bit_colour_mask_keeps_its_class_ids() -> None:
    ids = np.zeros((9, 7, 3), np.uint16)
    ids[2:4] = 2
    labels, has_classes = decode_reference_mask(deep_png(ids), (9, 7), 2)
    np.testing.assert_array_equal(labels, ids[..., 0])
    assert has_classes


@pytest.mark.parametrize("bits", [2, 4])
def test_a_grey_mask_of_few_bits_keeps_its_class_ids(bits: int) -> None:
    ids = np.zeros((9, 8), np.uint8)
    ids[2:4] = 2
    packed = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., -bits:].reshape(9, -1), axis=1)
    data = made((8, 9), rows(packed), bits)
    labels, has_classes = decode_reference_mask(data, (9, 8), 2)
    np.testing.assert_array_equal(labels, ids)
    assert has_classes
    np.testing.assert_array_equal(decode(data, LIMITS), ids * (255 // ((1 << bits) - 1)))


def test_hot_pixels_of_all_ones_are_clipped_and_other_values_refused() -> None:
    twelve = np.random.default_rng(0).integers(0, 1 << 12, (80, 96, 1), dtype=np.uint16)
    twelve[3, 4] = 65_535
    np.testing.assert_array_equal(
        decode(deep_png(twelve), LIMITS, None, 12), np.minimum(twelve, 4095)[..., 0] >> 4
    )
    twelve[5, 6] = 9000
    with pytest.raises(FrameMismatch, match="12 bits go up to 4095"):
        decode(deep_png(twelve), LIMITS, None, 12)

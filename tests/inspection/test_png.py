"""PNGs of every kind are read; one whose pixel data ends properly but too soon is not."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding import png_rows
from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import (
    FrameMismatch,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
    ReferenceMaskUnreadable,
)
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
    opaque = Image.new(mode, size, 0)
    if mode in ("LA", "RGBA"):
        opaque.putalpha(255)
    pixels = decode(encode(opaque, "PNG"), LIMITS, None, 16)
    assert pixels.shape[1::-1] == size


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
    for x, y, across, down in png_rows.PASSES:
        columns, lines = len(range(x, size[0], across)), len(range(y, size[1], down))
        length += lines * (1 + -(-columns * bits // 8)) if columns else 0
    assert decode(made(size, bytes(length), bits, interlaced=True), LIMITS, None, 16).shape[1::-1] == size
    with pytest.raises(ImageTruncated, match=f"{length - 1} of {length} bytes"):
        decode(made(size, bytes(length - 1), bits, interlaced=True), LIMITS, None, 16)


def test_pixel_data_behind_another_chunk_is_not_counted() -> None:
    whole = made((96, 80), rows(picture()), chunk=2000)
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4) - 4
    split = whole[:second] + png_chunk(b"tEXt", b"Comment\0hello") + whole[second:]
    with pytest.raises(ImageTruncated):
        decode(split, LIMITS)


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


def packed_rows(samples: NDArray[np.integer[Any]], bits: int) -> list[bytes]:
    """Each row of samples [H, W, channels] as bytes, most significant bit first."""
    flat = samples.reshape(len(samples), -1)
    texts = ("".join(format(int(each), f"0{bits}b") for each in row) for row in flat)
    whole = [text + "0" * (-len(text) % 8) for text in texts]
    return [int(text, 2).to_bytes(len(text) // 8, "big") for text in whole]


def filtered(row: bytes, above: bytes, kind: int, size: int) -> bytes:
    """A row with a filter of the standard (PNG, section 9.2), written from its definition."""
    out = bytearray([kind])
    for n, value in enumerate(row):
        left = row[n - size] if n >= size else 0
        up, corner = above[n], above[n - size] if n >= size else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda each: abs(guess - each))
        out.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
    return bytes(out)


def whole_png(
    samples: NDArray[np.integer[Any]],
    bits: int,
    colour_type: int,
    interlaced: bool,
    *chunks: tuple[bytes, bytes],
) -> bytes:
    """A PNG whose rows use all filters in turn; it shares nothing with the reader."""
    size = max(1, bits * samples.shape[2] // 8)
    raw = b""
    for x, y, across, down in png_rows.PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[y::down, x::across]
        if not part.size:
            continue
        above = bytes(len(packed_rows(part[:1], bits)[0]))
        for n, row in enumerate(packed_rows(part, bits)):
            raw += filtered(row, above, n % 5, size)
            above = row
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour_type, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(*each) for each in parts)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
@pytest.mark.parametrize(
    ("colour_type", "bits"),
    [*((0, bits) for bits in (1, 2, 4, 8, 16)), (2, 8), (2, 16), *((3, bits) for bits in (1, 2, 4, 8)),
     (4, 8), (4, 16), (6, 8), (6, 16)],
)  # fmt: skip
def test_every_filter_depth_and_colour_type_is_read(
    monkeypatch: pytest.MonkeyPatch, colour_type: int, bits: int, at_once: int, interlaced: bool
) -> None:
    monkeypatch.setattr(png_rows, "AT_ONCE", at_once)  # rows of one block, and of many
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    rng = np.random.default_rng(bits)
    samples = rng.integers(0, 1 << bits, (23, 17, channels), dtype=np.uint16)
    if colour_type in (4, 6):
        samples[..., -1] = (1 << bits) - 1
    palette = rng.integers(0, 256, (1 << min(bits, 8), 3), dtype=np.uint8)
    chunks = [(b"PLTE", palette.tobytes())] if colour_type == 3 else []
    found = decode(whole_png(samples, bits, colour_type, interlaced, *chunks), LIMITS, None, 16)
    colours = samples[..., : 3 if channels > 2 else 1]
    expected: NDArray[Any] = colours[..., 0] if channels < 3 else colours
    if colour_type == 3:
        expected = palette[expected]
    elif bits == 16:
        expected = expected >> 8
    elif bits < 8:
        expected = expected * (255 // ((1 << bits) - 1))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"filter": 5}, "filter"),
        ({"palette": b""}, "palette"),
        ({"palette": bytes(6)}, "an index that the palette lacks"),
        ({"before": (b"CgBI", b"")}, "needs a chunk CgBI"),
        ({"again": True}, "header must be the first"),
    ],
)
def test_what_breaks_the_standard_is_refused(change: dict[str, Any], expected: str) -> None:
    samples = np.full((4, 4, 1), 3, np.uint8)
    palette = (b"PLTE", change.get("palette", bytes(768)))
    chunks = [palette] if palette[1] else []
    chunks += [change["before"]] if "before" in change else []
    data = whole_png(samples, 8, 3, False, *chunks)
    if "filter" in change:
        data = made((4, 4), rows(samples[..., 0]).replace(b"\0", b"\5"))
    if "again" in change:
        data = data[:33] + data[8:]
    with pytest.raises(ImageUndecodable, match=expected):
        decode(data, LIMITS)


def test_texts_and_profiles_are_passed_over() -> None:
    data = encode(picture(), "PNG")
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9))
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(20_000_000), 9))
    np.testing.assert_array_equal(decode(data[:33] + text + profile + data[33:], LIMITS), picture())

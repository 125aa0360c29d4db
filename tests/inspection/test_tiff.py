"""TIFFs that list all their strips or tiles are read; others, and what would be read wrongly, are not."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.errors import ImageError, ImageTruncated, ImageUndecodable, ImageUnsupported
from tests.inspection.bad_input import encode, picture

LIMITS = DecodeLimits()
STRIPS: dict[str, Any] = {"tiffinfo": {278: 8}, "strip_size": 768}
LOSSLESS = ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"]
Fields = Mapping[int, int | list[int]]


def made(fields: Fields, parts: list[bytes], counts: bool = True) -> bytes:
    """A little-endian TIFF with these strips, `fields` going before what it would say itself."""
    offsets = [8 + sum(map(len, parts[:n])) for n in range(len(parts))]
    own: Fields = {273: offsets, **({279: [len(part) for part in parts]} if counts else {})}
    data = b"".join(parts)
    entries, beyond = b"", b""
    place = 8 + len(data)
    for tag, value in sorted({**own, **fields}.items()):
        values = value if isinstance(value, list) else [value]
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, beyond = struct.pack("<I", place + len(beyond)), beyond + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    directory = struct.pack("<H", len(entries) // 12) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", place + len(beyond)) + data + beyond + directory


def grey() -> dict[int, int | list[int]]:
    """The fields of 8-bit grey, 96 x 80, of ten strips."""
    return {256: 96, 257: 80, 258: 8, 259: 1, 262: 1, 277: 1, 278: 8}


def strips(pixels: Any) -> list[bytes]:
    return [pixels[at : at + 8].tobytes() for at in range(0, len(pixels), 8)]


@pytest.mark.parametrize("counts", [True, False])
def test_whole_strips_are_read(counts: bool) -> None:
    np.testing.assert_array_equal(decode(made(grey(), strips(picture()), counts), LIMITS), picture())


def test_strips_listed_as_empty_or_not_at_all_are_noticed() -> None:
    parts = strips(picture())
    offsets = [8 + 768 * n for n in range(10)]
    for wrong in (
        {273: [*offsets[:4], 0, *offsets[5:]]},
        {279: [768] * 9 + [0]},
        {279: [768] * 9},
        {273: offsets[:9]},
    ):
        with pytest.raises(ImageTruncated, match="strips are listed"):
            decode(made({**grey(), **wrong}, parts), LIMITS)


def test_every_plane_needs_its_strips() -> None:
    fields = {**grey(), 258: [8, 8, 8], 262: 2, 277: 3, 284: 2}
    planes = strips(picture()) * 3
    np.testing.assert_array_equal(decode(made(fields, planes), LIMITS), np.dstack([picture()] * 3))
    for count in (10, 20, 29):
        with pytest.raises(ImageTruncated, match=f"{count} of 30 strips"):
            decode(made(fields, planes[:count]), LIMITS)


def test_tiles_are_counted_like_strips() -> None:
    pixels = picture(64, 96)
    tiles = [pixels[y : y + 32, x : x + 48].tobytes() for y in (0, 32) for x in (0, 48)]
    offsets, counts = [8 + 1536 * n for n in range(4)], [1536] * 4
    fields = {256: 96, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 322: 48, 323: 32}
    for listed in (4, 3):
        data = made({**fields, 324: offsets[:listed], 325: counts[:listed]}, tiles)
        data = data.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 305, 4))  # no strips at all
        data = data.replace(struct.pack("<HH", 279, 4), struct.pack("<HH", 306, 4))
        if listed == 4:
            np.testing.assert_array_equal(decode(data, LIMITS), pixels)
        else:
            with pytest.raises(ImageTruncated, match="3 of 4 tiles"):
                decode(data, LIMITS)


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_strip_that_lost_its_end_is_noticed_in_every_compression_read(compression: str) -> None:
    data = encode(picture(), "TIFF", compression=compression, **STRIPS)
    np.testing.assert_array_equal(decode(data, LIMITS), picture())
    if compression == "raw":  # its counts are not used
        return
    directory = struct.unpack_from("<I", data, 4)[0]
    entry = data.index(struct.pack("<H", 279), directory)
    kind, count, place = struct.unpack_from("<HII", data, entry + 2)
    layout = "<H" if kind == 3 else "<I"
    for strip in (0, count // 2, count - 1):
        cut, at = bytearray(data), place + strip * struct.calcsize(layout)
        struct.pack_into(layout, cut, at, struct.unpack_from(layout, data, at)[0] // 2)
        with pytest.raises(ImageError):
            decode(bytes(cut), LIMITS)


@pytest.mark.parametrize("compression", ["jpeg", "group3", "group4", "tiff_ccitt"])
def test_compressions_of_which_a_cut_goes_unnoticed_are_refused(compression: str) -> None:
    image = Image.fromarray(picture()) if compression == "jpeg" else Image.fromarray(picture() > 64)
    with pytest.raises(ImageUnsupported, match="uncompressed, or with LZW or Deflate"):
        decode(encode(image, "TIFF", compression=compression), LIMITS)


def test_16_bits_with_white_as_zero_are_refused() -> None:
    parts = strips(picture().astype("<u2") * 257)
    fields = {**grey(), 258: 16}
    np.testing.assert_array_equal(decode(made(fields, parts), LIMITS), picture())
    with pytest.raises(ImageUnsupported, match="photometric 1"):
        decode(made({**fields, 262: 0}, parts), LIMITS)
    inverted = decode(made({**grey(), 262: 0}, strips(255 - picture())), LIMITS)
    np.testing.assert_array_equal(inverted, picture(), err_msg="8 bits are turned round rightly")


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ImageUndecodable, match="278 must be a whole number above 0"):
        decode(made({**grey(), 278: 0}, strips(picture())), LIMITS)

"""Images are read rightly or refused by name; reference masks too."""

from contextlib import suppress
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import (
    FrameMismatch,
    ImageAnimated,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageTruncated,
    ImageUnsupported,
    ReferenceMaskError,
    ReferenceMaskInvalid,
    ReferenceMaskSizeMismatch,
    ReferenceMaskUnreadable,
)
from tests.inspection.bad_input import BadInput, bad_inputs, encode, picture, png_chunk

LIMITS = DecodeLimits(min_side_px=16)
CORPUS = bad_inputs()


def test_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CORPUS) >= 30
    assert len({each.name for each in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("upload", [each for each in CORPUS if each.expected], ids=lambda each: each.name)
def test_bad_input_gives_the_error_expected(upload: BadInput) -> None:
    with pytest.raises(ImageError) as caught:
        decode(upload.data, LIMITS)
    assert type(caught.value) is upload.expected, str(caught.value)
    message = str(caught.value)
    assert len(message) > 20, "the message must say what is wrong and what would be right"
    assert "0x" not in message, "an object's address tells a sender nothing"
    assert "out of range" not in message


@pytest.mark.parametrize("upload", [each for each in CORPUS if not each.expected], ids=lambda each: each.name)
def test_odd_input_is_read_rightly(upload: BadInput) -> None:
    pixels = decode(upload.data, LIMITS)
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]
    upright = np.rot90(grey) if "turned" in upload.name else grey
    dark = upright[30:42, 20:44]
    if upload.name == "20000_wide_but_low":
        dark = upright[10:16, 100:160]
    background = np.delete(upright, np.s_[28:44], axis=0) if len(upright) > 20 else upright[:8]
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert dark.max() < 60
    assert background.min() > 90


def test_all_eight_exif_orientations() -> None:
    stored = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright = decode(encode(stored, "PNG", exif=exif), LIMITS)
        expected = _as_pillow_turns(stored, orientation)
        np.testing.assert_array_equal(upright, expected, err_msg=f"orientation {orientation}")


def _as_pillow_turns(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = Image.fromarray(stored)
    return np.asarray(image.transpose(how[orientation]) if orientation in how else image)


def test_sixteen_bits_become_eight_the_same_way_in_every_picture() -> None:
    ramp = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(decode(encode(ramp, "PNG"), LIMITS), (ramp >> 8).astype(np.uint8))
    dim = np.full((32, 32), 16_384, dtype=np.uint16)
    assert np.all(decode(encode(dim, "TIFF"), LIMITS) == 64), "a dim image must stay dim"
    assert np.all(decode(encode(dim // 4, "PNG"), LIMITS, None, 16) == 16), "where it is said to be dim"
    assert not decode(encode(np.zeros((32, 32), np.uint8), "PNG"), LIMITS).any(), "8 bits may be black"


@pytest.mark.parametrize("bits", [10, 11, 12, 13, 14])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("hot", [False, True])
def test_fewer_bits_than_16_must_be_told(bits: int, file_format: str, hot: bool) -> None:
    deep = picture().astype(np.uint16) << (bits - 8) | 1
    if hot:
        deep[0, :7] = 65_535  # of 7,680
    data = encode(deep, file_format)
    with pytest.raises(ImageUnsupported, match=f"significant_bits={bits},"):
        decode(data, LIMITS)
    if hot:
        expected = picture()
        expected[0, :7] = 255  # clipped
        np.testing.assert_array_equal(decode(data, LIMITS, None, bits), expected)
        deep[0, 7] = 65_535  # more than one in a thousand
        with pytest.raises(FrameMismatch, match=f"holds 65535, but {bits} bits go up to {(1 << bits) - 1}"):
            decode(encode(deep, file_format), LIMITS, None, bits)
        deep[0, 7] = 1 << (bits - 1)
    else:
        np.testing.assert_array_equal(decode(data, LIMITS, None, bits), picture())
    colour = bytes(cv2.imencode(f".{file_format.lower()}", np.dstack([deep] * 3))[1])
    with pytest.raises(ImageUnsupported, match=f"significant_bits={bits},"):
        decode(colour, LIMITS)


def test_significant_bits_say_nothing_of_8_bits() -> None:
    for file_format in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(decode(encode(picture(), file_format), LIMITS, None, 12), picture())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_orientation_in_xmp_turns_nothing(file_format: str) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><r tiff:Orientation='6'/></x:xmpmeta>"
    xmp = xmp.replace(b"'6'", b'"6"')
    if file_format == "JPEG":
        data = encode(picture(), "JPEG", xmp=xmp)
    else:
        chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        whole = encode(picture(), "PNG")
        data = whole[:33] + chunk + whole[33:]
    assert Image.open(BytesIO(data)).getexif()[0x0112] == 6, "Pillow would turn it"
    assert decode(data, LIMITS).shape == (80, 96)


def test_limits_are_inclusive_and_checked_before_pixels_are_allocated() -> None:
    data = encode(picture(40, 50), "PNG")
    assert decode(data, DecodeLimits(len(data), 2000, 40)).shape == (40, 50)
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode(data, DecodeLimits(len(data) - 1, 2000, 40))
    with pytest.raises(ImageTooLarge, match="2000 pixels"):
        decode(data, DecodeLimits(len(data), 1999, 40))
    with pytest.raises(ImageTooSmall, match="41 or more"):
        decode(data, DecodeLimits(len(data), 2000, 41))


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 4}),
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_no_cut_file_is_ever_read_as_a_whole_one(file_format: str, options: dict[str, object]) -> None:
    data = encode(picture(), file_format, **options)
    whole = decode(data, LIMITS)
    for length in range(1, len(data), max(1, len(data) // 60)):
        try:
            pixels = decode(data[:length], LIMITS)
        except ImageError:
            continue
        np.testing.assert_array_equal(pixels, whole, err_msg=f"cut after {length} of {len(data)} bytes")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(16, 90), st.integers(16, 90), st.integers(5, 100), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_jpeg_is_read_as_pillow_reads_it_unless_cut(
    height: int, width: int, quality: int, optimize: bool, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = encode(pixels, "JPEG", quality=quality, optimize=optimize)
    np.testing.assert_array_equal(decode(data, LIMITS), np.asarray(Image.open(BytesIO(data))))
    scan, end = data.rindex(b"\xff\xda") + 14, len(data) - 2
    if end - scan > 400:  # the last two blocks of a cut scan cannot be told from a whole one
        with pytest.raises(ImageTruncated):
            decode(data[: (scan + end) // 2] + b"\xff\xd9", LIMITS)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_files_give_named_errors_or_pixels(data: st.DataObject) -> None:
    seeds = [each.data for each in CORPUS if 0 < len(each.data) < 20_000]
    mutated = bytearray(data.draw(st.sampled_from(seeds)))
    places = st.one_of(st.integers(0, min(200, len(mutated) - 1)), st.integers(0, len(mutated) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        mutated[place] = value
    with suppress(ImageError):
        assert decode(bytes(mutated), DecodeLimits(max_pixels=10**6)).ndim in (2, 3)
    with suppress(ReferenceMaskError):
        decode_reference_mask(bytes(mutated), (80, 96), 2)


def test_reference_mask_with_class_ids() -> None:
    values = np.zeros((20, 30), dtype=np.uint8)
    values[2:5], values[8] = 1, 2
    for file_format in ("PNG", "BMP", "TIFF"):
        label_map, has_classes = decode_reference_mask(encode(values, file_format), (20, 30), 2)
        np.testing.assert_array_equal(label_map, values)
        assert has_classes


def test_reference_mask_keeps_the_indices_of_a_palette_and_16_bit_values() -> None:
    values = np.zeros((20, 30), dtype=np.uint8)
    values[2:5] = 2
    coloured = Image.fromarray(values, mode="L").convert("P")
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    coloured.info["transparency"] = 0
    for data in (encode(coloured, "PNG"), encode(values.astype(np.uint16), "PNG")):
        label_map, has_classes = decode_reference_mask(data, (20, 30), 2)
        np.testing.assert_array_equal(label_map, values)
        assert has_classes


def test_reference_mask_without_classes() -> None:
    values = np.zeros((20, 30), dtype=np.uint8)
    values[2:5] = 255
    masks = (encode(values, "PNG"), encode(np.dstack([values] * 3), "PNG"), encode(values > 0, "PNG"))
    for data in masks:
        label_map, has_classes = decode_reference_mask(data, (20, 30), 2)
        np.testing.assert_array_equal(label_map, values > 0)
        assert not has_classes


@pytest.mark.parametrize("also", [(127, 128), (1,), (1, 2), (254,)])
def test_greys_beside_255_are_refused(also: tuple[int, ...]) -> None:
    values = np.zeros((20, 30), dtype=np.uint8)
    values[2:5] = 255
    values[6 : 6 + len(also)] = np.array(also)[:, None]
    for data in (encode(values, "PNG"), encode(values, "TIFF"), encode(np.dstack([values] * 3), "BMP")):
        with pytest.raises(
            ReferenceMaskInvalid, match=r"255\]; right are class ids 0..2, or 0 and 255 alone"
        ):
            decode_reference_mask(data, (20, 30), 2)


def test_values_above_the_classes_are_refused_without_a_255_and_in_a_palette() -> None:
    values = np.zeros((20, 30), dtype=np.uint8)
    values[2:5], values[6] = 254, 128
    with pytest.raises(ReferenceMaskInvalid, match=r"128, 254.*0 and 255 alone"):
        decode_reference_mask(encode(values, "PNG"), (20, 30), 2)
    values[2:5], values[6] = 255, 1
    coloured = Image.fromarray(values).convert("P")
    coloured.putpalette(bytes(range(256)) * 3)
    with pytest.raises(ReferenceMaskInvalid, match="255"):
        decode_reference_mask(encode(coloured, "PNG"), (20, 30), 2)


def test_empty_reference_mask_has_no_defect_of_any_class() -> None:
    label_map, has_classes = decode_reference_mask(encode(np.zeros((9, 9), np.uint8), "PNG"), (9, 9), 3)
    assert not label_map.any()
    assert has_classes


def test_reference_mask_is_turned_like_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.zeros((20, 30), dtype=np.uint8)
    values[0] = 1
    label_map, _ = decode_reference_mask(encode(values, "PNG", exif=exif), (30, 20), 1)
    np.testing.assert_array_equal(label_map, np.rot90(values, -1))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ReferenceMaskUnreadable),
        (b"no mask", ReferenceMaskUnreadable),
        (encode(np.zeros((20, 30), np.uint8), "JPEG"), ReferenceMaskUnreadable),
        (encode(np.zeros((20, 30), np.uint8), "PNG")[:40], ReferenceMaskUnreadable),
        (encode(np.zeros((20, 31), np.uint8), "PNG"), ReferenceMaskSizeMismatch),
        (encode(np.zeros((30, 20), np.uint8), "PNG"), ReferenceMaskSizeMismatch),
        (encode(np.zeros((10, 10), np.uint8), "PNG"), ReferenceMaskSizeMismatch),
        (encode(np.full((20, 30), 3, np.uint8), "PNG"), ReferenceMaskInvalid),
        (encode(np.full((20, 30), 300, np.uint16), "PNG"), ReferenceMaskInvalid),
        (encode(np.arange(600).reshape(20, 30).astype(np.uint8) % 255, "PNG"), ReferenceMaskInvalid),
        (encode(np.full((20, 30, 3), (255, 0, 0), np.uint8), "PNG"), ReferenceMaskInvalid),
    ],
)
def test_reference_mask_that_cannot_be_compared_with(data: bytes, expected: type[ReferenceMaskError]) -> None:
    with pytest.raises(expected):
        decode_reference_mask(data, (20, 30), 2)


@pytest.mark.parametrize("first", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("second", ["PNG", "JPEG", "BMP"])
def test_a_second_picture_behind_the_first_is_refused_whatever_it_is(first: str, second: str) -> None:
    one, other = (encode(Image.new("L", (40, 30), 90), kind) for kind in (first, second))
    assert decode(one, DecodeLimits()).shape == (30, 40)
    assert decode(one + bytes(40), DecodeLimits()).shape == (30, 40)  # some cameras pad
    with pytest.raises(ImageAnimated):
        decode(one + other, DecodeLimits())


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P5\n2 2\n255\nabcd", "Netpbm"),
        (b"/9j/4AAQSkZJRg", "base64"),
        (b"\n<html>", "HTML"),
    ],
)
def test_files_of_other_formats_are_named(start: bytes, name: str) -> None:
    with pytest.raises(ImageUnsupported, match=f"the file is .*{name}.*none of JPEG"):
        decode(start, DecodeLimits())

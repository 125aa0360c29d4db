"""TIFFs of every layout in the table are read pixel by pixel; the others are refused by name."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import (
    FrameMismatch,
    ImageAnimated,
    ImageError,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
)
from tests.inspection.bad_input import encode, picture
from tests.inspection.tiff_files import How, Samples, tiff, with_tags

LIMITS = DecodeLimits()
STRIPS: dict[str, Any] = {"tiffinfo": {278: 8}, "strip_size": 768}
LOSSLESS = ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"]
WITH_PREDICTOR = (5, 8, 32946)


def grey() -> Samples:
    """The dark rectangle, [H, W, 1]."""
    return picture().astype(np.uint16)[..., None]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, How]:
    """A number of colour channels and a layout for them."""
    channels = draw(st.sampled_from([1, 3]))
    bits = draw(st.sampled_from([1, 2, 4, 8, 8, 10, 11, 12, 14, 16, 16]))
    compression = draw(st.sampled_from([1, 1, 5, 8, 32946, 32773]))
    how = How(
        bits=bits,
        order=draw(st.sampled_from("<>")),
        big=draw(st.booleans()),
        planar=channels == 3 and draw(st.booleans()),
        tile=draw(st.sampled_from([None, None, (16, 16), (48, 32)])),
        rows=draw(st.sampled_from([1, 3, 8, 200])),
        compression=compression,
        predictor=compression in WITH_PREDICTOR and bits in (8, 16) and draw(st.booleans()),
        photometric=2 if channels == 3 else draw(st.sampled_from([0, 1])),
    )
    return channels, how


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), layouts(), st.integers(0, 2**32 - 1), st.booleans())
def test_every_layout_is_read_pixel_by_pixel(
    height: int, width: int, layout: tuple[int, How], seed: int, smooth: bool
) -> None:
    channels, how = layout
    chance = np.random.default_rng(seed)
    samples = chance.integers(0, 1 << how.bits, (height, width, channels), dtype=np.uint16)
    if smooth:  # so that it can be compressed
        samples[:] = samples[:, :1]
    samples[0] |= 1 << (how.bits - 1)  # bright enough to be of 16 bits
    expected = samples >> (how.bits - 8) if how.bits >= 8 else samples * (255 // ((1 << how.bits) - 1))
    expected = 255 - expected if how.photometric == 0 else expected
    found = decode(tiff(samples, how), LIMITS)
    np.testing.assert_array_equal(found, expected[..., 0] if channels == 1 else expected)


def test_byte_counts_may_be_left_out_where_lengths_are_plain() -> None:
    whole = tiff(grey())
    for compression in (1, 5):
        data = tiff(grey(), How(compression=compression))
        data = data.replace(b"\x17\1\4\0", b"\x18\1\4\0")  # the counts become something else
        if compression == 1:
            np.testing.assert_array_equal(decode(data, LIMITS), decode(whole, LIMITS))
        else:
            with pytest.raises(ImageUndecodable, match="how long its strips are"):
                decode(data, LIMITS)


def test_strips_listed_as_empty_or_not_at_all_are_noticed() -> None:
    offsets = [8 + 768 * n for n in range(10)]
    for tag, wrong in (
        (273, [*offsets[:4], 0, *offsets[5:]]),
        (279, [768] * 9 + [0]),
        (279, [768] * 9),
        (273, offsets[:9]),
    ):
        with pytest.raises(ImageTruncated, match="strips are listed"):
            decode(tiff(grey(), How(), **{f"tag_{tag}": wrong}), LIMITS)


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([768] * 4 + [384] + [768] * 5, ImageTruncated, "shorter than their lines"),
        ([768] * 9 + [2000], ImageUndecodable, "longer than their lines"),
        ([1536] * 10, ImageUndecodable, "longer than their lines"),
        ([768] * 4 + [770] + [768] * 5, ImageUndecodable, "overlap"),
        ([2**31] * 10, ImageTruncated, "beyond the end of the file"),
    ],
)
def test_byte_counts_that_say_otherwise_are_refused(
    counts: list[int], error: type[ImageError], message: str
) -> None:
    with pytest.raises(error, match=message):
        decode(tiff(grey(), tag_279=counts), LIMITS)


def test_strips_in_any_order_are_read_and_overlapping_ones_are_not() -> None:
    offsets = [8 + 768 * n for n in range(10)]
    pixels = picture().reshape(10, 8, 96)
    data = tiff(grey(), tag_273=offsets[::-1])
    np.testing.assert_array_equal(decode(data, LIMITS), pixels[::-1].reshape(80, 96))
    with pytest.raises(ImageUndecodable, match="overlap"):
        decode(tiff(grey(), tag_273=[8] * 10), LIMITS)


@pytest.mark.parametrize("compression", [1, 8])
def test_a_last_strip_may_be_filled_up(compression: int) -> None:
    """Ten lines in strips of eight: the second strip has eight too."""
    filled = tiff(grey()[:16], How(compression=compression), tag_257=[10])
    np.testing.assert_array_equal(decode(filled, LIMITS), picture()[:10])


@pytest.mark.parametrize("compression", [5, 8, 32773])
@pytest.mark.parametrize("fields", [{"tag_256": [48]}, {"tag_257": [32], "tag_278": [32]}])
def test_a_compressed_strip_of_more_than_its_lines_is_refused(
    compression: int, fields: dict[str, list[int]]
) -> None:
    whole = grey()
    how = How(compression=compression, rows=len(whole) if "tag_257" in fields else 8)
    decode(tiff(whole, how), LIMITS)
    with pytest.raises(ImageUndecodable, match="more than its lines"):
        decode(tiff(whole, how, **fields), LIMITS)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_more_pieces_than_the_size_has_room_for_are_refused(
    compression: int, tile: tuple[int, int] | None
) -> None:
    half = tiff(grey(), How(compression=compression, tile=tile), tag_257=[16])
    with pytest.raises(ImageUndecodable, match=r"are listed in TIFF tag [0-9]+, .* are due by the size"):
        decode(half, LIMITS)


def test_a_changed_byte_of_a_deflated_strip_is_noticed() -> None:
    data = tiff(grey(), How(compression=8))
    for at in range(8, 2000, 37):
        changed = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        with pytest.raises(ImageError):
            decode(changed, LIMITS)


def test_every_plane_needs_its_strips() -> None:
    colour = np.dstack([picture()] * 3).astype(np.uint16)
    offsets = [8 + 768 * n for n in range(30)]
    for count in (10, 20, 29):
        data = tiff(colour, How(planar=True, photometric=2), tag_273=offsets[:count])
        with pytest.raises(ImageTruncated, match=f"{count} of 30 strips"):
            decode(data, LIMITS)


def test_a_file_that_lists_nothing_is_refused() -> None:
    data = tiff(grey()).replace(b"\x11\1\4\0", b"\x12\1\4\0")  # the offsets become something else
    with pytest.raises(ImageError):
        decode(data, LIMITS)
    with pytest.raises(ImageTruncated, match="0 of 10 strips are listed"):
        decode(tiff(grey()).replace(b"\x11\1\4\0", b"\x0d\1\4\0"), LIMITS)


def test_every_tile_must_be_listed() -> None:
    offsets = [8 + 48 * 32 * n for n in range(3)]
    with pytest.raises(ImageTruncated, match="3 of 4 tiles"):
        decode(tiff(grey()[:64], How(tile=(48, 32)), tag_324=offsets), LIMITS)


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_strip_that_lost_its_end_is_noticed_in_every_compression_read(compression: str) -> None:
    data = encode(picture(), "TIFF", compression=compression, **STRIPS)
    np.testing.assert_array_equal(decode(data, LIMITS), picture())
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
    with pytest.raises(ImageUnsupported, match="uncompressed or with LZW or Deflate"):
        decode(encode(image, "TIFF", compression=compression), LIMITS)


REFUSED: list[tuple[str, dict[str, list[int]]]] = [
    (r"compression 7 \(JPEG\)", {"tag_259": [7]}),
    (r"compression 99 \(unknown\)", {"tag_259": [99]}),
    ("YCbCr", {"tag_262": [6]}),
    ("CIELab", {"tag_262": [8]}),
    ("a sensor's mosaic", {"tag_262": [32803]}),
    ("photometric 77", {"tag_262": [77]}),
    ("signed samples", {"tag_339": [2]}),
    ("floating-point samples", {"tag_339": [3]}),
    ("17 bits", {"tag_258": [17]}),
    ("32 bits", {"tag_258": [32]}),
    ("predictor 2 with compression 1", {"tag_317": [2]}),
    ("predictor 3", {"tag_317": [3], "tag_259": [8]}),
    ("planar configuration 3", {"tag_284": [3]}),
    ("5 samples a pixel", {"tag_277": [5]}),
]


@pytest.mark.parametrize(("name", "fields"), REFUSED, ids=[name for name, _ in REFUSED])
def test_other_encodings_are_refused_by_name(name: str, fields: dict[str, list[int]]) -> None:
    with pytest.raises(ImageUnsupported, match=f"TIFF with .*{name}.* is not read; save it as"):
        decode(tiff(grey(), How(), **fields), LIMITS)


def test_channels_of_different_depth_are_refused() -> None:
    colour = np.dstack([picture()] * 3).astype(np.uint16)
    with pytest.raises(ImageUnsupported, match="8, 8, 16 bits"):
        decode(tiff(colour, How(photometric=2), tag_258=[8, 8, 16]), LIMITS)


def test_extra_samples_must_be_opaque_where_they_are_transparency() -> None:
    for kind, alpha, read in (
        (1, 255, True),
        (2, 254, False),
        (0, 7, True),
        (None, 255, True),
        (None, 9, False),
    ):
        colour = np.dstack([*[picture()] * 3, np.full_like(picture(), alpha)]).astype(np.uint16)
        data = tiff(colour, How(photometric=2), **({} if kind is None else {"tag_338": [kind]}))
        if read:
            np.testing.assert_array_equal(decode(data, LIMITS), np.dstack([picture()] * 3))
        else:
            with pytest.raises(ImageUnsupported, match="transparent"):
                decode(data, LIMITS)


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_a_palette_of_8_or_of_16_bits_gives_its_colours(scale: int) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (3, 16))
    colours[0, 0] = 255
    indices = np.random.default_rng(4).integers(0, 16, (20, 30, 1), dtype=np.uint16)
    data = tiff(indices, How(bits=4, photometric=3), tag_320=(colours * scale).ravel().tolist())
    np.testing.assert_array_equal(decode(data, LIMITS), colours.T[indices[..., 0]])
    labels, has_classes = decode_reference_mask(data, (20, 30), 15)
    np.testing.assert_array_equal(labels, indices[..., 0])
    assert has_classes


def test_a_16_bit_mask_of_class_ids_keeps_them() -> None:
    ids = (grey() < 64).astype(np.uint16) * 2
    labels, _ = decode_reference_mask(tiff(ids, How(bits=16, order=">")), (80, 96), 2)
    np.testing.assert_array_equal(labels, ids[..., 0])


@pytest.mark.parametrize("bits", [2, 4])
def test_a_grey_mask_of_few_bits_keeps_its_class_ids(bits: int) -> None:
    ids = np.zeros((80, 96, 1), np.uint16)
    ids[10:20] = 2
    labels, has_classes = decode_reference_mask(tiff(ids, How(bits=bits)), (80, 96), 2)
    np.testing.assert_array_equal(labels, ids[..., 0])
    assert has_classes


@pytest.mark.parametrize("order", ["<", ">"])
def test_bits_in_reversed_order_are_read(order: str) -> None:
    data = tiff(grey(), How(order=order), tag_266=[2])
    turned = np.packbits(np.unpackbits(picture()[..., None], axis=2)[..., ::-1], axis=2)[..., 0]
    np.testing.assert_array_equal(decode(data, LIMITS), turned)


def page(size: tuple[int, int], at: int, **fields: int) -> dict[int, tuple[int, list[int]]]:
    """The directory of an uncompressed 8-bit image of one strip."""
    width, height = size
    tags = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: at,
        277: 1,
        278: height,
        279: width * height,
    }
    tags |= {int(name.removeprefix("tag_")): value for name, value in fields.items()}
    return {tag: (4, [value]) for tag, value in tags.items()}


@pytest.mark.parametrize("how", [How(), How(order=">", big=True)])
def test_a_page_marked_as_a_smaller_copy_is_no_second_image(how: How) -> None:
    start = 16 if how.big else 8
    body = picture().tobytes() + picture()[::2, ::2].tobytes()
    first, small = page((96, 80), start), page((48, 40), start + 80 * 96, tag_254=1)
    for pages in ([first, small], [first, page((48, 40), start, tag_255=2)]):
        np.testing.assert_array_equal(decode(with_tags(body, how, pages), LIMITS), picture())
    for pages in (
        [first, page((48, 40), start)],
        [first, page((96, 80), start, tag_254=1)],
        [small, first],
        [first, small, page((48, 40), start)],
        [first, *[small] * 11],
    ):
        with pytest.raises(ImageAnimated):
            decode(with_tags(body, how, pages), LIMITS)


def test_a_volume_is_not_read_as_its_first_slice() -> None:
    with pytest.raises(ImageAnimated, match="several slices"):
        decode(tiff(grey(), How(), tag_32997=[3]), LIMITS)
    np.testing.assert_array_equal(decode(tiff(grey(), How(), tag_32997=[1]), LIMITS), picture())


@pytest.mark.parametrize(
    ("text", "is_stack"),
    [
        ("ImageJ=1.53t\nimages=3\nslices=3\nloop=false\n", True),
        ("ImageJ=1.53t\nunit=mm\nimages=40\n", True),
        ("ImageJ=1.53t\nimages=1\n", False),
        ("ImageJ=1.53t\nmin=0.0\nmax=255.0\n", False),
        ("images=3\n", False),
        ("x", False),
        ("ImageJ=" + "\n" * 100_000, False),
    ],
)
def test_a_stack_of_imagej_is_not_read_as_its_first_image(text: str, is_stack: bool) -> None:
    """ImageJ writes one page, and the other images behind it."""
    data = encode(picture(), "TIFF", tiffinfo={270: text}) + picture().tobytes()
    if is_stack:
        with pytest.raises(ImageAnimated, match="stack of"):
            decode(data, LIMITS)
    else:
        np.testing.assert_array_equal(decode(data, LIMITS), picture())


def test_directories_in_a_circle_end() -> None:
    first, small = page((96, 80), 8), page((48, 40), 8, tag_254=1)
    data = bytearray(with_tags(picture().tobytes(), How(), [first, small]))
    last = len(data) - 4
    data[last:] = (last - 2 - 12 * len(small)).to_bytes(4, "little")  # the second page follows itself
    with pytest.raises(ImageAnimated):
        decode(bytes(data), LIMITS)


def test_tags_that_lie_about_their_counts_or_types_are_refused() -> None:
    data = tiff(grey())
    for tag, count, kind in ((258, 2**31, 3), (277, 10**6, 3), (256, 0, 4), (259, 1, 5)):
        entry = data.index(tag.to_bytes(2, "little") + bytes([3 if tag != 256 else 4, 0]))
        wrong = kind.to_bytes(2, "little") + count.to_bytes(4, "little")
        with pytest.raises(ImageError):
            decode(data[: entry + 2] + wrong + data[entry + 8 :], LIMITS)


def test_significant_bits_are_those_stated_or_asked_for() -> None:
    deep = (grey() * 16 + 5).astype(np.uint16)  # 12 bits in 16
    for how in (How(bits=16), How(bits=16, order=">", planar=True), How(bits=16, compression=5)):
        np.testing.assert_array_equal(decode(tiff(deep, how), LIMITS, None, 12), picture())
        np.testing.assert_array_equal(decode(tiff(deep, how, tag_281=[4095]), LIMITS), picture())
        with pytest.raises(ImageUnsupported, match="significant_bits=12"):
            decode(tiff(deep, how), LIMITS)
        with pytest.raises(ImageUnsupported, match="significant_bits=12"):
            decode(tiff(deep, how, tag_281=[2192]), LIMITS)  # what is highest in it, which tells no depth
        with pytest.raises(FrameMismatch, match="but 11 bits go up to 2047"):
            decode(tiff(deep, how), LIMITS, None, 11)
    np.testing.assert_array_equal(decode(tiff(deep, How(bits=12)), LIMITS, None, 16), picture())


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ImageUndecodable, match="278 must be a whole number above 0"):
        decode(tiff(grey(), tag_278=[0]), LIMITS)


def test_a_tiff_that_does_not_say_which_end_is_black_is_refused() -> None:
    data = tiff(grey()).replace(b"\6\1\3\0", b"\7\1\3\0")
    with pytest.raises(ImageUndecodable, match="whether 0 is black or white"):
        decode(data, LIMITS)


@pytest.mark.parametrize("how", [How(order="<", big=True), How(order=">", big=True), How(order=">")])
def test_a_cut_file_is_called_cut_in_every_kind_of_tiff(how: How) -> None:
    data = tiff(grey(), how)
    for length in (6, 10, 1000, len(data) - 1):
        with pytest.raises(ImageTruncated):
            decode(data[:length], LIMITS)

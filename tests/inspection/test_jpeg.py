"""Whole JPEGs of every kind are read; cut ones are noticed, though libjpeg would not."""

import re
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.inspection.decoding import jpeg
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.errors import ImageError, ImageTruncated, ImageUndecodable, ImageUnsupported
from tests.inspection.bad_input import encode

RESTART = re.compile(rb"\xff([\xd0-\xd7])")
sides = st.integers(9, 150)
options = st.fixed_dictionaries(
    {"quality": st.integers(1, 100), "progressive": st.booleans(), "optimize": st.booleans()},
    optional={
        "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]),
        "restart_marker_blocks": st.integers(1, 30),
        "restart_marker_rows": st.integers(1, 4),
    },
)


def noise(height: int, width: int, mode: str, seed: int) -> Image.Image:
    """A noisy picture of one of Pillow's modes."""
    rng = np.random.default_rng(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = rng.normal(128, rng.uniform(0, 60), (height, width, bands)).clip(0, 255).astype(np.uint8)
    return Image.merge(mode, [Image.fromarray(values[..., n]) for n in range(bands)])


@settings(max_examples=100, deadline=None)
@given(sides, sides, st.sampled_from(["L", "RGB", "CMYK"]), options, st.integers(0, 2**32 - 1))
def test_whole_jpegs_are_read_as_pillow_reads_them(
    height: int, width: int, mode: str, how: dict[str, Any], seed: int
) -> None:
    data = encode(noise(height, width, mode, seed), "JPEG", **how)
    if mode == "CMYK" and how.get("subsampling", "4:4:4") != "4:4:4":
        with pytest.raises(ImageUnsupported, match="chroma sampling"):
            decode(data, DecodeLimits())
        return
    expected = Image.open(BytesIO(data)).convert("L" if mode == "L" else "RGB")
    np.testing.assert_array_equal(decode(data, DecodeLimits()), np.asarray(expected))


@settings(max_examples=25, deadline=None)
@given(sides, sides, st.sampled_from(["L", "RGB"]), st.integers(0, 2**32 - 1))
def test_progressive_jpeg_cut_after_any_scan_but_the_last_is_refused(
    height: int, width: int, mode: str, seed: int
) -> None:
    data = encode(noise(height, width, mode, seed), "JPEG", progressive=True)
    frame = jpeg.read(data)
    assert frame is not None
    for scan in frame.scans[:-1]:
        with pytest.raises(ImageTruncated):
            decode(data[: scan.end] + jpeg.END, DecodeLimits())


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_progressive_jpeg_that_lost_half_or_more_of_any_scan_is_refused(share: float) -> None:
    data = encode(noise(120, 150, "RGB", 1), "JPEG", progressive=True)
    frame = jpeg.read(data)
    assert frame is not None
    for scan in frame.scans:
        kept = scan.start + int(share * (scan.end - scan.start))
        with pytest.raises(ImageTruncated):
            decode(data[:kept] + data[scan.end :], DecodeLimits())


def test_restart_markers_are_counted_for_each_kind_of_scan() -> None:
    for how in ({}, {"subsampling": "4:2:0"}, {"subsampling": "4:1:1"}, {"progressive": True}):
        data = encode(noise(77, 130, "RGB", 2), "JPEG", restart_marker_blocks=3, **how)
        frame = jpeg.read(data)
        assert frame is not None
        assert not jpeg.some_scans_are_missing(frame)
        markers = list(RESTART.finditer(data, frame.scans[0].start))
        for one, after in zip(markers[:12:3], markers[1:13:3], strict=True):
            with pytest.raises(ImageTruncated, match="instead of RST"):
                decode(data[: one.start()] + data[after.start() :], DecodeLimits())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_what_cannot_be_read_is_left_to_the_decoder(content: bytes) -> None:
    frame = jpeg.read(jpeg.START + content)
    assert frame is None or frame.components
    data = encode(noise(20, 20, "L", 0), "JPEG")
    with suppress(ImageUndecodable):
        jpeg.read(data[:100] + content + data[100:])


def _of_three_scans(height: int, width: int, seed: int) -> bytes:
    """A baseline JPEG with a scan for each colour: three grey ones put together, of the same tables."""
    planes = [encode(noise(height, width, "L", seed + n), "JPEG", quality=80) for n in range(3)]
    frames = [jpeg.read(each) for each in planes]
    scans = [
        each[frame.scans[0].start : frame.scans[0].end]
        for each, frame in zip(planes, frames, strict=True)
        if frame is not None
    ]
    header = planes[0][: planes[0].index(b"\xff\xc0")]
    tables = planes[0][planes[0].index(b"\xff\xc4") : planes[0].index(b"\xff\xda")]
    sides = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    size = b"\xff\xc0\x00\x11\x08" + sides + b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    passes = [
        b"\xff\xda\x00\x08\x01" + bytes([n]) + b"\x00\x00\x3f\x00" + scan
        for n, scan in enumerate(scans, start=1)
    ]
    return header + size + tables + b"".join(passes) + jpeg.END


def test_a_baseline_jpeg_of_several_scans_is_read_whole_and_refused_cut() -> None:
    data = _of_three_scans(64, 80, 1)
    frame = jpeg.read(data)
    assert frame is not None
    assert len(frame.scans) == 3
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode(data, DecodeLimits()), expected)
    for scan in frame.scans:
        for left in (0.5, 0.9):
            end = scan.start + int(left * (scan.end - scan.start))
            with pytest.raises(ImageTruncated):
                decode(data[:end] + data[scan.end :], DecodeLimits())


@pytest.mark.parametrize(
    "tail",
    [
        b"\xff\xfe\x00\x04ab\xff\xd9",
        b"\xff\xe4\x00\x04ab\xff\xd9",
        b"\xff\xdc\x00\x04\x00\x40\xff\xd9",
        b"\xff\xd0\xff\xd9",
        b"\xff\x01\xff\xd9",
        b"\xff\xff\xff\xd9",
    ],
    ids=["comment", "application", "number of lines", "restart", "reserved", "fill bytes"],
)
def test_a_cut_scan_is_refused_whatever_marker_follows(tail: bytes) -> None:
    data = encode(noise(64, 64, "L", 2), "JPEG", quality=90)
    with pytest.raises(ImageTruncated):
        decode(data[: -len(data) // 4] + tail, DecodeLimits())


def test_a_comment_behind_a_whole_scan_is_no_cut() -> None:
    data = encode(noise(64, 64, "L", 3), "JPEG")
    commented = data.removesuffix(jpeg.END) + b"\xff\xfe\x00\x04ab" + jpeg.END
    np.testing.assert_array_equal(decode(commented, DecodeLimits()), decode(data, DecodeLimits()))


@pytest.mark.parametrize("closing", [b"", b"\xff\xd3"])
def test_a_last_interval_may_be_closed_but_must_be_whole(closing: bytes) -> None:
    data = encode(noise(32, 64, "L", 4), "JPEG", restart_marker_rows=1)  # four intervals
    whole = data.removesuffix(jpeg.END)
    np.testing.assert_array_equal(
        decode(whole + closing + jpeg.END, DecodeLimits()), decode(data, DecodeLimits())
    )
    with pytest.raises(ImageTruncated):
        decode(whole[:-40] + closing + jpeg.END, DecodeLimits())


@pytest.mark.parametrize("kind", [0xC3, 0xC9, 0xCA])
def test_kinds_of_which_nothing_tells_that_they_are_whole_are_refused(kind: int) -> None:
    data = encode(noise(32, 32, "L", 5), "JPEG").replace(b"\xff\xc0", bytes([0xFF, kind]), 1)
    with pytest.raises(ImageUnsupported, match="export it as baseline"):
        decode(data, DecodeLimits())


def test_a_jpeg_of_12_bits_is_called_that() -> None:
    data = encode(noise(32, 32, "L", 6), "JPEG")
    at = data.index(b"\xff\xc0") + 4
    with pytest.raises(ImageUnsupported, match="of 12 bits"):
        decode(data[:at] + b"\x0c" + data[at + 1 :], DecodeLimits())


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_lost_bytes_are_noticed_more_often_than_not(how: dict[str, Any]) -> None:
    """A JPEG has no checksum: what is left may be a scan, too."""
    data = encode(noise(300, 400, "RGB", 7), "JPEG", quality=90, **how)
    frame = jpeg.read(data)
    assert frame is not None
    places = np.random.default_rng(8).integers(frame.scans[0].start, len(data) - 600, 40).tolist()
    noticed = 0
    for at in places:
        try:
            decode(data[:at] + data[at + 512 :], DecodeLimits())
        except ImageError:
            noticed += 1
    assert noticed >= (20 if "progressive" in how else 32)

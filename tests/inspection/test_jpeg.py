"""Whole JPEGs of every kind are read; cut ones are noticed, though libjpeg would not."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.inspection import jpeg
from app.inspection.decode import DecodeLimits, decode
from app.inspection.errors import ImageTruncated
from tests.inspection.bad_input import encode

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
        assert jpeg.missing(data, frame) is None
        markers = list(jpeg.RESTART.finditer(data, frame.scans[0].start))
        for one, after in zip(markers[:12:3], markers[1:13:3], strict=True):
            with pytest.raises(ImageTruncated, match="restart"):
                decode(data[: one.start()] + data[after.start() :], DecodeLimits())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_what_cannot_be_read_is_left_to_the_decoder(content: bytes) -> None:
    frame = jpeg.read(jpeg.START + content)
    assert frame is None or frame.sampling
    data = encode(noise(20, 20, "L", 0), "JPEG")
    with suppress(ValueError):
        jpeg.read(data[:100] + content + data[100:])

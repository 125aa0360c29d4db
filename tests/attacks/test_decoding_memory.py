"""Decoding an image takes at most three times the decoded image, and 64 MB, in every format that is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import FORMATS
from app.inspection.errors import ImageUnsupported
from tests.attacks.large_images import CMYK, MAKERS, file, tiff

HEIGHT, WIDTH = 1600, 2400
TIMES, ROOM = 3, 64_000_000
TIGHTER = 36_000_000  # these images are small, so that room for 64 MB would hide a copy


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[int, int]]:
    """Of each format: the bytes of the decoded image, and by how many its process grew."""
    command = [sys.executable, "-m", "tests.attacks.peak_memory", str(HEIGHT), str(WIDTH)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (size, grown) for name, size, grown in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_peak_memory_is_bounded(measured: dict[str, tuple[int, int]], name: str) -> None:
    size, grown = measured[name]
    assert size in (HEIGHT * WIDTH, 3 * HEIGHT * WIDTH)
    assert grown <= TIMES * size + min(ROOM, TIGHTER)


def test_every_format_is_measured() -> None:
    """Each file format, and each packing of a frame."""
    frames = {name.removeprefix("raw_") for name in MAKERS if name.startswith("raw_")}
    packings = {(packing.pixels, packing.size) for packing, _ in FORMATS.values()}
    assert {(FORMATS[each][0].pixels, FORMATS[each][0].size) for each in frames} == packings
    assert {name.split("_")[0] for name in MAKERS} == {"jpeg", "png", "bmp", "tiff", "raw"}


@pytest.mark.parametrize("compression", [5, 32773, 50000])
def test_a_strip_that_would_take_too_much_is_refused(compression: int) -> None:
    made = tiff(4800, 4000, 4, 16, compression, CMYK)
    with pytest.raises(ImageUnsupported, match="unpack to 153600000 bytes at once"):
        decode(made, DecodeLimits(max_bytes=1 << 30))
    small = tiff(480, 400, 4, 16, compression, CMYK)
    assert decode(small, DecodeLimits()).shape == (480, 400, 3)


def test_inks_in_several_scans_are_refused_above_a_size() -> None:
    with pytest.raises(ImageUnsupported, match="CMYK JPEG of several scans and 16128000 pixels"):
        decode(file(4032, 4000, "JPEG", "CMYK", progressive=True), DecodeLimits())

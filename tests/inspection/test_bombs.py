"""Small files that unpack to much, or are cut into millions of pieces: refused in little memory and time."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.inspection.bad_input import bad_inputs, png_chunk, png_header

MIB = 1024 * 1024
ROOM_MIB = 64  # beside a file of a few MB and the copy of it that is read
CPU_S = 1.0
TILE = 11_264  # a tile of 121 MiB, of an image of 16 x 12
UNPACKED = 128 * MIB
MEASURE = """
import json, sys, time
from functools import cache
from pathlib import Path
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.errors import ImageError

def peak():  # in KiB; not getrusage, whose peak may be that of the process which started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

for name in sys.argv[1:]:
    data = Path(name).read_bytes()
    before, begun = peak(), time.process_time()
    try:
        outcome = str(decode(data, DecodeLimits()).shape)
    except ImageError as error:
        outcome = error.code
    print(json.dumps([outcome, (peak() - before) / 1024, time.process_time() - begun]), flush=True)
"""


@cache
def zeros() -> bytes:
    """UNPACKED zero bytes, deflated, without ever holding them."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(UNPACKED // MIB)) + packer.flush()


def tiff_tile() -> bytes:
    """A TIFF of 16 x 12 pixels in one huge tile."""
    data = zeros()
    values = {256: 16, 257: 12, 258: 8, 259: 8, 262: 1, 277: 1, 322: TILE, 323: TILE}
    start = 8 + 2 + 12 * (len(values) + 2) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()]
    entries += [struct.pack("<HHII", 324, 4, 1, start), struct.pack("<HHII", 325, 4, 1, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + data


def tiff_strip(compression: int, packed: bytes, rows: int = 12) -> bytes:
    """A TIFF of 16 x 12 pixels whose strips are all these bytes."""
    count = 12 // rows
    start = 8 + 2 + 12 * 9 + 4
    lists = struct.pack(f"<{2 * count}I", *[start + 8 * count] * count, *[len(packed)] * count)
    values = {256: 16, 257: 12, 258: 8, 259: compression, 262: 1, 277: 1, 278: rows}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()]
    places = (start + 8 * count, len(packed)) if count == 1 else (start, start + 4 * count)
    entries += [struct.pack("<HHII", tag, 4, count, at) for tag, at in zip((273, 279), places, strict=True)]
    directory = struct.pack("<H", len(entries)) + b"".join(sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + lists + packed


def tiff_of_strips(height: int) -> bytes:
    """A TIFF of one pixel a line, each a strip of its own, all at the same place."""
    values = {256: 1, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    start = 8 + 2 + 12 * 9 + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()]
    entries += [
        struct.pack("<HHII", tag, 4, height, at) for tag, at in ((273, start), (279, start + 4 * height))
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(sorted(entries)) + bytes(4)
    lists = struct.pack("<I", start) * height + struct.pack("<I", 1) * height
    return b"II*\0" + struct.pack("<I", 8) + directory + lists


def tiff_pages() -> bytes:
    """A TIFF whose 300,000 directories are all smaller copies of the first."""
    own = {256: 16, 257: 12, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 12, 279: 192}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in own.items()]
    place = 8 + 2 + 12 * len(own) + 4
    data = [b"II*\0", struct.pack("<IH", 8, len(own)), *entries, struct.pack("<I", place)]
    for _ in range(300_000):
        place += 18
        data.append(struct.pack("<HHHIII", 1, 254, 4, 1, 1, place))
    return b"".join(data)


def tiff_tags() -> bytes:
    """A BigTIFF whose directory lists 1.5 million tags."""
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1_500_000) + bytes(20 * 1_500_000 + 8)


def small_png(extra: bytes, pixels: bytes = zlib.compress(bytes(17 * 12))) -> bytes:
    """A PNG of 16 x 12 pixels with chunks before its own."""
    return png_header(16, 12) + extra + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tiff_one_huge_tile": (tiff_tile, "image_unsupported"),
    "tiff_deflate": (lambda: tiff_strip(8, zeros()), "image_undecodable"),
    "tiff_packbits": (lambda: tiff_strip(32773, b"\x81\0" * 4_000_000), "image_undecodable"),
    "tiff_packbits_of_nothing": (lambda: tiff_strip(32773, b"\x80" * 8_000_000), "image_undecodable"),
    "tiff_overlapping": (lambda: tiff_strip(8, zeros(), rows=1), "image_undecodable"),
    "tiff_strips": (lambda: tiff_of_strips(1_000_000), "image_unsupported"),
    "tiff_overlapping_strips": (lambda: tiff_of_strips(100_000), "image_undecodable"),
    "tiff_pages": (tiff_pages, "image_animated"),
    "tiff_tags": (tiff_tags, "image_undecodable"),
    "png_more_rows_than_it_says": (lambda: small_png(b"", zeros()), "(12, 16)"),
    "png_profile": (
        lambda: small_png(png_chunk(b"iCCP", b"x\0\0" + zeros())),
        "(12, 16)",
    ),
    "png_chunks": (lambda: small_png(png_chunk(b"tEXt", b"x\0y") * 400_000), "image_undecodable"),
    "png_empty_rows": (lambda: small_png(png_chunk(b"IDAT", b"") * 400_000), "image_undecodable"),
    "jpeg_filling": (lambda: b"\xff\xd8" + b"\xff" * 4_000_000, "image_truncated"),
    "jpeg_junk": (lambda: b"\xff\xd8\xff\xe0\0\2" + bytes(4_000_000) + b"\xff\xd9", "image_undecodable"),
    "jpeg_comments": (lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000, "image_undecodable"),
    "jpeg_scans": (lambda: b"\xff\xd8" + b"\xff\xda\0\2" * 1_000_000, "image_undecodable"),
    "jpeg_starts": (lambda: b"\xff\xd8" * 2_000_000 + b"\xff\xd9", "image_undecodable"),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float]]:
    """What became of each bomb, the MiB its process grew by, and the seconds of processor time."""
    folder = tmp_path_factory.mktemp("bombs")
    corpus = {bad.name: bad.data for bad in bad_inputs() if "bomb" in bad.name}
    made = {name: make() for name, (make, _) in BOMBS.items()} | corpus
    for name, data in made.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-c", MEASURE, *(str(folder / name) for name in made)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(made, lines, strict=True))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_for_what_it_is(measured: dict[str, tuple[str, float, float]], name: str) -> None:
    assert measured[name][0] == BOMBS[name][1]


def test_no_bomb_takes_much_memory_or_time(measured: dict[str, tuple[str, float, float]]) -> None:
    assert len(measured) >= len(BOMBS) + 5
    for name, (_, mebibytes, seconds) in measured.items():
        assert mebibytes < ROOM_MIB, name
        assert seconds < CPU_S, name

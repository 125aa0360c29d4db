"""Tags that promise millions of values are refused or passed over, in bounded memory and time."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.exif import orientation_of
from app.inspection.errors import ImageUndecodable
from tests.inspection.bad_input import encode, picture, png_chunk

ROOM_MIB = 64
CPU_S = 2.0
SHORT, LONG, RATIONAL = 3, 4, 5
ORIENTATION = 0x0112
KEYWORD = b"Raw profile type exif\0"
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.errors import ImageError

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

data = Path(sys.argv[1]).read_bytes()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
Path("/proc/self/clear_refs").write_text("5")
before, begun = peak(), time.process_time()
try:
    outcome = str(decode(data, DecodeLimits()).shape)
except ImageError as error:
    outcome = error.code
print(json.dumps([outcome, (peak() - before) / 1024, time.process_time() - begun]))
"""


def directory(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    """A TIFF's header and one directory of (tag, type, count, value or place), and no next one."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    lines = b"".join(struct.pack(order + "HHII", *each) for each in entries)
    return head + struct.pack(order + "H", len(entries)) + lines + bytes(4)


def shared_rationals(size: int, tags: int, values: int) -> bytes:
    """EXIF data of `size` bytes whose many tags, the orientation among them, have the same many rationals."""
    entries = [(0x9000 + n, RATIONAL, values, 8) for n in range(tags)]
    block = directory([(ORIENTATION, RATIONAL, values, 8), *entries])
    return block + bytes(max(0, size - len(block)))


def tiff_with(*more: tuple[int, int, int, int], behind: int = 0) -> bytes:
    """A grey TIFF of 64 x 64 px in one strip, with other entries and `behind` bytes after it."""
    own = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 278: 64, 279: 4096}
    entries = [(tag, LONG, 1, value) for tag, value in own.items() if tag not in {each[0] for each in more}]
    entries += more
    if not any(tag == 273 for tag, *_ in more):
        entries.append((273, LONG, 1, 8 + 2 + 12 * (len(entries) + 1) + 4))
    return directory(sorted(entries)) + bytes([9]) * 4096 + bytes(behind)


def many_strips() -> bytes:
    """64 x 64 px with 3.8 million strip offsets and as many byte counts, in one file of 31 MB."""
    count = 3_800_000
    return tiff_with((273, LONG, count, 200), (279, LONG, count, 200), behind=31_000_000)


def narrow_tiles(width: int, height: int) -> bytes:
    """A grey TIFF with one tile for each column of pixels, deflated: little data for much work."""
    tile = zlib.compress(bytes(height), 9)
    places = 8 + 2 + 12 * 10 + 4
    first = places + 8 * width
    own = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: 1, 323: height}
    entries = [(tag, LONG, 1, value) for tag, value in own.items()]
    entries += [(324, LONG, width, places), (325, LONG, width, places + 4 * width)]
    offsets = np.arange(first, first + width * len(tile), len(tile), dtype="<u4")
    counts = np.full(width, len(tile), "<u4")
    return directory(entries) + offsets.tobytes() + counts.tobytes() + tile * width


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = encode(picture(), "PNG")
    return whole[:33] + b"".join(png_chunk(*each) for each in chunks) + whole[33:]


def jpeg_with(block: bytes) -> bytes:
    whole = encode(picture(), "JPEG")
    content = b"Exif\0\0" + block
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + whole[2:]


def magick_text(block: bytes) -> bytes:
    """The EXIF data as ImageMagick writes it into a text chunk."""
    text = block.hex()
    lines = [text[at : at + 72] for at in range(0, len(text), 72)]
    return f"\nexif\n{len(block):8}\n".encode() + "\n".join(lines).encode() + b"\n"


def packed_text(block: bytes) -> bytes:
    return zlib.compress(magick_text(block))


RATIONALS = 3_500_000
ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tiff_strips": (many_strips, "image_undecodable"),
    "tiff_rationals": (lambda: tiff_with((700, RATIONAL, RATIONALS, 8), behind=8 * RATIONALS), "(64, 64)"),
    "tiff_shared_rationals": (
        lambda: tiff_with(*((40_000 + n, RATIONAL, 125_000, 8) for n in range(900)), behind=1_000_000),
        "(64, 64)",
    ),
    "png_exif": (lambda: png_with((b"eXIf", shared_rationals(30_000_000, 60, 3_700_000))), "(80, 96)"),
    "png_text_exif": (
        lambda: png_with((b"zTXt", KEYWORD + b"\0" + packed_text(shared_rationals(400_000, 900, 40_000)))),
        "(80, 96)",
    ),
    "png_many_texts": (
        lambda: png_with(*[(b"zTXt", KEYWORD + b"\0" + zlib.compress(b" " * 140_000, 9))] * 5000),
        "(80, 96)",
    ),
    "tiff_narrow_tiles": (lambda: narrow_tiles(50_000, 640), "image_unsupported"),
    "jpeg_exif": (lambda: jpeg_with(shared_rationals(65_000, 5_000, 8_000)), "(80, 96)"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_tags_of_millions_of_values_take_neither_memory_nor_time(name: str, tmp_path: Path) -> None:
    make, expected = ATTACKS[name]
    (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-c", MEASURE, str(tmp_path / name)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    outcome, mebibytes, seconds = json.loads(done.stdout)
    assert outcome == expected
    assert mebibytes < ROOM_MIB
    assert seconds < CPU_S


def test_a_refusal_names_the_tag_the_count_and_what_is_due() -> None:
    with pytest.raises(ImageUndecodable, match=r"3800000 strips are listed in TIFF tag 273, 1 are due"):
        decode(many_strips(), DecodeLimits())
    with pytest.raises(ImageUndecodable, match=r"TIFF tag 258 has 5000 values, not 1 to 1024"):
        decode(tiff_with((258, SHORT, 5000, 8), behind=20_000), DecodeLimits())
    crowded = tiff_with(*((40_000 + n, SHORT, 1, 0) for n in range(1000)))
    with pytest.raises(ImageUndecodable, match=r"lists 1009 tags, more than 1000"):
        decode(crowded, DecodeLimits())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, SHORT, LONG])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_in_both_byte_orders_and_all_types(
    order: str, kind: int, orientation: int
) -> None:
    block = bytearray(directory([(271, 2, 4, 0), (ORIENTATION, kind, 1, 0), (999, LONG, 1, 7)], order))
    form = {1: "B", SHORT: "H", LONG: "I"}[kind]
    struct.pack_into(order + form, block, 10 + 12 + 8, orientation)
    assert orientation_of(bytes(block)) == orientation
    assert orientation_of(b"Exif\0\0" + bytes(block)) == orientation


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"Exif\0\0no tiff",
        b"II*\0\xff\xff\xff\xff",
        directory([(ORIENTATION, SHORT, 1, 9)]),
        directory([(ORIENTATION, SHORT, 1, 0)]),
        directory([(ORIENTATION, SHORT, 2, 6)]),
        directory([(ORIENTATION, RATIONAL, 1, 6)]),
        directory([(ORIENTATION, SHORT, 1, 6)])[:18],
        directory([(274 + n, SHORT, 1, 6) for n in range(1, 1100)]),
    ],
)
def test_an_unreadable_orientation_turns_nothing(block: bytes) -> None:
    assert orientation_of(block) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_the_orientation_in_a_text_chunk_of_imagemagick_is_used(packed: bool) -> None:
    text = magick_text(directory([(ORIENTATION, SHORT, 1, 6)]))
    chunk = (b"zTXt", KEYWORD + b"\0" + zlib.compress(text)) if packed else (b"tEXt", KEYWORD + text)
    data = png_with(chunk)
    assert Image.open(BytesIO(data)).getexif()[ORIENTATION] == 6
    np.testing.assert_array_equal(decode(data, DecodeLimits()), np.rot90(picture(), -1))


@pytest.mark.parametrize("text", [b"", b"\nexif\n 9\nzz", b"\niptc\n 4\nabcd", b"x" * 300_000])
def test_another_text_turns_nothing(text: bytes) -> None:
    data = png_with((b"tEXt", KEYWORD + text))
    np.testing.assert_array_equal(decode(data, DecodeLimits()), picture())


def test_a_file_as_cameras_write_it_is_turned() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = (1, 250)
    for file_format in ("JPEG", "PNG"):
        pixels = decode(encode(picture(), file_format, exif=exif), DecodeLimits())
        assert pixels.shape == (96, 80)

"""Read the chunks of a PNG: every checksum is verified, and only the chunks that the image needs are kept.

A library would unpack texts and profiles too, and their size is not that of the image.
"""

import zlib
from dataclasses import dataclass

from app.inspection.decoding.exif import TEXT_KEYWORD, of_text, orientation_of
from app.inspection.errors import ImageAnimated, ImageTruncated, ImageUndecodable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
KEPT = (b"PLTE", b"tRNS", b"sBIT", b"eXIf")
TEXTS = (b"zTXt", b"tEXt")
MAX_CHUNKS = 100_000  # encoders write one for 8 to 64 KB; millions of empty ones would take hours
MAX_CHUNK_BYTES = (1 << 31) - 1
HEADER_BYTES, AROUND_BYTES = 13, 12  # of the header, and of length, type and checksum around a chunk
MAX_WIDTH = 1_000_000  # px; libpng's limit

Span = tuple[int, int]  # begin and end


@dataclass(frozen=True, slots=True)
class Chunks:
    """The header of a PNG and where its parts lie.

    `pixels` are the consecutive IDAT chunks, `others` the first chunk of each kind in KEPT, `exif` is EXIF
    data if there is any. `end` is the offset behind the image.
    """

    width: int
    height: int
    bits: int
    colour_type: int
    is_interlaced: bool
    pixels: tuple[Span, ...]
    others: dict[bytes, Span]
    exif: bytes
    end: int

    @property
    def channels(self) -> int:
        """Samples per pixel, alpha included."""
        return CHANNELS[self.colour_type]

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return orientation_of(self.exif)


def read(data: bytes) -> Chunks:
    """Read header and chunks; raises an ImageError unless the file is one whole PNG image."""
    pixels: list[Span] = []
    others: dict[bytes, Span] = {}
    text: bytes | None = (
        None  # the EXIF data in the first text chunk that may have some; others are not unpacked
    )
    at, kind, is_past_pixels = len(SIGNATURE), b"", False
    view = memoryview(data)
    for number in range(MAX_CHUNKS):
        kind, begin, end = _chunk(view, at)
        at = end + 4
        if (kind == b"IHDR") != (number == 0):
            raise broken("the header must be the first chunk, and the only one")
        is_past_pixels |= bool(pixels) and kind != b"IDAT"
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            if not is_past_pixels:
                pixels.append((begin, end))
        elif kind in KEPT:
            others.setdefault(kind, (begin, end))
        elif kind in TEXTS and text is None and data.startswith(TEXT_KEYWORD, begin):
            text = of_text(data[begin:end], packed=kind == b"zTXt")
        _check_kind(data, kind, begin)
    else:
        raise ImageUndecodable(f"the PNG consists of more than {MAX_CHUNKS} chunks; export it anew")
    exif = data[slice(*others[b"eXIf"])] if b"eXIf" in others else text
    return Chunks(*_header(data), tuple(pixels), others, exif or b"", at)


def broken(reason: str) -> ImageUndecodable:
    """The error for a PNG that is damaged or breaks the standard."""
    return ImageUndecodable(f"the file is broken and cannot be decoded ({reason}); export it anew")


def _chunk(view: memoryview, at: int) -> tuple[bytes, int, int]:
    """Kind, begin and end of the chunk at an offset; checks that it is whole and undamaged."""
    begin = at + 8
    length, kind = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : begin])
    if len(kind) == 4 and not kind.isalpha():
        raise broken("a chunk has no valid type")
    if length > MAX_CHUNK_BYTES:
        raise broken("a chunk has no valid length")
    end = begin + length
    if end + 4 > len(view):
        raise ImageTruncated("the file ends before the image does; send it whole")
    if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
        raise broken(f"the checksum of a chunk {kind.decode('ascii')} is wrong")
    return kind, begin, end


def _check_kind(data: bytes, kind: bytes, begin: int) -> None:
    if kind == b"fdAT" or (kind == b"acTL" and int.from_bytes(data[begin : begin + 4], "big") > 1):
        raise ImageAnimated("the file holds several frames; send each as an image of its own")
    if kind[0:1].isupper() and kind not in CRITICAL:
        raise broken(f"it needs a chunk {kind.decode('ascii')}, which no standard defines")


def _header(data: bytes) -> tuple[int, int, int, int, bool]:
    """Width, height, bits, colour type, and whether it is interlaced."""
    begin = len(SIGNATURE) + 8
    if int.from_bytes(data[begin - 8 : begin - 4], "big") != HEADER_BYTES:
        raise broken("the header has a wrong length")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (begin, begin + 4))
    bits, colour_type, packing, filtering, interlacing = data[begin + 8 : begin + HEADER_BYTES]
    if not width or not height:
        raise broken("its width or height is 0")
    if bits not in DEPTHS.get(colour_type, ()) or packing or filtering or interlacing > 1:
        raise broken("the header has a value that no standard defines")
    return width, height, bits, colour_type, bool(interlacing)

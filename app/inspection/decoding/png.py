"""What Pillow does not do for PNGs: detect missing rows, and read 16 bits per channel.

Pillow accepts a zlib stream that is valid but too short, and leaves the missing rows black. Of 16 bits
per channel it keeps 8, except for grey images.
"""

import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.decoding.depth import nearly_all_fit
from app.inspection.decoding.exif import TEXT_KEYWORD, of_text
from app.inspection.errors import ImageUndecodable, ImageUnsupported

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIGNATURE_SIZE = len(SIGNATURE)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
WITH_ALPHA = (4, 6)
# Adam7: first column and row of each pass, and its column and row steps.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Bytes fed to and taken from zlib at once. Nothing is kept: a zip bomb costs no memory and bounded time.
PIECE_IN, PIECE_OUT = 1 << 14, 1 << 20
CHUNK_EXTRA = 12  # bytes between the contents of two chunks: CRC, length and type


def missing(data: bytes) -> str | None:
    """Describe missing pixel data of a PNG, compared with its header; None if complete.

    The time is proportional to the image's size, so check that first. Raises zlib.error, ValueError or
    LookupError for invalid data.
    """
    expected = _expected(data)
    found = _inflated(data, expected)
    return f"{found} of {expected} bytes of its pixels are present" if found < expected else None


def end_of(data: bytes) -> int:
    """Offset of data after the PNG image."""
    at = SIGNATURE_SIZE
    while at + 8 <= len(data):
        kind, at = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at
    return len(data)


def is_16_bit(data: bytes) -> bool:
    """Whether the channels have 16 bits, by the PNG's header."""
    return data[24] == 16


def spread(data: bytes) -> int:
    """By what a decoder has multiplied grey samples of 2 or 4 bits to fill 8; 1 for all others."""
    bits, colour_type = data[24], data[25]
    return 255 // ((1 << bits) - 1) if colour_type == 0 and bits in (2, 4) else 1


def samples_16(data: bytes) -> NDArray[np.uint16]:
    """The samples [H, W, 1 or 3] of a complete 16-bit PNG; raises an ImageError."""
    if any(True for _ in _chunks(data, b"tRNS")):
        raise ImageUnsupported("the image names a transparent colour; save it without one")
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageUndecodable("the file is broken and cannot be decoded; export it anew") from error
    if found is None or found.dtype != np.uint16:
        raise ImageUndecodable("the file is broken and cannot be decoded; export it anew")
    samples = np.asarray(found, np.uint16).reshape(*found.shape[:2], -1)
    if samples.shape[2] == 4 and (samples[..., 3] != 0xFFFF).any():
        raise ImageUnsupported("the image has transparent pixels; send it without an alpha channel")
    return samples[..., :1] if CHANNELS[data[25]] < 3 else samples[..., 2::-1]  # OpenCV's order is BGR


def exif(data: bytes) -> bytes:
    """The EXIF data of a PNG, before or after its pixels, or in a text chunk; empty without any."""
    for begin, end in _chunks(data, b"eXIf"):
        return data[begin:end]
    for kind in (b"zTXt", b"tEXt"):
        for begin, end in _chunks(data, kind):
            if data.startswith(TEXT_KEYWORD, begin):
                return of_text(data[begin:end], packed=kind == b"zTXt")
    return b""


def significant_bits(data: bytes, samples: NDArray[np.uint16]) -> int | None:
    """The significant bits, from the lowest on, of a 16-bit PNG by its sBIT chunk, or None.

    By the standard the significant bits are the high ones; the bits below repeat them or are zero. Some
    software stores them in the low bits with the same chunk. If both are possible, the standard applies.
    """
    channels = CHANNELS[data[25]] - (data[25] in WITH_ALPHA)
    for begin, end in _chunks(data, b"sBIT"):
        bits = max(data[begin:end][:channels], default=0)
        if not 8 <= bits < 16:  # 16 is what encoders write by default
            return None
        if not nearly_all_fit(samples, bits):
            return 16
        below = (1 << (16 - bits)) - 1
        return bits if (samples & below).any() else 16
    return None


def _expected(data: bytes) -> int:
    """Size in bytes of the inflated pixel data; each row begins with a filter byte."""
    if data[12:16] != b"IHDR":
        raise ValueError("a PNG must begin with its header")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits = data[24] * CHANNELS[data[25]]
    passes = PASSES if data[28] else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _inflated(data: bytes, enough: int) -> int:
    """Size in bytes of the inflated pixel data; counting stops at `enough`."""
    stream, count = zlib.decompressobj(), 0
    for begin, end in _pixel_chunks(data):
        for at in range(begin, end, PIECE_IN):
            piece = data[at : min(at + PIECE_IN, end)]
            while piece and count < enough and not stream.eof:
                count += len(stream.decompress(piece, PIECE_OUT))
                piece = stream.unconsumed_tail
            if count >= enough or stream.eof:
                return count
    return count + len(stream.decompress(b"", PIECE_OUT))  # flushes the rest


def _pixel_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each IDAT chunk; stops at the first that is not consecutive."""
    before = None
    for begin, end in _chunks(data, b"IDAT"):
        if before not in (None, begin - CHUNK_EXTRA):
            return
        before = end
        yield begin, end


def _chunks(data: bytes, kind: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the content of each chunk of a type."""
    at = SIGNATURE_SIZE
    while at + 8 <= len(data):
        begin = at + 8
        end = begin + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : begin] == kind:
            yield begin, min(end, len(data))
        at = end + 4  # the checksum

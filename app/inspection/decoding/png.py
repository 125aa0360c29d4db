"""Whether a PNG's pixel data holds every row.

A zlib stream that ends properly but too soon is no error to Pillow: it leaves the rows that lack black.
"""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIGNATURE_SIZE = len(SIGNATURE)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first column and row of each pass, and its steps across and down.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# What is fed and taken at once. Nothing is kept, so that a bomb costs time up to the picture's own size only.
PIECE_IN, PIECE_OUT = 1 << 14, 1 << 20


def missing(data: bytes) -> str | None:
    """What the pixel data of a PNG lacks by its header's account, or None.

    Takes time in proportion to the picture, so check the size first. Raises zlib.error, ValueError or
    LookupError for data that makes no sense.
    """
    expected = _expected(data)
    found = _inflated(data, expected)
    return f"{found} of {expected} bytes of its pixels are there" if found < expected else None


def end_of(data: bytes) -> int:
    """Where what a file holds behind its PNG begins."""
    at = SIGNATURE_SIZE
    while at + 8 <= len(data):
        kind, at = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at
    return len(data)


def _expected(data: bytes) -> int:
    """Bytes of the pixel data once inflated: each row has a filter byte in front."""
    if data[12:16] != b"IHDR":
        raise ValueError("a PNG must begin with its header")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits = data[24] * CHANNELS[data[25]]
    passes = PASSES if data[28] else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _inflated(data: bytes, enough: int) -> int:
    """How many bytes the pixel data inflates to; counting stops at `enough`."""
    stream, count = zlib.decompressobj(), 0
    for begin, end in _pixel_chunks(data):
        for at in range(begin, end, PIECE_IN):
            piece = data[at : min(at + PIECE_IN, end)]
            while piece and count < enough and not stream.eof:
                count += len(stream.decompress(piece, PIECE_OUT))
                piece = stream.unconsumed_tail
            if count >= enough or stream.eof:
                return count
    return count + len(stream.decompress(b"", PIECE_OUT))  # what the last bytes fed still stand for


def _pixel_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk of pixel data lies. They follow each other; one behind another chunk is not read."""
    at, met = SIGNATURE_SIZE, False
    while at + 8 <= len(data):
        begin = at + 8
        end = begin + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : begin] == b"IDAT":
            met = True
            yield begin, min(end, len(data))
        elif met:
            return
        at = end + 4  # the checksum

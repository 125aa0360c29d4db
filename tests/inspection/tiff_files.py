"""A writer of TIFFs in every layout: strips, tiles, planes, packed bits, both byte orders, BigTIFF.

It shares nothing with the reader. Bits are packed through one long number, LZW is encoded after the
specification's own pseudo-code (TIFF 6.0, section 13).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer[Any]]
KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class How:
    """A layout; `tile` is (width, height) or None for strips of `rows` lines."""

    bits: int = 8
    order: str = "<"
    big: bool = False
    planar: bool = False
    tile: tuple[int, int] | None = None
    rows: int = 8
    compression: int = 1
    predictor: bool = False
    photometric: int = 1


def tiff(samples: Samples, how: How = How(), **fields: Any) -> bytes:
    """A file of samples [H, W, channels]; `fields`, named `tag_258` and so on, go before the usual ones."""
    height, width, channels = samples.shape
    groups = [samples[..., n : n + 1] for n in range(channels)] if how.planar else [samples]
    pieces = [_piece(each, how) for group in groups for each in _cut(group, how)]
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (3, [height]),
        258: (3, [how.bits] * channels),
        259: (3, [how.compression]),
        262: (3, [how.photometric]),
        277: (3, [channels]),
        284: (3, [2 if how.planar else 1]),
    }
    if how.predictor:
        tags[317] = (3, [2])
    if how.tile:
        tags |= {322: (3, [how.tile[0]]), 323: (3, [how.tile[1]])}
    else:
        tags[278] = (3, [how.rows])
    start = 16 if how.big else 8
    offsets = [start + sum(map(len, pieces[:n])) for n in range(len(pieces))]
    tags |= {324 if how.tile else 273: (4, offsets), 325 if how.tile else 279: (4, [*map(len, pieces)])}
    for name, values in fields.items():
        tags[int(name.removeprefix("tag_"))] = (4, values)
    return with_tags(b"".join(pieces), how, [tags])


def with_tags(body: bytes, how: How, pages: list[dict[int, tuple[int, list[int]]]]) -> bytes:
    """A file whose data lie right behind its header, with a directory for each page."""
    offset, size, start = ("Q", 8, 16) if how.big else ("I", 4, 8)
    out = bytearray(body)
    links = []
    for tags in pages:
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            packed = struct.pack(f"{how.order}{len(values)}{KINDS[kind]}", *values)
            if len(packed) > size:
                place, out = start + len(out), out + packed
                packed = struct.pack(how.order + offset, place)
            entries += struct.pack(how.order + "HH" + offset, tag, kind, len(values)) + packed.ljust(
                size, b"\0"
            )
        links.append(start + len(out))
        out += struct.pack(how.order + ("Q" if how.big else "H"), len(tags)) + entries + bytes(size)
    data = bytearray(_header(how, links[0]) + out)
    for place, following in pairwise(links):
        count = struct.unpack_from(how.order + ("Q" if how.big else "H"), data, place)[0]
        struct.pack_into(
            how.order + offset, data, place + (8 + 20 * count if how.big else 2 + 12 * count), following
        )
    return bytes(data)


def _header(how: How, directory: int) -> bytes:
    name = b"II" if how.order == "<" else b"MM"
    if how.big:
        return name + struct.pack(how.order + "HHHQ", 43, 8, 0, directory)
    return name + struct.pack(how.order + "HI", 42, directory)


def _cut(samples: Samples, how: How) -> Iterator[Samples]:
    height, width, channels = samples.shape
    if how.tile is None:
        yield from (samples[y : y + how.rows] for y in range(0, height, how.rows))
        return
    across, down = how.tile
    for y in range(0, height, down):
        for x in range(0, width, across):
            part = samples[y : y + down, x : x + across]
            full = np.ones((down, across, channels), np.uint16)
            full[: part.shape[0], : part.shape[1]] = part
            yield full


def _piece(samples: Samples, how: How) -> bytes:
    values = samples.astype(np.int64)
    if how.predictor:
        values[:, 1:] -= samples[:, :-1]
        values %= 1 << how.bits
    return COMPRESSORS[how.compression](b"".join(_line(line.ravel().tolist(), how) for line in values))


def _line(values: list[int], how: How) -> bytes:
    if how.bits == 16:
        return struct.pack(f"{how.order}{len(values)}H", *values)
    packed = 0
    for value in values:
        packed = packed << how.bits | value
    size = len(values) * how.bits
    return (packed << (-size % 8)).to_bytes(-(-size // 8), "big")


def _lzw(data: bytes) -> bytes:
    codes, bits, known = 256, 9, {bytes([n]): n for n in range(256)}
    out = length = 0
    number = 258

    def put(code: int) -> None:
        nonlocal out, length
        out, length = out << bits | code, length + bits

    put(codes)
    current = b""
    for byte in data:
        longer = current + bytes([byte])
        if longer in known:
            current = longer
            continue
        put(known[current])
        known[longer] = number
        number += 1
        if number in (512, 1024, 2048):
            bits += 1
        if number == 4095:
            put(codes)
            bits, number, known = 9, 258, {bytes([n]): n for n in range(256)}
        current = bytes([byte])
    put(known[current])
    if number + 1 in (512, 1024, 2048):  # the last code counts too
        bits += 1
    put(257)
    return (out << (-length % 8)).to_bytes(-(-length // 8), "big")


def _packbits(data: bytes) -> bytes:
    return b"".join(
        bytes([len(part) - 1]) + part for part in (data[n : n + 99] for n in range(0, len(data), 99))
    )


COMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: _lzw,
    8: zlib.compress,
    32946: zlib.compress,
    32773: _packbits,
}

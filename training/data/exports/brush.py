"""Decoder of Label Studio's brush strokes: run lengths packed into bits, of an image's RGBA bytes.

Source: `@thi.ng/rle-pack`, whose format Label Studio uses. The head has the count of values (32 bits), their
size less one (5 bits) and four sizes of run lengths less one (4 bits each). A run has one bit that is set
where one value is repeated, the index of a size (2 bits), the length less one, and one value or all.
"""

from collections.abc import Sequence

import numpy as np

from training.data.sample import DatasetError, Flags, Size

_CHANNELS = 4  # R, G, B and A, which is above 0 where the brush was


def brushed(rle: Sequence[int], size: Size, where: str) -> Flags:
    """Return where the brush was, bool [H, W]; raises DatasetError for another size or a broken stroke."""
    try:
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: its brush stroke holds no bytes ({error}); export it anew") from error
    bits = _Bits(data, where)
    count = bits.read(32)
    if count != size[0] * size[1] * _CHANNELS:
        raise DatasetError(
            f"{where}: its brush stroke holds {count // _CHANNELS} pixels, but the image has "
            f"{size[1]} x {size[0]}; give the image that was annotated"
        )
    word = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.bool_)
    at = 0
    while at < count:
        repeated = bits.read(1)
        end = at + 1 + bits.read(lengths[bits.read(2)])
        if end > count:
            raise DatasetError(f"{where}: its brush stroke is broken: a run ends beyond the image")
        if repeated:
            values[at:end] = bits.read(word) > 0
        else:
            values[at:end] = [bits.read(word) > 0 for _ in range(end - at)]
        at = end
    return values[_CHANNELS - 1 :: _CHANNELS].reshape(size)


class _Bits:
    """Bits of bytes, the highest first."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._at, self._where = data, 0, where

    def read(self, count: int) -> int:
        """Return the next bits as a number; raises DatasetError where there are too few."""
        first, last = self._at // 8, (self._at + count + 7) // 8
        if last > len(self._data):
            raise DatasetError(f"{self._where}: its brush stroke ends early; export it anew")
        chunk = int.from_bytes(self._data[first:last], "big")
        self._at += count
        return chunk >> (last * 8 - self._at) & ((1 << count) - 1)

"""Samples of fewer than 8 bits, or of 9 to 15, packed without gaps."""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray


def unpack_bits(raw: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.integer[Any]]:
    """Unpack `count` samples of `bits` bits, most significant bit first, along the last axis."""
    if 8 % bits == 0:  # samples never cross bytes
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        fine = raw[..., None] >> shifts & np.uint8((1 << bits) - 1)
        return fine.reshape(*raw.shape[:-1], -1)[..., :count]
    together = 8 // gcd(bits, 8)  # samples per group of whole bytes
    size, groups = bits * together // 8, -(-count // together)
    filled = np.zeros((*raw.shape[:-1], groups * size + 2), np.uint8)
    filled[..., : raw.shape[-1]] = raw[..., : groups * size]
    out = np.empty((*raw.shape[:-1], groups * together), np.uint8 if bits <= 8 else np.uint16)
    for n in range(together):
        at, shift = divmod(n * bits, 8)
        three = [filled[..., at + k :: size][..., :groups].astype(np.uint32) for k in range(3)]
        wide = three[0] << 16 | three[1] << 8 | three[2]
        out[..., n::together] = wide >> (24 - bits - shift) & ((1 << bits) - 1)
    return out[..., :count]

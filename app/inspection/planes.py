"""Room for an image's worth of bytes, of which most will stay zero."""

import contextlib
import math
import mmap

import numpy as np
from numpy.typing import NDArray

SMALL = 1 << 20  # bytes, up to which memory taken from the system costs more time than wiping what is used


def zero_planes(*shape: int) -> NDArray[np.uint8]:
    """Zeros, uint8, that take memory only where they are written to; small ones take it at once.

    `np.zeros` does not promise that: in a process that has run for a while it is handed used memory, and
    wipes it. Raises MemoryError.
    """
    size = math.prod(shape)
    if size <= SMALL:
        return np.zeros(shape, np.uint8)
    # private: of shared memory even reading a zero would take a page
    try:
        room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"there are no {size} bytes for the planes of an image") from error
    with contextlib.suppress(OSError):  # a kernel without huge pages knows no such advice
        room.madvise(mmap.MADV_NOHUGEPAGE)  # else one pixel would take 2 MiB
    return np.frombuffer(room, np.uint8, size).reshape(shape)

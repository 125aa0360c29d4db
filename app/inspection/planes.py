"""Memory for image-sized arrays whose pixels mostly stay zero."""

import contextlib
import math
import mmap

import numpy as np
from numpy.typing import NDArray

SMALL = 1 << 20  # bytes; for arrays up to this size, np.zeros is faster than mmap


def zero_planes(*shape: int) -> NDArray[np.uint8]:
    """Zeros, uint8, that use memory only where they are written to; small arrays are allocated at once.

    `np.zeros` does not guarantee that: in a long-running process it may get used memory and clear it,
    which allocates every page. Raises MemoryError.
    """
    size = math.prod(shape)
    if size <= SMALL:
        return np.zeros(shape, np.uint8)
    # private: reading a zero of shared memory would already allocate a page
    try:
        room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size} bytes for the planes of an image cannot be allocated") from error
    with contextlib.suppress(OSError):  # a kernel without huge pages refuses the advice
        room.madvise(mmap.MADV_NOHUGEPAGE)  # else one pixel would take 2 MiB
    return np.frombuffer(room, np.uint8, size).reshape(shape)

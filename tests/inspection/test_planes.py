"""Zeros that take memory only where something is written."""

import numpy as np

from app.inspection.planes import zero_planes
from tests.benchmarks.large import peak_bytes

SIDE = 4096


def test_zeros_take_memory_only_where_they_are_written_to() -> None:
    planes = zero_planes(2, SIDE, SIDE)
    assert planes.shape == (2, SIDE, SIDE)

    def write() -> None:
        planes[1, 7, 9] = planes[0, -1, -1] = 5

    assert peak_bytes(planes.max) < SIDE * SIDE / 16
    assert peak_bytes(write) < SIDE * SIDE / 16
    assert np.argwhere(planes).tolist() == [[0, SIDE - 1, SIDE - 1], [1, 7, 9]]
    assert zero_planes(0, 3).shape == (0, 3)

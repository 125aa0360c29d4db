"""Places a defect: the random place on a good image whose surface fits best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Pixels
from training.transplant.blend import MOST_GAIN, gain_between
from training.transplant.donors import Donor, Flags

_Value = TypeVar("_Value", np.uint8, np.uint16)

PROPOSALS = 12
_SMOOTH_PX = 3.0  # coarser structures are form and shading, finer ones are grain


@dataclass(frozen=True)
class Place:
    """A fitted donor, and the window at (top, left) of a host."""

    host: int
    donor: Donor
    top: int
    left: int

    def window(self, pixels: NDArray[_Value]) -> NDArray[_Value]:
        """A view of the host's pixels (or bits) that the donor covers."""
        height, width = self.donor.pixels.shape
        return pixels[self.top : self.top + height, self.left : self.left + width]


def best_place(donor: Donor, hosts: Sequence[Pixels], rng: np.random.Generator) -> Place | None:
    """Return the best of PROPOSALS random places; None if the donor fits none.

    At the best place, exposure, grain along both axes, and form around the defect, such as the part's edges,
    are most similar, so that the blend changes little.
    """
    best, least = None, np.inf
    for _ in range(PROPOSALS):
        place = _proposal(donor, hosts, rng)
        if place is None:
            continue
        cost = _misfit(place.window(hosts[place.host]), place.donor)
        if cost < least:
            best, least = place, cost
    return best


def _proposal(donor: Donor, hosts: Sequence[Pixels], rng: np.random.Generator) -> Place | None:
    host = int(rng.integers(len(hosts)))
    height, width = hosts[host].shape
    varied = donor.varied(rng).fitted((height, width))
    if varied is None:
        return None
    sides = varied.sides
    top = _start(height - varied.pixels.shape[0], sides.top, sides.bottom, rng)
    left = _start(width - varied.pixels.shape[1], sides.left, sides.right, rng)
    return Place(host, varied, top, left)


def _start(room: int, at_start: bool, at_end: bool, rng: np.random.Generator) -> int:
    if at_start:
        return 0
    return room if at_end else int(rng.integers(room + 1))


def _misfit(window: Pixels, donor: Donor) -> float:
    """The difference between the surface around the defect and that of the window; 0 if they are equal."""
    gain = gain_between(window, donor)
    if not donor.clean.any():
        return abs(float(np.log(gain)))
    form, other = (
        cv2.GaussianBlur(each, (0, 0), _SMOOTH_PX).astype(np.float32) for each in (window, donor.pixels)
    )
    difference = np.abs(form - np.float32(gain) * other)[donor.clean].mean() / (form[donor.clean].mean() + 1)
    grain = np.abs(np.log(_grain(window, donor.clean) / (gain * _grain(donor.pixels, donor.clean)))).mean()
    exposure = abs(np.log(gain)) + 10 * max(0.0, abs(np.log(gain)) - np.log(MOST_GAIN))
    return float(2 * difference + 0.5 * grain + 0.5 * exposure)


def _grain(pixels: Pixels, clean: Flags) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Strength of the grain across columns and across rows, which differ on brushed surfaces."""
    values = pixels.astype(np.float32)
    steps = [
        np.abs(cv2.Sobel(values, cv2.CV_32F, *order, ksize=1))[clean].mean() for order in ((1, 0), (0, 1))
    ]
    return np.array(steps, np.float64) + 0.5

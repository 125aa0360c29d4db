"""Candidates: good images with one generated defect each, determined by the seed and a number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from training.data.sample import Bits, Pixels, class_bit
from training.data.synthesis.defects import DEFECTS, MIN_SIDE_PX, draw_defect
from training.transplant.blend import Way, blend, changed
from training.transplant.donors import Donor, shown_classes
from training.transplant.placement import best_place

ATTEMPTS = 6
LEAST_SHOWN = 0.4  # least visible share of the donor's marked pixels; below, the blend has lost the defect
DRAWN = "drawn"  # the group of a candidate without a donor
_WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class Candidate:
    """An image with a generated defect: grey uint8 [H, W], class bits [H, W].

    `host` is the index of its good image; `group` that of the defect's donor, or DRAWN.
    """

    pixels: Pixels
    bits: Bits
    host: int
    group: str


class Generator:
    """Makes candidates by number; classes have equal shares, and so have the donors of a class.

    `drawn` are classes of `synthesis.defects.DEFECTS` that are drawn instead of transplanted, each with its
    number in the data set. Raises ValueError without good images, or without donors and drawn classes.
    """

    def __init__(
        self, good: Sequence[Pixels], donors: Sequence[Donor], drawn: Mapping[str, int], seed: int
    ) -> None:
        unknown = sorted(set(drawn) - set(DEFECTS))
        if unknown:
            raise ValueError(f"{unknown[0]} cannot be drawn; known classes: {', '.join(DEFECTS)}")
        if not good or not (donors or drawn):
            raise ValueError("this needs good images and either marked defects or classes to draw")
        self._good, self._drawn, self._seed = good, drawn, seed
        self._donors: dict[int, list[Donor]] = {}
        for donor in donors:
            for number in shown_classes(donor.bits):
                self._donors.setdefault(number, []).append(donor)
        self._kinds: list[int | str] = [*sorted(self._donors), *drawn]

    def candidate(self, number: int) -> Candidate | None:
        """Return the candidate of that number; None if none of ATTEMPTS defects fitted and was visible."""
        rng = np.random.default_rng((self._seed, number))
        kind = self._kinds[number % len(self._kinds)]
        for _ in range(ATTEMPTS):
            made = self._drawn_one(rng, kind) if isinstance(kind, str) else self._transplanted(rng, kind)
            if made is not None:
                return made
        return None

    def candidates(self, numbers: Iterable[int]) -> Iterator[tuple[int, Candidate]]:
        """Yield the candidates of those numbers, with their number, except those that are None."""
        for number in numbers:
            candidate = self.candidate(number)
            if candidate is not None:
                yield number, candidate

    def _drawn_one(self, rng: np.random.Generator, kind: str) -> Candidate | None:
        host = int(rng.integers(len(self._good)))
        if min(self._good[host].shape) < MIN_SIDE_PX:
            return None
        pixels, mask = draw_defect(rng, self._good[host], kind)
        return Candidate(pixels, np.where(mask, class_bit(self._drawn[kind]), np.uint16(0)), host, DRAWN)

    def _transplanted(self, rng: np.random.Generator, kind: int) -> Candidate | None:
        donors = self._donors[kind]
        place = best_place(donors[int(rng.integers(len(donors)))], self._good, rng)
        if place is None:
            return None
        host = self._good[place.host]
        window = place.window(host)
        blended = blend(window, place.donor, _WAYS[int(rng.integers(len(_WAYS)))])
        shown = np.where(changed(window, blended), place.donor.bits, np.uint16(0))
        if np.count_nonzero(shown) <= LEAST_SHOWN * np.count_nonzero(place.donor.bits):
            return None
        pixels, bits = host.copy(), np.zeros_like(host, np.uint16)
        place.window(pixels)[:] = blended
        place.window(bits)[:] = shown
        return Candidate(pixels, bits, place.host, place.donor.group)

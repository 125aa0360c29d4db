"""Finding the pairs of images that show the same surface, among all pairs and all 8 turns.

Spectra find for each image the few it may be a copy of; registration then decides. The spectra are
whitened by half over the set: what all its images share tells no pair apart.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.data.audit.registration import Registration, register, turned
from training.data.audit.signatures import FREQUENCIES, Signature, Spectrum, Working

CANDIDATES = 12  # looked at for each image
SCALED_CANDIDATES = 3  # of these, the nearest are also tried at SCALES: crops brought back to full size
SCALES = (0.905, 0.935, 0.966, 0.983, 1.017, 1.035, 1.07, 1.105)  # crops by up to 10 % of the side
COMPONENTS = 128
QUARTER_TURNS = (0, 1, 4, 5)  # the others look the same to a spectrum: half a turn apart
_BLOCK = 256  # images whose neighbours are searched at once: the similarities of a block fit in memory

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images, by name, that show the same surface, and how the second lies on the first."""

    first: str
    second: str
    registration: Registration


def near_duplicates(signatures: Mapping[str, Signature]) -> list[Pair]:
    """Return the pairs of images that show the same surface, by name."""
    names = list(signatures)
    working = [each.working for each in signatures.values()]
    proposals = sorted(_proposals([each.spectrum for each in signatures.values()]).items())
    chunks = [proposals[start : start + _BLOCK] for start in range(0, len(proposals), _BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decided = pool.map(lambda chunk: [_best(working, *each) for each in chunk], chunks)
        return [
            Pair(names[first], names[second], registration)
            for chunk, registrations in zip(chunks, decided, strict=True)
            for ((first, second), _), registration in zip(chunk, registrations, strict=True)
            if registration.same_surface
        ]


@dataclass
class _Proposal:
    """How the second of two likely copies may be turned, and whether it is near enough to be tried scaled."""

    turns: set[int] = field(default_factory=set)
    scaled: bool = False


def _best(working: Sequence[Working], pair: tuple[int, int], proposal: _Proposal) -> Registration:
    """The registration of a pair that correlates most."""
    a, b = (working[number] for number in pair)
    turns = sorted(proposal.turns)
    best = max((register(a, b, turn) for turn in turns), key=lambda found: found.correlation)
    if best.same_surface or not proposal.scaled:
        return best
    scaled = (register(a, b, turn, scale) for turn in turns for scale in SCALES)
    return max((best, *scaled), key=lambda found: found.correlation)


def _proposals(spectra: Sequence[Spectrum]) -> dict[tuple[int, int], _Proposal]:
    """Likely copies, (first, second) with first < second."""
    proposals: defaultdict[tuple[int, int], _Proposal] = defaultdict(_Proposal)
    if len(spectra) < 2:
        return {}
    mean, axes = _whitening(spectra)
    gallery = _vectors(spectra, 0, mean, axes)
    for start in range(0, len(spectra), _BLOCK):
        queries = spectra[start : start + _BLOCK]
        similar = np.stack([_vectors(queries, turn, mean, axes) @ gallery.T for turn in QUARTER_TURNS])
        best, turns = similar.max(0), similar.argmax(0)
        best[np.arange(len(queries)), np.arange(start, start + len(queries))] = -np.inf
        count = min(CANDIDATES, len(spectra) - 1)
        for row, nearest in enumerate(np.argsort(-best, axis=1)[:, :count].tolist()):
            for rank, other in enumerate(nearest):
                query, turn = start + row, QUARTER_TURNS[turns[row, other]]
                if query < other:  # the second is the one that is turned
                    turn = _inverse(turn)
                proposal = proposals[min(query, other), max(query, other)]
                proposal.turns |= {turn, _half_turned(turn)}
                proposal.scaled |= rank < SCALED_CANDIDATES
    return dict(proposals)


def _whitening(spectra: Sequence[Spectrum]) -> tuple[Vectors, Vectors]:
    """The mean spectrum and the axes to project on, as columns, each divided by the root of its spread."""
    halves = _halves(spectra, 0)
    mean = halves.mean(0)
    covariance = np.cov(halves, rowvar=False)
    spreads, axes = np.linalg.eigh(covariance)
    spreads, axes = spreads[-COMPONENTS:], axes[:, -COMPONENTS:]
    return mean, (axes / np.maximum(spreads, 1e-6 * spreads[-1] + 1e-12) ** 0.25).astype(np.float32)


def _vectors(spectra: Sequence[Spectrum], turn: int, mean: Vectors, axes: Vectors) -> Vectors:
    """Unit vectors [images, COMPONENTS] of the spectra, turned."""
    projected = (_halves(spectra, turn) - mean) @ axes
    return np.asarray(projected / (np.linalg.norm(projected, axis=1, keepdims=True) + 1e-9), np.float32)


def _halves(spectra: Sequence[Spectrum], turn: int) -> Vectors:
    """The upper halves as rows: the lower ones repeat them."""
    return np.stack([turned(each, turn)[:FREQUENCIES].ravel() for each in spectra]).astype(np.float32)


def _half_turned(turn: int) -> int:
    return turn // 4 * 4 + (turn + 2) % 4


def _inverse(turn: int) -> int:
    """The turn that undoes this one; mirrored ones undo themselves."""
    return turn if turn >= 4 else (4 - turn) % 4

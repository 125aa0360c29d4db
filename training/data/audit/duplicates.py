"""Near-duplicate search: pairs of images that show the same surface, in any of 8 orientations.

Amplitude spectra select a few candidates for each image; registration then decides. The spectra are
partly whitened over the set, because what all images share does not help to find copies.
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

CANDIDATES = 12  # pairs registered per image
SCALED_CANDIDATES = 3  # nearest candidates that are also tried at SCALES, to find rescaled crops
SCALES = (0.905, 0.935, 0.966, 0.983, 1.017, 1.035, 1.07, 1.105)  # crops by up to 10 % of the side
COMPONENTS = 128  # principal components kept of a spectrum
QUARTER_TURNS = (0, 1, 4, 5)  # the others differ by 180 degrees: their amplitude spectra are the same
_BLOCK = 256  # images searched together, so that their similarity matrix fits in memory

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Names of two images that show the same surface, and the registration of the second."""

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
    """Orientations to try for the second image of a candidate pair, and whether to try other scales."""

    turns: set[int] = field(default_factory=set)
    scaled: bool = False


def _best(working: Sequence[Working], pair: tuple[int, int], proposal: _Proposal) -> Registration:
    """The registration of a pair with the highest correlation."""
    a, b = (working[number] for number in pair)
    turns = sorted(proposal.turns)
    best = max((register(a, b, turn) for turn in turns), key=lambda found: found.correlation)
    if best.same_surface or not proposal.scaled:
        return best
    scaled = (register(a, b, turn, scale) for turn in turns for scale in SCALES)
    return max((best, *scaled), key=lambda found: found.correlation)


def _proposals(spectra: Sequence[Spectrum]) -> dict[tuple[int, int], _Proposal]:
    """Candidate pairs by index, (first, second) with first < second."""
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
                if query < other:  # the orientation is that of the second image
                    turn = _inverse(turn)
                proposal = proposals[min(query, other), max(query, other)]
                proposal.turns |= {turn, _half_turned(turn)}
                proposal.scaled |= rank < SCALED_CANDIDATES
    return dict(proposals)


def _whitening(spectra: Sequence[Spectrum]) -> tuple[Vectors, Vectors]:
    """Mean spectrum and principal axes as columns, each divided by the fourth root of its variance."""
    halves = _halves(spectra, 0)
    mean = halves.mean(0)
    covariance = np.cov(halves, rowvar=False)
    spreads, axes = np.linalg.eigh(covariance)
    spreads, axes = spreads[-COMPONENTS:], axes[:, -COMPONENTS:]
    return mean, (axes / np.maximum(spreads, 1e-6 * spreads[-1] + 1e-12) ** 0.25).astype(np.float32)


def _vectors(spectra: Sequence[Spectrum], turn: int, mean: Vectors, axes: Vectors) -> Vectors:
    """Unit vectors [images, COMPONENTS] of the spectra in orientation `turn`."""
    projected = (_halves(spectra, turn) - mean) @ axes
    return np.asarray(projected / (np.linalg.norm(projected, axis=1, keepdims=True) + 1e-9), np.float32)


def _halves(spectra: Sequence[Spectrum], turn: int) -> Vectors:
    """Upper halves of the spectra as rows; the lower halves are point-symmetric copies."""
    return np.stack([turned(each, turn)[:FREQUENCIES].ravel() for each in spectra]).astype(np.float32)


def _half_turned(turn: int) -> int:
    return turn // 4 * 4 + (turn + 2) % 4


def _inverse(turn: int) -> int:
    """The inverse orientation; a mirrored one is its own inverse."""
    return turn if turn >= 4 else (4 - turn) % 4

"""Finding the pairs of pictures that show the same surface, among all pairs and all 8 turns.

Spectra find for each picture the few it may be a copy of; registration then decides. The spectra are
whitened by half over the set: what all its pictures share tells no pair apart.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.audit.registration import Registration, register, turned
from training.audit.signatures import FREQUENCIES, Signature, Spectrum, Working

CANDIDATES = 12  # looked at for each picture
COMPONENTS = 128
QUARTER_TURNS = (0, 1, 4, 5)  # the others look the same to a spectrum: half a turn apart
_BLOCK = 256  # pictures whose neighbours are searched at once: the similarities of a block fit in memory

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two pictures, by name, that show the same surface, and how the second lies on the first."""

    first: str
    second: str
    registration: Registration


def near_duplicates(signatures: Mapping[str, Signature]) -> list[Pair]:
    """Return the pairs of pictures that show the same surface, by name."""
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


def _best(working: Sequence[Working], pair: tuple[int, int], turns: set[int]) -> Registration:
    """The registration of a pair that correlates most."""
    a, b = (working[number] for number in pair)
    return max((register(a, b, turn) for turn in sorted(turns)), key=lambda found: found.correlation)


def _proposals(spectra: Sequence[Spectrum]) -> dict[tuple[int, int], set[int]]:
    """Likely copies, (first, second) with first < second, and how the second may be turned."""
    proposals: dict[tuple[int, int], set[int]] = {}
    if len(spectra) < 2:
        return proposals
    mean, axes = _whitening(spectra)
    gallery = _vectors(spectra, 0, mean, axes)
    for start in range(0, len(spectra), _BLOCK):
        queries = spectra[start : start + _BLOCK]
        similar = np.stack([_vectors(queries, turn, mean, axes) @ gallery.T for turn in QUARTER_TURNS])
        best, turns = similar.max(0), similar.argmax(0)
        best[np.arange(len(queries)), np.arange(start, start + len(queries))] = -np.inf
        count = min(CANDIDATES, len(spectra) - 1)
        for row, nearest in enumerate(np.argpartition(-best, count - 1, axis=1)[:, :count]):
            for other in nearest:
                query, number, turn = start + row, int(other), QUARTER_TURNS[turns[row, other]]
                if query < number:  # the second is the one that is turned
                    turn = _inverse(turn)
                pair = min(query, number), max(query, number)
                proposals.setdefault(pair, set()).update((turn, _half_turned(turn)))
    return proposals


def _whitening(spectra: Sequence[Spectrum]) -> tuple[Vectors, Vectors]:
    """The mean spectrum and the axes to project on, as columns, each divided by the root of its spread."""
    halves = _halves(spectra, 0)
    mean = halves.mean(0)
    covariance = np.cov(halves, rowvar=False)
    spreads, axes = np.linalg.eigh(covariance)
    spreads, axes = spreads[-COMPONENTS:], axes[:, -COMPONENTS:]
    return mean, (axes / np.maximum(spreads, 1e-6 * spreads[-1] + 1e-12) ** 0.25).astype(np.float32)


def _vectors(spectra: Sequence[Spectrum], turn: int, mean: Vectors, axes: Vectors) -> Vectors:
    """Unit vectors [pictures, COMPONENTS] of the spectra, turned."""
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

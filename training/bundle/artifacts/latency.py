"""How long artifacts take on each execution provider at hand, and which provider gets which artifact."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import DeviceUnavailable
from app.inspection.inference.runtime import GPU_PROVIDERS
from app.inspection.inference.session import Session
from training.config import ArtifactName
from training.sessions import session_on

ROUNDS = 20
WARM_UP = 3
FASTER = 0.95  # of the time of fp32: less of a gain is within what another processor of the kind may differ


def ratios(
    bundle: Bundle, reference: Artifact, artifact: Artifact, tile: NDArray[np.uint8]
) -> dict[str, float]:
    """Return by provider what an artifact takes of the reference's time for a tile uint8 [h, w, C].

    Providers that cannot be used here are left out.
    """
    found = {}
    for provider in reference.providers:
        try:
            first, second = (session_on(bundle, each, provider) for each in (reference, artifact))
        except DeviceUnavailable:
            continue
        found[provider] = in_turns(first, second, tile[None])
    return found


def in_turns(first: Session, second: Session, tiles: NDArray[np.uint8]) -> float:
    """Run both in turns, A B A B, and return the median over the rounds of B's time by A's."""
    taken = []
    for _ in range(WARM_UP + ROUNDS):
        started = time.perf_counter()
        first.run(tiles)
        between = time.perf_counter()
        second.run(tiles)
        taken.append((time.perf_counter() - between) / (between - started))
    return round(float(np.median(taken[WARM_UP:])), 3)


def share_out(
    providers: tuple[str, ...], measured: Mapping[ArtifactName, Mapping[str, float]]
) -> dict[ArtifactName, tuple[tuple[str, ...], str]]:
    """Return of each artifact the providers that get it, and the reason; fp32 is the reference.

    `measured` has for each other artifact its ratios by provider. Where none was measured, GPUs get fp16,
    which is made for them, and everything else the reference.
    """
    names: tuple[ArtifactName, ...] = ("fp32", *measured)
    reasons: dict[ArtifactName, dict[str, list[str]]] = {name: {} for name in names}
    for provider in providers:
        name, reason = _fastest(provider, measured)
        reasons[name].setdefault(reason, []).append(provider)
    return {
        name: (
            tuple(each for each in providers if any(each in group for group in reasons[name].values())),
            "; ".join(f"{', '.join(group)}: {reason}" for reason, group in reasons[name].items()),
        )
        for name in names
    }


def _fastest(provider: str, measured: Mapping[ArtifactName, Mapping[str, float]]) -> tuple[ArtifactName, str]:
    here = {name: found[provider] for name, found in measured.items() if provider in found}
    if not here:
        if provider in GPU_PROVIDERS and "fp16" in measured:
            return "fp16", "not measured where the bundle was made; half precision is made for GPUs"
        return "fp32", "not measured where the bundle was made; the reference"
    fastest = min(here, key=lambda name: here[name])
    if here[fastest] > FASTER:
        return "fp32", f"{fastest} takes {here[fastest]:.2f} of its time, no gain"
    return fastest, f"takes {here[fastest]:.2f} of the time of fp32 (median of {ROUNDS} rounds in turns)"

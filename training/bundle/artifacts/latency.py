"""Run times of artifacts on the available execution providers, and which provider gets which artifact."""

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
FASTER = 0.95  # share of the time of fp32; smaller gains may vanish on another processor of the same kind


def ratios(
    bundle: Bundle, reference: Artifact, artifact: Artifact, tile: NDArray[np.uint8]
) -> dict[str, float]:
    """Return an artifact's time relative to the reference's, by provider, for a tile uint8 [h, w, C].

    Providers that are not available here are left out.
    """
    found = {}
    for provider in reference.providers:
        try:
            first, second = (session_on(bundle, each, provider) for each in (reference, artifact))
        except DeviceUnavailable:
            continue
        found[provider] = time_ratio(first, second, tile[None])
    return found


def time_ratio(first: Session, second: Session, tiles: NDArray[np.uint8]) -> float:
    """Run both alternately, A B A B, and return the median over the rounds of B's time divided by A's."""
    taken = []
    for _ in range(WARM_UP + ROUNDS):
        started = time.perf_counter()
        first.run(tiles)
        between = time.perf_counter()
        second.run(tiles)
        taken.append((time.perf_counter() - between) / (between - started))
    return round(float(np.median(taken[WARM_UP:])), 3)


def assign_providers(
    providers: tuple[str, ...], measured: Mapping[ArtifactName, Mapping[str, float]]
) -> dict[ArtifactName, tuple[tuple[str, ...], str]]:
    """Return the providers of each artifact, and the reason; fp32 is the reference.

    `measured` has the time ratios of every other artifact, by provider. Providers that were not measured get
    fp16 if they are GPUs, and the reference otherwise.
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
            return "fp16", "not measured on the training machine; half precision suits GPUs"
        return "fp32", "not measured on the training machine; the reference"
    fastest = min(here, key=lambda name: here[name])
    if here[fastest] > FASTER:
        return "fp32", f"{fastest} takes {here[fastest]:.2f} of its time, no gain"
    return fastest, f"takes {here[fastest]:.2f} of the time of fp32 (median of {ROUNDS} alternating rounds)"

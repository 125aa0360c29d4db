"""Escape and overkill rates in operation, from the reviews of the random sample.

Inspections are strata by verdict, and how many there are of each is known. In each stratum, the share of
defective parts is estimated from the sample's reviews; its uncertainty is the posterior of a proportion with
Jeffreys' prior (Brown, Cai and DasGupta, Statistical Science 16(2), 2001). The rates are ratios of sums over
the strata, so their intervals are quantiles of the ratio over draws from these posteriors. Where the sampling
rate changed within the period, reviews count by their weights, and as many as Kish's effective sample size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_REVIEWED = 30  # reviews of the sample, below which no rate is given
LEAST_SHARE = 0.9  # of the sample drawn; what is left out by choice would bias the rates
DRAWS = 20_000
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Inspections of one verdict: their number, and the sample's reviews as (weight, is defective)."""

    inspections: int
    reviews: Sequence[tuple[float, bool]]


@dataclass(frozen=True, slots=True)
class Rate:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Escape rate: of defective parts, those passed. Overkill rate: of good parts, those failed.

    Both are None if the reviews do not suffice; `why` says why.
    """

    escape: Rate | None
    overkill: Rate | None
    why: str | None


def rates_of(strata: Mapping[str, Stratum], drawn: int) -> Rates:
    """Estimate the rates from strata by verdict (`pass`, `fail`, `review`); `drawn` is the sample's size."""
    reviewed = sum(len(each.reviews) for each in strata.values())
    if reviewed < LEAST_REVIEWED:
        why = f"{reviewed} inspections of the sample are reviewed; {LEAST_REVIEWED} are needed"
        return Rates(None, None, why)
    if reviewed < LEAST_SHARE * drawn:
        return Rates(
            None, None, f"{reviewed} of {drawn} inspections drawn are reviewed; {LEAST_SHARE:.0%} are needed"
        )
    chance = np.random.default_rng(0)  # the same reviews always give the same interval
    shares = {name: _defective(stratum, chance) for name, stratum in strata.items()}
    bad = {name: strata[name].inspections * shares[name] for name in strata}
    good = {name: strata[name].inspections * (1 - shares[name]) for name in strata}
    return Rates(_ratio(bad, "pass"), _ratio(good, "fail"), None)


def _defective(stratum: Stratum, chance: np.random.Generator) -> NDArray[np.float64]:
    """The share of defective parts: first the estimate, then draws from its posterior."""
    weights = np.array([weight for weight, _ in stratum.reviews], np.float64)
    is_bad = np.array([bad for _, bad in stratum.reviews], np.bool_)
    total = weights.sum()
    effective = total**2 / (weights**2).sum() if len(weights) else 0.0
    share = weights[is_bad].sum() / total if len(weights) else 0.0
    draws = chance.beta(share * effective + 0.5, (1 - share) * effective + 0.5, DRAWS)
    return np.concatenate(([share], draws))


def _ratio(sums: Mapping[str, NDArray[np.float64]], name: str) -> Rate | None:
    """The part of one stratum in the sum of all; None if the sum is 0."""
    total = np.sum(list(sums.values()), axis=0)
    if not total[0]:
        return None
    found = sums.get(name, np.zeros_like(total)) / np.maximum(total, np.finfo(np.float64).tiny)
    low, high = np.quantile(found[1:], QUANTILES)
    value = float(found[0])
    return Rate(value, min(float(low), value), max(float(high), value))

"""Leak-free splits: every group lands whole in one split, picture classes spread evenly."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from training.datasets.sample import Sample

Splits = dict[str, list[Sample]]


def split_samples(
    samples: Sequence[Sample],
    shares: Mapping[str, float],
    seed: int,
    by: Literal["group", "picture"] = "group",
) -> Splits:
    """Return the samples by split name, deterministic by `seed`.

    `shares` maps split names to shares of the pictures, 1 in all. With `by="group"` no group is divided.
    Groups go, largest and rarest first, to a split that has nothing of their rarest class yet, else to the
    one that lacks their classes most: a class of few groups is in every split as long as its groups last.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group if by == "group" else sample.name].append(sample)
    totals = Counter(_stratum(sample) for sample in samples)
    held: dict[str, Counter[str]] = {name: Counter() for name in shares}
    splits: Splits = {name: [] for name in shares}
    for key in _order(groups, totals, seed):
        counts = Counter(_stratum(sample) for sample in groups[key])
        rarest = min(counts, key=lambda stratum: (totals[stratum], stratum))
        target = min(
            shares,
            key=lambda name: (held[name][rarest] > 0, _fullness(counts, held[name], shares[name], totals)),
        )
        held[target] += counts
        splits[target].extend(groups[key])
    return {name: sorted(members, key=lambda sample: sample.name) for name, members in splits.items()}


def _stratum(sample: Sample) -> str:
    return f"{sample.source}/{sample.picture_class}"


def _order(groups: dict[str, list[Sample]], totals: Counter[str], seed: int) -> list[str]:
    """Largest groups first, then those of the rarest class, ties in seeded random order."""
    keys = sorted(groups)
    np.random.default_rng(seed).shuffle(keys)
    rarity = {key: min(totals[_stratum(sample)] for sample in groups[key]) for key in keys}
    return sorted(keys, key=lambda key: (-len(groups[key]), rarity[key]))


def _fullness(counts: Counter[str], held: Counter[str], share: float, totals: Counter[str]) -> float:
    """How full the split would be with the group in it, in the class of the group that it lacks least."""
    return max((held[name] + count) / (share * totals[name]) for name, count in counts.items())

"""Leak-free splits: every group lands whole in one split, picture classes spread evenly."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from training.config import ConfigError, SplitConfig
from training.data.sample import Dataset, DatasetError, Sample

Splits = dict[str, list[Sample]]
_LISTING = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True)
class Fold:
    """One turn of a repeated k-fold cross-validation: part `number` of `count` is the test split."""

    number: int
    count: int
    repeat: int = 0

    @property
    def name(self) -> str:
        """A name for a folder."""
        return f"repeat-{self.repeat}-fold-{self.number}"


def make_splits(samples: Sequence[Sample], config: SplitConfig, fold: Fold | None = None) -> Splits:
    """Return train, validation, calibration and test, by the configuration or as a fold asks.

    With `config.folds` there are train and, of a fold, test only. Otherwise
    a fold takes its share for the test split; the configuration's shares divide the rest. Where groups are
    kept whole, the training pictures of a group in a published test split are in none. Raises DatasetError
    where a published test split is asked for and the set has none or nothing else, or where a split lacks
    good or defective pictures, for no threshold could be chosen on it and no rate measured.
    """
    if config.folds is not None:
        return _cross_fitted(samples, config, fold)
    test: list[Sample] = []
    rest, shares = list(samples), config.shares
    if fold is not None:
        parts = {str(number): 1 / fold.count for number in range(fold.count)}
        divided = split_samples(samples, parts, config.seed + fold.repeat, config.by)
        test = divided.pop(str(fold.number))
        rest = sorted((each for part in divided.values() for each in part), key=lambda sample: sample.name)
        shares = {name: share for name, share in shares.items() if name != "test"}
    elif config.test == "published":
        test = [sample for sample in samples if sample.split not in (None, "train")]
        tested = {sample.group for sample in test} if config.by == "group" else set()
        rest = [each for each in samples if each.split in (None, "train") and each.group not in tested]
        if not test:
            raise DatasetError(
                "the set has no published test split; give `split.test` a share of the pictures"
            )
        if not rest:
            raise DatasetError(
                "every training picture is of a group in the published test split; give `split.test` a share"
            )
    total = sum(shares.values())
    splits = split_samples(
        rest, {name: share / total for name, share in shares.items()}, config.seed, config.by
    )
    splits.setdefault("test", test)
    splits["train"] = _thinned(splits["train"], config)
    _check_both_kinds(splits)
    return splits


def _cross_fitted(samples: Sequence[Sample], config: SplitConfig, fold: Fold | None) -> Splits:
    """All images to train on, or for a fold all but its own, which are its test split."""
    if fold is None:
        return {"train": _thinned(sorted(samples, key=lambda sample: sample.name), config)}
    shares = {str(number): 1 / fold.count for number in range(fold.count)}
    seed = config.seed + fold.repeat
    divided = split_samples(samples, shares, seed, config.by)
    if not all(_has_both_kinds(part) for part in divided.values()):
        divided = split_samples(samples, shares, seed, config.by, even=True)
    test = divided.pop(str(fold.number))
    rest = sorted((each for part in divided.values() for each in part), key=lambda sample: sample.name)
    splits = {"train": _thinned(rest, config), "test": test}
    try:
        _check_both_kinds(splits)
    except DatasetError as error:
        raise DatasetError(
            f"fold {fold.number + 1} of {fold.count}: {error}. With folds no share is set: ask for fewer "
            f"(split.folds, at least 3) or add parts; it takes {fold.count} good and {fold.count} defective"
        ) from error
    return splits


def _has_both_kinds(samples: Sequence[Sample]) -> bool:
    return len({sample.defective for sample in samples}) == 2


def _thinned(samples: list[Sample], config: SplitConfig) -> list[Sample]:
    """The first `train_share` of each class's groups in seeded order: a smaller share is part of a larger."""
    if config.train_share == 1:
        return samples
    groups: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        groups[_stratum(sample)].add(sample.group)
    kept: set[str] = set()
    for stratum, names in sorted(groups.items()):
        order = sorted(names)
        np.random.default_rng([config.seed, *stratum.encode()]).shuffle(order)
        kept.update(order[: max(1, round(config.train_share * len(order)))])
    return [sample for sample in samples if sample.group in kept]


def _check_both_kinds(splits: Splits) -> None:
    for name, samples in splits.items():
        defective = sum(sample.defective for sample in samples)
        if defective in (0, len(samples)):
            raise DatasetError(
                f"the {name} split has {len(samples) - defective} good and {defective} defective pictures; "
                "it needs both: add groups of the missing kind or give that split a larger share"
            )


def split_samples(
    samples: Sequence[Sample],
    shares: Mapping[str, float],
    seed: int,
    by: Literal["group", "picture"] = "group",
    even: bool = False,
) -> Splits:
    """Return the samples by split name, deterministic by `seed`.

    `shares` maps split names to shares of the pictures, 1 in all. With `by="group"` no group is divided.
    Groups go, largest and rarest first, to a split that has nothing of their rarest class yet, else to the
    one that lacks their classes most: a class of few groups is in every split as long as its groups last.
    Among equals it is the first, or with `even` the emptiest, so that several classes of few groups are not
    all in the same splits.
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
            key=lambda name: (
                held[name][rarest] > 0,
                _fullness(counts, held[name], shares[name], totals),
                held[name].total() / shares[name] if even else 0.0,
            ),
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


def read_splits(path: Path) -> dict[str, list[str]]:
    """Return the names of the pictures of each split; raises ConfigError where it is no run's splits.json."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; --splits takes the splits.json of a run")
    try:
        return _LISTING.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is no splits.json; --splits takes that of a run") from error


def published_part(dataset: Dataset) -> Dataset:
    """Return what the publishers of a set do not train on, or all of a set that they do not divide."""
    held_out = [sample for sample in dataset.samples if sample.split not in (None, "train")]
    return Dataset(dataset.classes, held_out) if held_out else dataset


def part_of(dataset: Dataset, splits: Path, part: str) -> Dataset:
    """Return one part of a set as the splits.json of a run divides it.

    Raises ConfigError where the file or the part is missing, DatasetError where it is of another set.
    """
    listing = read_splits(splits)
    if part not in listing and listing.keys() == {"train"}:
        raise ConfigError(
            f"{splits} is of a cross-fitted run, which trained on all its images and has no part {part}: its "
            "figures are in its evaluation.json; without --splits, give images that it has not seen"
        )
    if part not in listing:
        raise ConfigError(f"{splits} has no part {part}; it has {', '.join(listing)}")
    names = set(listing[part])
    missing = names - {sample.name for sample in dataset.samples}
    if missing:
        raise DatasetError(f"{splits} names {min(missing)}, which the set has not; give the set it is of")
    return Dataset(dataset.classes, [sample for sample in dataset.samples if sample.name in names])

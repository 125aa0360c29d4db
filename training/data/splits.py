"""Leak-free splits: every group lands whole in one split, which the hash of its name chooses."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

    With `config.folds` there are train and, of a fold, test only. Otherwise a fold takes its share for the
    test split; the configuration's shares divide the rest. Where groups are
    kept whole, the training images of a group in a published test split are in none. Raises DatasetError
    where a published test split is asked for and the set has none or nothing else, or where a split lacks
    good or defective images, for no threshold could be chosen on it and no rate measured.
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
            raise DatasetError("the set has no published test split; give `split.test` a share of the images")
        if not rest:
            raise DatasetError(
                "every training image is of a group in the published test split; give `split.test` a share"
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
    divided = split_samples(samples, shares, config.seed + fold.repeat, config.by)
    for number, part in divided.items():
        if len({sample.defective for sample in part}) < 2:
            raise DatasetError(
                f"fold {int(number) + 1} of {fold.count} lacks good or defective images. With folds no "
                "share is set: ask for fewer (split.folds, at least 3) or add parts; it takes "
                f"{fold.count} good and {fold.count} defective"
            )
    test = divided.pop(str(fold.number))
    rest = sorted((each for part in divided.values() for each in part), key=lambda sample: sample.name)
    return {"train": _thinned(rest, config), "test": test}


def _thinned(samples: list[Sample], config: SplitConfig) -> list[Sample]:
    """The first `train_share` of each class's groups in hash order: a smaller share is part of a larger."""
    if config.train_share == 1:
        return samples
    groups: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        groups[_stratum(sample)].add(sample.group)
    kept: set[str] = set()
    for names in groups.values():
        order = sorted(names, key=lambda name: _place(config.seed, "train_share", name))
        kept.update(order[: max(1, round(config.train_share * len(order)))])
    return [sample for sample in samples if sample.group in kept]


def _check_both_kinds(splits: Splits) -> None:
    for name, samples in splits.items():
        defective = sum(sample.defective for sample in samples)
        if defective in (0, len(samples)):
            raise DatasetError(
                f"the {name} split has {len(samples) - defective} good and {defective} defective images; "
                "it needs both: add groups of the missing kind, at least one for each split"
            )


def split_samples(
    samples: Sequence[Sample],
    shares: Mapping[str, float],
    seed: int,
    by: Literal["group", "picture"] = "group",
) -> Splits:
    """Return the samples by split name; the hash of its name and `seed` assigns each group.

    `shares` maps split names to shares of the groups, 1 in all. With `by="group"` no group is divided.
    What the other groups are plays no part, so that new images move no old one, with one exception: where the
    hashes leave a split without a class, or without any good, defective or marked image, a group that is
    spare elsewhere moves there. A class takes them from the split `train` only, if there is one.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group if by == "group" else sample.name].append(sample)
    home = {key: _by_hash(seed, key, shares) for key in groups}
    if "train" in shares:
        _fill(home, _holders(groups, _class_of), shares, seed, ("train",))
    _fill(home, _holders(groups, _kinds_of), shares, seed, tuple(shares))
    splits: Splits = {name: [] for name in shares}
    for key, members in groups.items():
        splits[home[key]].extend(members)
    return {name: sorted(members, key=lambda sample: sample.name) for name, members in splits.items()}


def _place(seed: int, purpose: str, key: str) -> int:
    """A number that depends on nothing else: equal on every machine, independent of other purposes."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{key}".encode()).digest()[:8])


def _by_hash(seed: int, key: str, shares: Mapping[str, float]) -> str:
    """The split in whose share of all numbers that of a group lies."""
    left = _place(seed, ",".join(shares), key) / 2**64
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return list(shares)[-1]  # the shares are 1 but for rounding


Holders = dict[str, set[str]]  # of each class or kind the groups that have it


def _holders(groups: Mapping[str, Sequence[Sample]], told: Callable[[Sample], Iterable[str]]) -> Holders:
    found: Holders = defaultdict(set)
    for key, samples in groups.items():
        for sample in samples:
            for kind in told(sample):
                found[kind].add(key)
    return found


def _class_of(sample: Sample) -> list[str]:
    return [_stratum(sample)]


def _kinds_of(sample: Sample) -> list[str]:
    """What every split needs: thresholds are chosen on marked images, rates are measured on both others."""
    if not sample.defective:
        return ["good"]
    return ["defective"] if sample.annotation is None else ["defective", "marked"]


def _stratum(sample: Sample) -> str:
    return f"{sample.source}/{sample.picture_class}"


def _fill(
    home: dict[str, str], holders: Holders, shares: Mapping[str, float], seed: int, donors: Sequence[str]
) -> None:
    """Move a group into each split that lacks a kind, where `donors` have one to spare; changes `home`.

    Which group a split takes depends on hashes of its own: so a further spare group takes none back out of
    `train`. The last split in order, the test split, is filled first.
    """
    for kind in sorted(holders, key=lambda kind: (len(holders[kind]), kind)):
        kept = {_first(_inside(holders[kind], home, donor), seed, donor) for donor in donors}
        for split in reversed(list(shares)):
            if _inside(holders[kind], home, split):
                continue
            spare = [
                key
                for key in holders[kind] - kept
                if home[key] in donors and not _is_last(key, home, holders)
            ]
            if moved := _first(spare, seed, split):
                home[moved] = split
                kept.add(moved)


def _inside(keys: Iterable[str], home: Mapping[str, str], split: str) -> list[str]:
    return [key for key in keys if home[key] == split]


def _first(keys: Iterable[str], seed: int, split: str) -> str | None:
    """The group that this split would take first, if any."""
    return min(keys, key=lambda key: _place(seed, f"fill {split}", key), default=None)


def _is_last(key: str, home: Mapping[str, str], holders: Holders) -> bool:
    """Whether its split would lack a kind without this group."""
    return any(key in keys and _inside(keys, home, home[key]) == [key] for keys in holders.values())


def read_splits(path: Path) -> dict[str, list[str]]:
    """Return the names of the images of each split; raises ConfigError where it is no run's splits.json."""
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

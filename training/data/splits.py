"""Leak-free splits: each group is assigned as a whole to one split, by the hash of its name."""

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
    """One fold of a repeated k-fold cross-validation: part `number` of `count` is the test split."""

    number: int
    count: int
    repeat: int = 0

    @property
    def name(self) -> str:
        """Name of the fold's folder."""
        return f"repeat-{self.repeat}-fold-{self.number}"


def make_splits(samples: Sequence[Sample], config: SplitConfig, fold: Fold | None = None) -> Splits:
    """Return the splits train, validation, calibration and test, by the configuration or for a fold.

    With `config.folds` there is only train and, for a fold, test. Otherwise a fold's part is the test
    split, and the configured shares divide the rest. If groups are kept whole, training images of a
    group that is in the published test split are dropped. Raises DatasetError if the published test
    split is requested and there is none or nothing else, or if a split lacks good or defective images:
    thresholds and rates need both.
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
    """Train on all images; for a fold, on all but its own part, which is the test split."""
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
    """Keep `train_share` of each class's groups in hash order, so smaller shares are subsets."""
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
    """Return the samples by split name; the hash of a group's name and `seed` assigns the group.

    `shares` maps split names to shares of the groups, with sum 1. With `by="group"` no group is divided.
    The assignment does not depend on other groups, so new images do not move old ones, with one
    exception: if a split has no image of a class, or no good, defective or marked image, a group moves
    there from a split that has several. For a missing class, only the split `train`, if there is one,
    gives groups. A class that `train` lacks gets a group from the validation or calibration split.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group if by == "group" else sample.name].append(sample)
    home = {key: _by_hash(seed, key, shares) for key in groups}
    classes, kinds = _holders(groups, _class_of), _holders(groups, _kinds_of)
    if "train" in shares:
        _fill(home, classes, shares, seed, ("train",))
        _fill_train(home, classes, seed)
    enough = {name: keys for name, keys in classes.items() if len(keys) >= len(shares)}
    _fill(home, kinds, shares, seed, tuple(shares), enough)
    splits: Splits = {name: [] for name in shares}
    for key, members in groups.items():
        splits[home[key]].extend(members)
    return {name: sorted(members, key=lambda sample: sample.name) for name, members in splits.items()}


def _place(seed: int, purpose: str, key: str) -> int:
    """A 64-bit hash of seed, purpose and key; equal on every machine, independent between purposes."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{key}".encode()).digest()[:8])


def _by_hash(seed: int, key: str, shares: Mapping[str, float]) -> str:
    """The split whose share of the hash range contains the hash of the group."""
    left = _place(seed, ",".join(shares), key) / 2**64
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return list(shares)[-1]  # reached only by rounding of the shares


Holders = dict[str, set[str]]  # class or kind -> groups that contain it


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
    """The kinds that every split needs: marked for thresholds, good and defective for rates."""
    if not sample.defective:
        return ["good"]
    return ["defective"] if sample.annotation is None else ["defective", "marked"]


def _stratum(sample: Sample) -> str:
    return f"{sample.source}/{sample.picture_class}"


def _fill(
    home: dict[str, str],
    holders: Holders,
    shares: Mapping[str, float],
    seed: int,
    donors: Sequence[str],
    learnt: Holders | None = None,
) -> None:
    """Move a group into each split that lacks a kind, if `donors` have a spare one; modifies `home`.

    `train` keeps the last group of each class of `learnt`.

    Each split chooses by its own hash order, so that a further spare group moves no older group out of
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
                if home[key] in donors
                and not _is_last(key, home, holders)
                and not (home[key] == "train" and _is_last(key, home, learnt or {}))
            ]
            if moved := _first(spare, seed, split):
                home[moved] = split
                kept.add(moved)


def _fill_train(home: dict[str, str], classes: Holders, seed: int) -> None:
    """Move a group of each class that `train` lacks there, never from the test split; modifies `home`."""
    for keys in classes.values():
        moved = _first([key for key in keys if home[key] != "test"], seed, "train")
        if moved is not None and not _inside(keys, home, "train"):
            home[moved] = "train"


def _inside(keys: Iterable[str], home: Mapping[str, str], split: str) -> list[str]:
    return [key for key in keys if home[key] == split]


def _first(keys: Iterable[str], seed: int, split: str) -> str | None:
    """The first group in the hash order of this split, None without groups."""
    return min(keys, key=lambda key: _place(seed, f"fill {split}", key), default=None)


def _is_last(key: str, home: Mapping[str, str], holders: Holders) -> bool:
    """Whether the group is the only one of a kind in its split."""
    return any(key in keys and _inside(keys, home, home[key]) == [key] for keys in holders.values())


def read_splits(path: Path) -> dict[str, list[str]]:
    """Read a run's splits.json: image names by split; raises ConfigError if it is missing or invalid."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; --splits takes the splits.json of a run")
    try:
        return _LISTING.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is no splits.json; --splits takes that of a run") from error


def published_part(dataset: Dataset) -> Dataset:
    """Return the published validation and test images, or the whole set without published splits."""
    held_out = [sample for sample in dataset.samples if sample.split not in (None, "train")]
    return Dataset(dataset.classes, held_out) if held_out else dataset


def part_of(dataset: Dataset, splits: Path, part: str) -> Dataset:
    """Return one split of a set by the splits.json of a run.

    Raises ConfigError if the file or the split is missing, DatasetError if it belongs to another set.
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
        raise DatasetError(f"{splits} names {min(missing)}, which the set lacks; give that run's set")
    return Dataset(dataset.classes, [sample for sample in dataset.samples if sample.name in names])

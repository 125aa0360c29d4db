"""Splits never separate a group, say the same for the same seed, and keep what they said of a growing set."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import SplitConfig
from training.data.sample import Blob, Dataset, DatasetError, Published, Sample
from training.data.splits import Fold, make_splits, published_part, split_samples

SHARES = {"train": 0.55, "validation": 0.1, "calibration": 0.15, "test": 0.2}


def _sample(number: int, group: int, defective: bool) -> Sample:
    picture_class = "crack" if defective else "good"
    return Sample(f"p{number}", f"g{group}", "set", picture_class, defective, Blob(Path("unread")))


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=120), st.integers(0, 99))
def test_groups_stay_whole_and_nothing_is_lost(parts: list[tuple[int, bool]], seed: int) -> None:
    samples = [_sample(number, *part) for number, part in enumerate(parts)]
    splits = split_samples(samples, SHARES, seed)
    assert sorted(each.name for members in splits.values() for each in members) == sorted(
        each.name for each in samples
    )
    home = {each.group: name for name, members in splits.items() for each in members}
    assert all(home[each.group] == name for name, members in splits.items() for each in members)
    assert splits == split_samples(samples, SHARES, seed)


def test_classes_are_spread_by_share() -> None:
    samples = [_sample(number, number // 2, number // 2 % 3 == 0) for number in range(12_000)]
    for members, share in zip(split_samples(samples, SHARES, 1).values(), SHARES.values(), strict=True):
        counts = Counter(each.picture_class for each in members)
        assert abs(counts["crack"] / 4000 - share) < 0.04  # four standard deviations of 2,000 groups
        assert abs(counts["good"] / 8000 - share) < 0.03


def test_by_picture_divides_groups() -> None:
    samples = [_sample(number, 0, defective=False) for number in range(1000)]
    assert max(map(len, split_samples(samples, SHARES, 1).values())) == 1000
    assert abs(len(split_samples(samples, SHARES, 1, "picture")["train"]) - 550) < 60


def _of_classes(each: int, classes: int, good: int, first: int = 0) -> list[Sample]:
    """So many images, each its own group, of every class, and good ones."""
    numbers = range(first, first + each * classes)
    defective = [
        replace(_sample(number, number, defective=True), picture_class=f"class {number % classes}")
        for number in numbers
    ]
    return [*defective, *(_sample(10_000 + first + k, 10_000 + first + k, False) for k in range(good))]


def _homes(samples: list[Sample], seed: int) -> dict[str, str]:
    splits = make_splits(samples, SplitConfig(seed=seed))
    return {each.name: name for name, members in splits.items() for each in members}


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 300), st.integers(0, 3), min_size=1, max_size=90),
    st.tuples(st.integers(301, 400), st.integers(0, 3)),
    st.integers(0, 20),
)
def test_a_new_group_moves_none_that_a_minimum_did_not_place(
    parts: dict[int, int], new: tuple[int, int], seed: int
) -> None:
    def sample(group: int, kind: int) -> Sample:
        return replace(_sample(group, group, kind > 0), picture_class=f"class {kind}" if kind else "good")

    samples = [sample(*part) for part in parts.items()]
    by_hash = {  # with all of these beside it, no split lacks anything
        each.name: next(
            name
            for name, members in split_samples([each, *_of_classes(60, 3, 60, 1000)], SHARES, seed).items()
            if each in members
        )
        for each in samples
    }
    before, after = (
        {each.name: name for name, members in split_samples(rows, SHARES, seed).items() for each in members}
        for rows in (samples, [*samples, sample(*new)])
    )
    classes = {each.picture_class for each in samples}
    found = {(each.picture_class, by_hash[each.name]) for each in samples}
    if len(found) == len(classes) * len(SHARES):  # no class is missing anywhere
        assert before == by_hash
        assert all(after[name] == home for name, home in before.items())
    counts = Counter(
        each.picture_class for each in samples if by_hash[each.name] == before[each.name] == "train"
    )
    for each in samples:
        if after[each.name] != before[each.name] and counts[each.picture_class] > 3:
            assert before[each.name] != by_hash[each.name]  # a minimum had placed it


@pytest.mark.parametrize("seed", range(5))
def test_a_test_split_survives_more_images(seed: int) -> None:
    samples = _of_classes(60, 1, 200)
    before = _homes(samples, seed)
    for more in (1, 10, 50):
        after = _homes([*samples, *_of_classes(more, 1, more, 5000)], seed)
        assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("classes", "each", "good"), [(1, 4, 4), (4, 1, 4), (2, 3, 6), (5, 3, 100), (8, 3, 300), (10, 2, 300)]
)
def test_small_sets_can_be_split(classes: int, each: int, good: int) -> None:
    samples = _of_classes(each, classes, good)
    for seed in range(40):
        assert set(_homes(samples, seed).values()) == set(SHARES)


@pytest.mark.parametrize("each", [4, 5, 9])
def test_a_class_of_few_groups_is_in_every_split_while_training_has_some_to_spare(each: int) -> None:
    samples = _of_classes(each, 3, 50)
    for seed in range(20):
        home = _homes(samples, seed)
        for number in range(3):
            found = {home[s.name] for s in samples if s.picture_class == f"class {number}"}
            spare = sum(home[s.name] == "train" for s in samples if s.picture_class == f"class {number}") > 1
            assert found == set(SHARES) or not spare


@pytest.mark.parametrize("classes", [2, 3])
def test_every_class_of_four_parts_is_learnt(classes: int) -> None:
    samples = _of_classes(4, classes, 50)
    for seed in range(60):
        splits = make_splits(samples, SplitConfig(seed=seed))
        learnt, tested = ({each.picture_class for each in splits[name]} for name in ("train", "test"))
        known = {each.picture_class for name in ("validation", "calibration") for each in splits[name]}
        assert not known - learnt, "only a class that is in the test split alone is not learnt"
        assert learnt | tested == {each.picture_class for each in samples}


def test_fewer_parts_than_splits_are_named() -> None:
    with pytest.raises(DatasetError, match="it needs both: add groups of the missing kind"):
        make_splits(_of_classes(3, 1, 100), SplitConfig())


def test_folds_test_every_picture_once_and_divide_no_group() -> None:
    samples = [_sample(number, number // 6, number // 6 % 3 == 0) for number in range(600)]
    tested = []
    for number in range(5):
        splits = make_splits(samples, SplitConfig(), Fold(number, 5))
        tested += [each.name for each in splits["test"]]
        home = {each.group: name for name, members in splits.items() for each in members}
        assert all(home[each.group] == name for name, members in splits.items() for each in members)
        assert sum(map(len, splits.values())) == 600
        assert abs(len(splits["train"]) - 330) < 120
    assert sorted(tested) == sorted(each.name for each in samples)
    other = make_splits(samples, SplitConfig(), Fold(0, 5, repeat=1))
    assert other["test"] != make_splits(samples, SplitConfig(), Fold(0, 5))["test"]


def test_published_test_pictures_are_the_test_split() -> None:
    parts: list[Published] = ["train", "train", "train", "validation"]
    unmarked = [_sample(number, number, number // 4 % 2 == 0) for number in range(400)]
    samples = [replace(each, split=parts[number % 4]) for number, each in enumerate(unmarked)]
    config = SplitConfig(train=0.8, validation=0.1, calibration=0.1, test="published")
    splits = make_splits(samples, config)
    assert {each.name for each in splits["test"]} == {f"p{number}" for number in range(3, 400, 4)}
    assert abs(len(splits["train"]) - 240) < 28
    with pytest.raises(DatasetError, match="no published test split"):
        make_splits(unmarked, config)


def test_groups_of_a_published_test_split_are_not_trained_on() -> None:
    parts: list[Published] = ["train", "test", "train", "train"]  # the group of two stands on both sides
    unmarked = [_sample(number, number // 2, number // 4 % 2 == 0) for number in range(400)]
    samples = [replace(each, split=parts[number % 4]) for number, each in enumerate(unmarked)]
    config = SplitConfig(train=0.8, validation=0.1, calibration=0.1, test="published")
    splits = make_splits(samples, config)
    tested = {each.group for each in splits.pop("test")}
    assert len(tested) == 100
    assert tested.isdisjoint(each.group for members in splits.values() for each in members)
    assert sum(map(len, splits.values())) == 200
    with pytest.raises(DatasetError, match="every training image is of a group in the published test"):
        make_splits([each for each in samples if each.group in tested], config)
    by_picture = make_splits(samples, config.model_copy(update={"by": "picture"}))
    assert sum(map(len, by_picture.values())) == 400  # for comparison: it leaks, as the configuration asks


def test_split_without_both_kinds_is_refused() -> None:
    with pytest.raises(DatasetError, match="it needs both"):
        make_splits([_sample(number, number, defective=number == 0) for number in range(40)], SplitConfig())


def test_published_part_is_what_the_publishers_do_not_train_on() -> None:
    samples = [_sample(number, number, defective=False) for number in range(6)]
    undivided = Dataset(("crack",), samples)
    assert published_part(undivided) == undivided
    parts: list[Published] = ["train", "validation", "test"]
    divided = [replace(sample, split=parts[number % 3]) for number, sample in enumerate(samples)]
    assert {each.split for each in published_part(Dataset(("crack",), divided)).samples} == {
        "validation",
        "test",
    }


@pytest.mark.parametrize(("classes", "parts"), [(5, 4), (2, 4), (7, 3), (10, 4), (1, 5)])
def test_classes_of_few_parts_are_not_all_in_the_same_folds(classes: int, parts: int) -> None:
    samples = [_sample(number, number, defective=False) for number in range(50)]
    samples += [
        replace(
            _sample(100 + number, 100 + number, defective=True), picture_class=f"class {number % classes}"
        )
        for number in range(classes * parts)
    ]
    for number in range(5):
        splits = make_splits(samples, SplitConfig(folds=5), Fold(number, 5))
        for part in splits.values():
            assert 0 < sum(each.defective for each in part) < len(part)


def test_too_few_parts_for_the_folds_are_named() -> None:
    samples = [_sample(number, number, defective=number < 3) for number in range(40)]
    with pytest.raises(DatasetError, match=r"fold \d of 5 lacks .*fewer .*5 good and 5 defective"):
        make_splits(samples, SplitConfig(folds=5), Fold(4, 5))

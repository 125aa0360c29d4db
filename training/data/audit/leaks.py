"""Faults from pairs of copies: leaks across splits and groups, conflicting labels."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from training.data.audit.duplicates import Pair
from training.data.audit.faults import Examined, Fault
from training.data.sample import DatasetError, Sample

SMALL_GROUP = 6  # most images of a small group
WHOLE_OVERLAP = 0.8  # share of the larger image; with less, one of the two may not show the defect


@dataclass(frozen=True)
class InGroups:
    """Counts over the groups of two or more images.

    `groups` counts them, `whole` those whose images were all linked; `pairs` counts the pairs of images
    within the groups, `found` those found directly, `joined` those found directly or through other
    images.
    """

    groups: int
    whole: int
    pairs: int
    found: int
    joined: int


@dataclass(frozen=True)
class Agreement:
    """The pairs found, compared with the groups of the set, which the search does not use.

    `small` counts only groups of at most SMALL_GROUP images, because large groups contain nearly all
    pairs. The `elsewhere` fields count pairs across different groups.
    """

    every: InGroups
    small: InGroups
    found_elsewhere: int
    joined_elsewhere: int


def exact_copies(examined: Mapping[str, Examined]) -> list[list[str]]:
    """Lists of names of images that are equal pixel for pixel."""
    same: dict[bytes, list[str]] = defaultdict(list)
    for name, picture in examined.items():
        same[picture.pixels_digest].append(name)
    return [names for names in same.values() if len(names) > 1]


def parts_of(
    samples: Sequence[Sample], splits: Mapping[str, Sequence[str]] | None
) -> dict[str, frozenset[str]]:
    """The splits that contain each image, by image name; without `splits`, the published ones.

    Raises DatasetError if a given split names an image that the set lacks.
    """
    if splits is None:
        return {sample.name: frozenset({sample.split} if sample.split else ()) for sample in samples}
    parts: dict[str, set[str]] = {sample.name: set() for sample in samples}
    for split, names in splits.items():
        for name in names:
            if name not in parts:
                raise DatasetError(f"split {split} names {name}, which the set lacks; correct the split")
            parts[name].add(split)
    return {name: frozenset(of) for name, of in parts.items()}


def joined(links: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Connected components of the links: sorted lists of names, found by union-find."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = name = root[root[name]]
        return name

    for first, second in links:
        root[find(first)] = find(second)
    together: dict[str, list[str]] = defaultdict(list)
    for name in sorted(root):
        together[find(name)].append(name)
    return list(together.values())


def copy_faults(
    samples: Mapping[str, Sample],
    examined: Mapping[str, Examined],
    parts: Mapping[str, frozenset[str]],
    exact: Sequence[Sequence[str]],
    near: Sequence[Pair],
) -> list[Fault]:
    """Faults of copies: exact duplicates, copies across splits or groups, conflicting labels."""
    faults = [Fault("exact duplicate", tuple(names), f"{len(names)} equal images") for names in exact]
    links = _links(exact, near)
    for names in joined(links):
        held = sorted(frozenset().union(*(parts[name] for name in names)))
        if len(held) > 1:
            faults.append(Fault("copies across splits", tuple(names), f"in {', '.join(held)}"))
        groups = sorted({samples[name].group for name in names})
        if len(groups) > 1:
            faults.append(Fault("copies in different groups", tuple(names), f"groups {', '.join(groups)}"))
    whole = _links(exact, [pair for pair in near if pair.registration.overlap >= WHOLE_OVERLAP])
    conflicts = [link for link in whole if len({_label(samples[name]) for name in link}) > 1]
    conflicts += [
        link for link in _links(exact, ()) if len({examined[name].mask_digest for name in link}) > 1
    ]
    for names in joined(conflicts):
        labels = sorted({_label(samples[name]) for name in names})
        found = f"labelled {' and '.join(labels)}" if len(labels) > 1 else "their masks differ"
        faults.append(Fault("conflicting labels of copies", tuple(names), found))
    return faults


def group_faults(samples: Iterable[Sample], parts: Mapping[str, frozenset[str]]) -> list[Fault]:
    """Faults of groups that lie in more than one split; an image in two splits is one too."""
    groups: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample.name)
    faults = []
    for group, names in groups.items():
        held = sorted(frozenset().union(*(parts[name] for name in names)))
        if len(held) > 1:
            faults.append(Fault("group across splits", tuple(names), f"group {group} in {', '.join(held)}"))
    return faults


def agreement(
    samples: Mapping[str, Sample], exact: Sequence[Sequence[str]], near: Sequence[Pair]
) -> Agreement:
    """Compare the pairs found with the set's own groups."""
    sizes = Counter(sample.group for sample in samples.values())
    links = {(min(link), max(link)) for link in _links(exact, near, every=True)}
    of_links = ({samples[name].group for name in link} for link in links)
    found = Counter(groups.pop() for groups in of_links if len(groups) == 1)
    together = joined(links)
    shares = [share for names in together for share in Counter(samples[name].group for name in names).items()]

    def counted(most: int) -> InGroups:
        chosen = {group: size for group, size in sizes.items() if 1 < size <= most}
        return InGroups(
            groups=len(chosen),
            whole=sum(count == chosen.get(group) for group, count in shares),
            pairs=sum(map(_pairs, chosen.values())),
            found=sum(found[group] for group in chosen),
            joined=sum(_pairs(count) for group, count in shares if group in chosen),
        )

    every = counted(len(samples))
    return Agreement(
        every=every,
        small=counted(SMALL_GROUP),
        found_elsewhere=len(links) - every.found,
        joined_elsewhere=sum(_pairs(len(names)) for names in together) - every.joined,
    )


def _links(
    exact: Sequence[Sequence[str]], near: Sequence[Pair], every: bool = False
) -> list[tuple[str, str]]:
    """Pairs of names; exact copies are linked each to the next, or with `every` all to all."""
    links = [(pair.first, pair.second) for pair in near]
    for names in exact:
        for number, first in enumerate(names):
            links += [(first, second) for second in names[number + 1 : None if every else number + 2]]
    return links


def _label(sample: Sample) -> str:
    return ", ".join(sorted(sample.picture_class.split(",")))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2

"""The defect classes of a set, after renaming by the configuration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from training.data.sample import IGNORED_NUMBER, DatasetError
from training.labels import LabelsConfig

AS_WRITTEN = LabelsConfig()  # labels unchanged, as in the files of a set
GOOD, IGNORE = "good", "ignore"  # special targets of renaming: no defect, ignored pixels

# Names that rarely mean a defect. They cause a note and are not changed, because only the user can know.
_DOUBTFUL = frozenset({
    "ok", "background", "_background_", "__background__", "ignore", "__ignore__", "ignored", "void",
    "unlabeled", "unlabelled", "roi", "mask", "normal", "part", "product",
})  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """Class names in the order of their numbers, from 1; `renamed` maps names in the set to new ones."""

    names: tuple[str, ...]
    renamed: Mapping[str, str]

    def number(self, found: str) -> int:
        """The number of a class by its name in the set; 0 for good, IGNORED_NUMBER for ignored."""
        name = self.renamed.get(found)
        if name == GOOD:
            return 0
        return IGNORED_NUMBER if name == IGNORE else self.names.index(name or found) + 1

    def label(self, numbers: Iterable[int]) -> str:
        """The label of an image with these class numbers: class names joined by commas, or good."""
        shown = sorted(number for number in set(numbers) if 0 < number <= len(self.names))
        return ",".join(self.names[number - 1] for number in shown) or GOOD

    def notes(self, found: Sequence[str]) -> list[str]:
        """Notes on names that probably are no defects, with the remedy."""
        return [
            f"'{name}' is trained as a defect class; if it is none, say so in the configuration, "
            f"labels: classes: {{'{name}': good}} (or ignore)"
            for name in found
            if name not in self.renamed and name.lower() in _DOUBTFUL
        ]


def classes_of(found: Iterable[str], labels: LabelsConfig, known: Iterable[str] = ()) -> Classes:
    """The classes of a set after renaming, in the order in which they are found.

    `known` are further names in the set's files that no image uses. Raises DatasetError if the
    configuration renames a class that the set does not have.
    """
    names = list(dict.fromkeys(found))
    unknown = sorted(set(labels.classes) - {*names, *known})
    if unknown:
        raise DatasetError(
            f"labels: classes names '{unknown[0]}', which the set does not have; it has "
            f"{', '.join(sorted({*names, *known}))}"
        )
    kept = dict.fromkeys(labels.classes.get(name, name) for name in names if not _means_none(name, labels))
    return Classes(tuple(kept), labels.classes)


def _means_none(name: str, labels: LabelsConfig) -> bool:
    return labels.classes.get(name) in (GOOD, IGNORE)

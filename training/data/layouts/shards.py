"""Reader of WebDataset tar shards: `KEY.jpg`, `KEY.mask.png` (class numbers) and `KEY.json` per image.

`classes.json` in the same folder names the classes by number. A shard called `NAME-val.tar` is the
published validation split, `NAME-test.tar` the test split, any other the training split.
"""

import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictBool, TypeAdapter, ValidationError, model_validator

from training.data.annotations import Checked, parse_checked
from training.data.classes import AS_WRITTEN, GOOD, classes_of
from training.data.masks import MaskImage, Named
from training.data.sample import IGNORED_NUMBER, Blob, Dataset, DatasetError, Published, Sample
from training.labels import LabelsConfig

_CLASSES = TypeAdapter(dict[int, str])


class _Facts(Checked):
    """The JSON of one image; `picture_class` is a label that is no class of the masks."""

    defective: StrictBool
    group: Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
    source: str
    classes: tuple[str, ...] = ()
    picture_class: str = GOOD

    @property
    def label(self) -> str:
        """The image's label."""
        return ",".join(self.classes) or self.picture_class

    @model_validator(mode="after")
    def _label_fits(self) -> Self:
        if self.defective != (self.label != GOOD):
            raise ValueError(
                "classes or picture_class must name the class of a defective image, and none of a good"
            )
        return self


def is_shards(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / "classes.json").is_file() and any(root.glob("*.tar"))


def read_shards(root: Path, labels: LabelsConfig = AS_WRITTEN) -> Dataset:
    """Return every image of the shards in `root`; image data is read from the tar only when needed."""
    names, shards = _read_classes(root), sorted(root.glob("*.tar"))
    if not shards:
        raise DatasetError(f"{root} holds no shard; NAME.tar is expected beside classes.json")
    classes = classes_of(names, labels)
    numbers = {number: classes.number(name) for number, name in enumerate(names, start=1)}
    meaning = Named({0: 0} | numbers, "classes.json", strict=True)

    def sample(shard: Path, key: str, files: dict[str, Blob], facts: _Facts) -> Sample:
        shown = [classes.number(name) for name in facts.classes if name in names]
        others = [name for name in facts.label.split(",") if name not in names]
        label = ",".join([classes.label(shown)] if shown or not others else others)
        return Sample(
            name=f"{shard.stem}/{key}",
            group=facts.group,
            source=facts.source,
            picture_class=label,
            defective=label != GOOD,
            image=files["jpg"],
            annotation=MaskImage(files["mask.png"], meaning) if "mask.png" in files else None,
            split=_published(shard),
            ignores=IGNORED_NUMBER in shown,
        )

    samples = [sample(shard, *each) for shard in shards for each in _read_shard(shard)]
    return Dataset(classes.names, samples)


def _read_classes(root: Path) -> tuple[str, ...]:
    """Return the class names of `root/classes.json` in the order of their numbers, from 1."""
    path = root / "classes.json"
    if not path.is_file():
        raise DatasetError(f"{path} is missing; a JSON object from class number to class name is expected")
    try:
        listed = _CLASSES.validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(
            f"{path} cannot be used ({error.errors()[0]['msg']}); "
            'an object such as {"0": "good", "1": "crack"} is expected'
        ) from error
    names = {number: name for number, name in listed.items() if number > 0}
    if sorted(names) != list(range(1, len(names) + 1)):
        raise DatasetError(f"{path} must number its classes 1, 2, 3 ... without a gap")
    return tuple(names[number] for number in sorted(names))


def _read_shard(shard: Path) -> Iterator[tuple[str, dict[str, Blob], _Facts]]:
    """Yield the key, the files and the parsed JSON of each image of a shard."""
    for key, files in _members(shard).items():
        if not {"jpg", "json"} <= set(files):
            raise DatasetError(f"{shard}: {key} must have a .jpg and a .json, found {sorted(files)}")
        yield key, files, parse_checked(files["json"].read(), _Facts, f"{shard}: {key}.json")


def _members(shard: Path) -> dict[str, dict[str, Blob]]:
    """The files of a shard by key and extension; raises DatasetError if one is duplicate or missing."""
    members: dict[str, dict[str, Blob]] = defaultdict(dict)
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind in members[key]:
                    raise DatasetError(f"{shard} holds {member.name} twice; give each image its own key")
                members[key][kind] = Blob(shard, member.offset_data, member.size)
            end = tar.offset
    except tarfile.TarError as error:
        raise DatasetError(f"{shard} is not a plain tar shard ({error})") from error
    # tarfile stops silently at an unreadable header; a complete tar ends with two blocks of zeros.
    rest = Blob(shard, end).read()
    if len(rest) < 2 * tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DatasetError(f"{shard} is cut or damaged at byte {end}; copy the shard again")
    return members


def _published(shard: Path) -> Published:
    """The published split of a shard, by its name."""
    last = shard.stem.rpartition("-")[2]
    return "validation" if last == "val" else "test" if last == "test" else "train"

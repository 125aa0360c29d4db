"""Reader of WebDataset tar shards: `KEY.jpg`, `KEY.mask.png` (class numbers) and `KEY.json` per picture.

`classes.json` beside them names the class numbers. A shard called `NAME-val.tar` is the publishers'
validation part, `NAME-test.tar` their test part, any other their training part.
"""

import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictBool, TypeAdapter, ValidationError, model_validator

from training.data.annotations import Checked, parse_checked
from training.data.groups import GOOD
from training.data.sample import Blob, Dataset, DatasetError, MaskFile, Published, Sample

_CLASSES = TypeAdapter(dict[int, str])


class _Facts(Checked):
    """What the JSON of a picture says of it; `picture_class` is for a label that is no class of the masks."""

    defective: StrictBool
    group: Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
    source: str
    classes: tuple[str, ...] = ()
    picture_class: str = GOOD

    @property
    def label(self) -> str:
        """The picture's label."""
        return ",".join(self.classes) or self.picture_class

    @model_validator(mode="after")
    def _label_fits(self) -> Self:
        if self.defective != (self.label != GOOD):
            raise ValueError(
                "classes or picture_class must name the class of a defective picture, and none of a good"
            )
        return self


def is_shards(root: Path) -> bool:
    """Whether a folder shows this layout."""
    return (root / "classes.json").is_file() and any(root.glob("*.tar"))


def read_shards(root: Path) -> Dataset:
    """Return every picture of the shards in `root`, by index only: the bytes stay in the tar."""
    classes, shards = _read_classes(root), sorted(root.glob("*.tar"))
    if not shards:
        raise DatasetError(f"{root} holds no shard; NAME.tar is expected beside classes.json")
    return Dataset(classes, [sample for shard in shards for sample in _read_shard(shard)])


def _read_classes(root: Path) -> tuple[str, ...]:
    """Return the class names of `root/classes.json` in the order of their numbers, 1 first."""
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


def _read_shard(shard: Path) -> Iterator[Sample]:
    for key, files in _members(shard).items():
        if not {"jpg", "json"} <= set(files):
            raise DatasetError(f"{shard}: {key} must have a .jpg and a .json, found {sorted(files)}")
        facts = parse_checked(files["json"].read(), _Facts, f"{shard}: {key}.json")
        yield Sample(
            name=f"{shard.stem}/{key}",
            group=facts.group,
            source=facts.source,
            picture_class=facts.label,
            defective=facts.defective,
            image=files["jpg"],
            annotation=MaskFile(files["mask.png"]) if "mask.png" in files else None,
            split=_published(shard),
        )


def _members(shard: Path) -> dict[str, dict[str, Blob]]:
    """The files of a shard by key and kind; raises DatasetError where one could be missing or hidden."""
    members: dict[str, dict[str, Blob]] = defaultdict(dict)
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind in members[key]:
                    raise DatasetError(f"{shard} holds {member.name} twice; give each picture its own key")
                members[key][kind] = Blob(shard, member.offset_data, member.size)
            end = tar.offset
    except tarfile.TarError as error:
        raise DatasetError(f"{shard} is not a plain tar shard ({error})") from error
    # At a header that it cannot read, tarfile stops without a word; two blocks of zeros are the true end.
    rest = Blob(shard, end).read()
    if len(rest) < 2 * tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DatasetError(f"{shard} is cut or damaged at byte {end}; copy the shard again")
    return members


def _published(shard: Path) -> Published:
    """The publishers' part that a shard belongs to, by its name."""
    last = shard.stem.rpartition("-")[2]
    return "validation" if last == "val" else "test" if last == "test" else "train"

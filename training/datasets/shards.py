"""Reader of WebDataset tar shards: `KEY.jpg`, `KEY.mask.png` (class numbers) and `KEY.json` per picture.

`classes.json` beside them names the class numbers. A shard called `NAME-val.tar` is the publishers'
validation part, `NAME-test.tar` their test part, any other their training part.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.datasets.sample import Blob, Dataset, DatasetError, MaskFile, Published, Sample


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
        listed = json.loads(path.read_text())
        names = {int(number): str(name) for number, name in dict(listed).items() if int(number) > 0}
    except (ValueError, TypeError) as error:  # no JSON or UTF-8, no object, or a key that is no number
        raise DatasetError(
            f'{path} cannot be used ({error}); an object such as {{"0": "good", "1": "crack"}} is expected'
        ) from error
    if sorted(names) != list(range(1, len(names) + 1)):
        raise DatasetError(f"{path} must number its classes 1, 2, 3 ... without a gap")
    return tuple(names[number] for number in sorted(names))


def _read_shard(shard: Path) -> Iterator[Sample]:
    members: dict[str, dict[str, Blob]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                members.setdefault(key, {})[kind] = Blob(shard, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise DatasetError(f"{shard} is not a plain tar shard ({error})") from error
    for key, files in members.items():
        if not {"jpg", "json"} <= set(files):
            raise DatasetError(f"{shard}: {key} must have a .jpg and a .json, found {sorted(files)}")
        facts = _facts(files["json"], f"{shard}: {key}.json")
        defective = facts["defective"]
        yield Sample(
            name=f"{shard.stem}/{key}",
            group=str(facts["group"]),
            source=str(facts["source"]),
            picture_class=",".join(facts.get("classes") or []) or facts.get("picture_class", "good"),
            defective=defective,
            image=files["jpg"],
            annotation=MaskFile(files["mask.png"]) if defective and "mask.png" in files else None,
            split=_published(shard),
        )


def _facts(blob: Blob, name: str) -> dict[str, Any]:
    """What the shard says of one picture; raises DatasetError where it lacks what every picture needs."""
    try:
        facts = dict(json.loads(blob.read()))
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{name} is not a JSON object ({error})") from error
    missing = sorted({"defective", "group", "source"} - set(facts))
    if missing:
        raise DatasetError(
            f"{name} lacks {', '.join(missing)}; each picture needs defective, group and source"
        )
    if not isinstance(facts["defective"], bool):
        raise DatasetError(f"{name}: defective must be true or false, found {facts['defective']!r}")
    return facts


def _published(shard: Path) -> Published:
    """The publishers' part that a shard belongs to, by its name."""
    last = shard.stem.rpartition("-")[2]
    return "validation" if last == "val" else "test" if last == "test" else "train"

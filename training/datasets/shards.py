"""Reader of WebDataset tar shards: `KEY.jpg`, `KEY.mask.png` (class numbers) and `KEY.json` per picture."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from training.datasets.sample import Blob, DatasetError, Sample


def read_classes(root: Path) -> tuple[str, ...]:
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


def read_shards(root: Path, pattern: str) -> list[Sample]:
    """Return every picture of the shards `root/pattern`, by index only: the bytes stay in the tar."""
    shards = sorted(root.glob(pattern))
    if not shards:
        raise DatasetError(f"{root} holds no shard {pattern}")
    return [sample for shard in shards for sample in _read_shard(shard)]


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
        facts = json.loads(files["json"].read())
        defective = bool(facts["defective"])
        yield Sample(
            name=f"{shard.stem}/{key}",
            group=str(facts["group"]),
            source=str(facts["source"]),
            picture_class=",".join(facts.get("classes") or []) or facts.get("picture_class", "good"),
            defective=defective,
            image=files["jpg"],
            mask=files.get("mask.png") if defective else None,
        )

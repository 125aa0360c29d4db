"""Content hashes of a run's images and labels, to detect changed data independently of file names."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from training.config import ConfigError
from training.data.sample import Blob, Dataset, Sample
from training.files import write_json

CONTENTS = "contents.json"  # in the run's folder
TRAINED_ON = "trained-on.json"  # beside the weights: hashes of the images they were trained on
DIGITS = 20  # hexadecimal digits kept of a hash: 80 bits
PLACES = ("where", "source")  # not hashed: paths for messages, which change if a set is moved


@dataclass(frozen=True)
class Content:
    """Hashes of an image's bytes and of its label (class, group and annotation)."""

    image: str
    label: str


_CONTENTS = TypeAdapter(dict[str, Content])
_HASHES = TypeAdapter(set[str])


def contents_of(dataset: Dataset) -> dict[str, Content]:
    """The content hashes of each image by name. Reads every file of the set, but decodes none."""
    return {sample.name: _content(sample, dataset.classes) for sample in dataset.samples}


def _content(sample: Sample, classes: tuple[str, ...]) -> Content:
    label = hashlib.sha256(repr((classes, sample.picture_class, sample.group)).encode())
    if sample.defective:
        _add(label, sample.annotation)
    return Content(hashlib.sha256(sample.image.read()).hexdigest()[:DIGITS], label.hexdigest()[:DIGITS])


def _add(digest: "hashlib._Hash", value: object) -> None:
    """Add the content of an annotation to the digest; for a file its bytes, not its path."""
    if isinstance(value, Blob):
        digest.update(hashlib.sha256(value.read()).digest())
    elif is_dataclass(value):
        digest.update(type(value).__name__.encode())
        for field in fields(value):
            if field.name not in PLACES:
                _add(digest, getattr(value, field.name))
    elif isinstance(value, (tuple, list)):
        digest.update(f"{len(value)};".encode())
        for each in value:
            _add(digest, each)
    elif isinstance(value, (set, frozenset)):
        _add(digest, sorted(value, key=repr))
    elif isinstance(value, Mapping):
        _add(digest, sorted(value.items(), key=repr))
    else:
        digest.update(f"{value!r};".encode())


def write_contents(path: Path, contents: Mapping[str, Content]) -> None:
    """Write contents.json."""
    write_json(path, _CONTENTS.dump_python(dict(contents), mode="json"))


def read_contents(path: Path) -> dict[str, Content]:
    """Read contents.json; raises ConfigError if it is truncated or invalid."""
    try:
        return _CONTENTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is not readable; remove the run's folder to begin anew") from error


def difference(before: Mapping[str, Content], now: Mapping[str, Content]) -> str | None:
    """Describe how a set has changed, with one example per kind; None if it has not."""
    new, gone = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
    both = sorted(now.keys() & before.keys())
    images = [name for name in both if now[name].image != before[name].image]
    labels = [name for name in both if now[name].label != before[name].label]
    found = {"new": new, "missing": gone, "another image": images, "labelled otherwise": labels}
    said = [f"{names[0]} is {what} ({len(names)} in all)" for what, names in found.items() if names]
    return "; ".join(said) or None


def write_trained_on(path: Path, hashes: Iterable[str]) -> None:
    """Write the hashes of the images that the weights were trained on."""
    write_json(path, sorted(set(hashes)))


def read_trained_on(path: Path) -> set[str]:
    """Read the hashes; empty without the file, as beside weights of earlier versions."""
    if not path.is_file():
        return set()
    try:
        return _HASHES.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is not readable; publish that bundle again") from error

"""Finds the images that annotation files name, anywhere below the root of a set.

Tools write the path on the annotator's machine: with backslashes, absolute, with `../..`, with an upload
prefix, or URL-encoded. The file name at the end of the path is nearly always correct.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from training.data.classes import GOOD
from training.data.groups import Groups
from training.data.listing import GOOD_FOLDERS, is_image_of_any_kind, is_picture, same_name, walk
from training.data.sample import Blob, DatasetError, Sample
from training.labels import LabelsConfig

_UPLOAD = re.compile(r"[0-9a-f]{8}-")  # prefix of uploaded files in Label Studio
_LOCAL = "?d="  # precedes the path in Label Studio's URLs of local files


class NamedImages:
    """All images below a root, searched by the names in annotation files."""

    def __init__(self, root: Path) -> None:
        """List the images below `root`."""
        self._root = root
        self.paths = [path for path in walk(root) if is_image_of_any_kind(path)]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[_key(path.name)].append(path)
        self._folders = {_key(path.parent.name) for path in self.paths if path.parent != root}

    def find(self, file: Path, name: str, part: str = "") -> Path:
        """Return the path of the image that `file` calls `name`.

        Searched are the folder of `file`, the root, `images/` and the folders called `part`. Otherwise
        the file name is searched below the root; of several matches, the one with most equal folder
        names is taken, and none if the folder that `name` gives is there without the image. Raises
        DatasetError if the image is missing, ambiguous or of an unsupported format.
        """
        written = name.rpartition(_LOCAL)[2].replace("\\", "/")
        decoded = unquote(written.partition("?")[0] if "://" in written else written)
        spellings = list(dict.fromkeys((written, decoded.replace("\\", "/"))))
        above = (file.parent, self._root, self._root / "images")
        places = (*above, self._root / part, self._root / "images" / part)
        direct = [Path(os.path.normpath(place / each)) for place in places for each in spellings]
        found = [path for path in direct if path.is_file() and path.is_relative_to(self._root)]
        beside = [path for path in found if path in direct[: len(spellings)]]
        exact = [path for path in found if path.as_posix().endswith(f"/{written}")]
        found = sorted(set(beside[:1] or exact or found)) or self._by_last_name(spellings)
        if len(found) == 1:
            if not is_picture(found[0]):
                raise DatasetError(
                    f"{file} names {name}, which is not read in that format: convert it to PNG"
                )
            return found[0]
        if found:
            folders = " and ".join(str(path.parent) for path in found)
            raise DatasetError(f"{file} names {name}, which lies in {folders}; keep one")
        outside = next((path for path in sorted(direct) if path.is_file()), None)
        if outside is not None:
            raise DatasetError(
                f"{file} names {outside}, which lies outside {self._root}; give the folder that holds both"
            )
        raise DatasetError(f"{file} names {name}, which is missing; it is looked for below {self._root}")

    def _by_last_name(self, spellings: Iterable[str]) -> list[Path]:
        """The images with that file name whose folder names match the path best."""
        for written in spellings:
            wanted = [_key(part) for part in written.split("/") if part not in ("", ".", "..")]
            if not wanted:
                continue
            for last in dict.fromkeys((wanted[-1], _UPLOAD.sub("", wanted[-1], count=1))):
                agreeing = {path: _agreement(path, wanted) for path in self._by_name.get(last, ())}
                most = max(agreeing.values(), default=0)
                is_of_another = not most and len(wanted) > 1 and wanted[-2] in self._folders
                if (
                    agreeing and not is_of_another
                ):  # its folder is here, without it: another image of that name
                    return sorted(path for path, each in agreeing.items() if each == most)
        return []


def unlisted(
    groups: Groups, images: NamedImages, used: Iterable[Path], labels: LabelsConfig, fix: str
) -> list[Sample]:
    """Return the images that no annotation file names as good samples.

    They count as good if the configuration says so or a folder in their path is called good. Raises
    DatasetError for all others, by folder; `fix` says what is wrong with them.
    """
    named, samples = set(used), []
    strays: dict[Path, list[Path]] = defaultdict(list)
    for path in images.paths:
        if path in named:
            continue
        folders = path.relative_to(groups.root).parts[:-1]
        if labels.unlisted == "good" or any(each.lower() in GOOD_FOLDERS for each in folders):
            samples.append(groups.sample(Blob(path), GOOD))
        else:
            strays[path.parent].append(path)
    if strays:
        raise DatasetError(
            "; ".join(_told(folder, paths, fix) for folder, paths in strays.items())
            + ", move it away, or say in the configuration that such images are good, labels: unlisted: good"
        )
    return samples


def _told(folder: Path, paths: list[Path], fix: str) -> str:
    more = f" ({len(paths)} such files in {folder})" if len(paths) > 1 else ""
    return f"{paths[0]} {fix}{more}"


def _agreement(path: Path, wanted: list[str]) -> int:
    """The number of equal folder names, counted from the image upwards."""
    own = [_key(part) for part in path.parts[-2::-1]]
    count = 0
    for mine, theirs in zip(own, wanted[-2::-1], strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _key(name: str) -> str:
    return same_name(name).casefold()

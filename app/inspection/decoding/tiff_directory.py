"""Read the directory of a TIFF: the tags of its first page; classic TIFF and BigTIFF, both byte orders.

Offsets and counts are checked against the file's length, and counts against what the image can need, before
any value is read. Only the tags in TAGS and the start of the description are looked at: others, such as
profiles, are never expanded.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import ImageAnimated, ImageTruncated, ImageUndecodable

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 266, 273, 274, 277, 278, 279
HIGHEST_VALUE, PLANAR, PREDICTOR, COLOUR_MAP = 281, 284, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, DEPTH = 332, 338, 339, 32997
TAGS = (
    *(NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS),
    *(ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, HIGHEST_VALUE, PLANAR, PREDICTOR, COLOUR_MAP),
    *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT),
    DEPTH,
)
DESCRIPTION, ASCII, DESCRIPTION_BYTES = 270, 2, 256
STACK = re.compile(rb"ImageJ=[^\n]*\n(?:[^\n]*\n)*?images=(\d{1,9})\n")  # of several images in one page
WHOLE_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

REDUCED, OLD_REDUCED = 1, 2  # values of NewSubfileType and SubfileType for a reduced copy
MOST_VALUES = 1 << 10  # of a tag other than a list of strips; a colour map has 768
MOST_ENTRIES = 1000  # of a directory; files with many tags have about a hundred
MOST_PAGES = 10  # cameras and scanners add one or two reduced copies

Numbers = NDArray[np.int64]


class Directory:
    """The tags of one page, and where the next page's directory lies (0 for none)."""

    def __init__(self, data: bytes, order: str, big: bool, at: int) -> None:
        self.order, self.length = order, len(data)
        self._data = data
        offset, counter = ("u8", "u8") if big else ("u4", "u2")
        begin = at + np.dtype(counter).itemsize
        entry = np.dtype([(n, order + t) for n, t in (("tag", "u2"), ("kind", "u2"), ("count", offset))])
        width = entry.itemsize + np.dtype(offset).itemsize
        count = int(self._numbers(counter, at)[0])
        if count > MOST_ENTRIES:
            raise ImageUndecodable(
                f"a directory of the TIFF lists {count} tags, more than {MOST_ENTRIES}; export it anew"
            )
        lines = self._numbers("u1", begin, count * width).reshape(count, width)
        entries = np.ascontiguousarray(lines[:, : entry.itemsize]).view(entry)[:, 0]
        self.next = int(self._numbers(offset, begin + count * width)[0])
        self._tags: dict[int, tuple[str, int, int]] = {}
        for n in np.flatnonzero(np.isin(entries["tag"], TAGS)).tolist():
            tag, kind, values = (int(each) for each in entries[n])
            if kind not in WHOLE_NUMBERS or tag in self._tags:
                raise ImageUndecodable(f"TIFF tag {tag} is of type {kind} or comes twice; export it anew")
            place = begin + n * width + entry.itemsize
            if values * np.dtype(WHOLE_NUMBERS[kind]).itemsize > width - entry.itemsize:
                place = int(self._numbers(offset, place)[0])
            self._tags[tag] = WHOLE_NUMBERS[kind], values, place

        self.description = self._start_of_description(entries, begin, width, offset)

    def _start_of_description(self, entries: NDArray[Any], begin: int, width: int, offset: str) -> bytes:
        """The first bytes of a description that does not fit into its entry; empty without one."""
        for n in np.flatnonzero((entries["tag"] == DESCRIPTION) & (entries["kind"] == ASCII)).tolist()[:1]:
            count, field = int(entries["count"][n]), np.dtype(offset).itemsize
            place = int(self._numbers(offset, begin + (n + 1) * width - field)[0])
            return self._data[place : place + min(count, DESCRIPTION_BYTES)] if count > field else b""
        return b""

    def _numbers(self, kind: str, at: int, count: int = 1) -> NDArray[np.integer[Any]]:
        of_file = np.dtype(self.order + kind)
        if at + count * of_file.itemsize > len(self._data):
            raise ImageTruncated("the file ends before what its directory lists; send it whole")
        return np.frombuffer(self._data, of_file, count, at)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def all(self, tag: int, *default: int) -> list[int]:
        """All values of a tag, or `default`."""
        if tag not in self._tags:
            return list(default)
        kind, count, at = self._tags[tag]
        if not 0 < count <= MOST_VALUES:
            raise ImageUndecodable(
                f"TIFF tag {tag} has {count} values, not 1 to {MOST_VALUES}; export it anew"
            )
        return [int(each) for each in self._numbers(kind, at, count)]

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag, or `default`."""
        return self.all(tag, default)[0]

    def size(self, tag: int, default: int = 0) -> int:
        """The first value of a tag; raises ImageUndecodable unless it is above 0."""
        if (value := self.one(tag, default)) <= 0:
            raise ImageUndecodable(f"TIFF tag {tag} must be a whole number above 0; export it anew")
        return value

    def listed(self, tag: int, needed: int, what: str) -> Numbers:
        """Read exactly `needed` offsets or byte counts, int64; raises an ImageError for zeros."""
        kind, count, at = self._tags.get(tag, ("u4", 0, 0))
        if count < needed:
            raise ImageTruncated(f"{count} of {needed} {what} are listed; send the whole image")
        if count > needed:  # the file would contain more than the image
            raise ImageUndecodable(
                f"{count} {what} are listed in TIFF tag {tag}, {needed} are due by the size; export it anew"
            )
        found = self._numbers(kind, at, needed)
        if not found.all():
            raise ImageTruncated(f"some of the {what} are listed as empty; send the whole image")
        if int(found.max()) > len(self._data):
            raise ImageTruncated(f"some of the {what} lie beyond the end of the file; send it whole")
        return found.astype(np.int64)


def directory(data: bytes) -> Directory:
    """Read the first page's directory; raises ImageAnimated unless other pages are reduced copies."""
    order, big = ("<" if data.startswith(b"II") else ">"), b"+" in data[2:4]
    kind, at = ("u8", 8) if big else ("u4", 4)
    if len(data) < at + np.dtype(kind).itemsize:
        raise ImageTruncated("the file ends within its header; send it whole")
    if big and np.frombuffer(data, order + "u2", 2, 4).tolist() != [8, 0]:
        raise ImageUndecodable("the BigTIFF's offsets are not of 8 bytes; export it anew")
    first = page = Directory(data, order, big, int(np.frombuffer(data, order + kind, 1, at)[0]))
    if _is_reduced(first):
        raise ImageAnimated("the first page is a smaller copy of another; send the full image by itself")
    if first.one(DEPTH, 1) > 1:
        raise ImageAnimated("the TIFF holds a volume of several slices; send each as an image of its own")
    if (stack := STACK.match(first.description)) and int(stack[1]) > 1:
        raise ImageAnimated(f"the TIFF is a stack of {int(stack[1])} images of ImageJ; send each by itself")
    for _ in range(MOST_PAGES):
        if not page.next:
            return first
        page = Directory(data, order, big, page.next)
        if not _is_reduced(page) or _area(page) >= _area(first):
            break
    raise ImageAnimated("the file holds several pages; send each as an image of its own")


def _is_reduced(page: Directory) -> bool:
    return bool(page.one(NEW_SUBFILE, 0) & REDUCED) or page.one(SUBFILE, 0) == OLD_REDUCED


def _area(page: Directory) -> int:
    return page.one(WIDTH, 0) * page.one(HEIGHT, 0)

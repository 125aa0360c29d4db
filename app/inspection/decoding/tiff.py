"""What a TIFF's directory says about its being whole, and about what Pillow would read wrongly.

Pillow leaves black what the directory does not list, and libtiff what it lists as empty.
"""

from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES, ROWS_PER_STRIP, PLANAR = 277, 278, 284
STRIP_OFFSETS, STRIP_COUNTS = 273, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
# None, LZW, Deflate, PackBits, Deflate by its old number, LZMA, Zstandard: of these libtiff notices a cut
# strip. It fills one of JPEG or fax.
READ_RIGHTLY = {1, 5, 8, 32773, 32946, 34925, 50000}
WHITE_IS_ZERO, SEPARATE_PLANES = 0, 2
MAX_TILE_PIXELS = 2048 * 2048  # of a tile larger than its picture; usual are 256 x 256
TILE_STEP = 16  # a tile's sides are multiples of it


def unsupported(tags: Mapping[int, Any]) -> str | None:
    """Why a TIFF with this directory might be read wrongly, and what would be right; or None."""
    compression = tags.get(COMPRESSION, 1)
    if compression not in READ_RIGHTLY:
        return (
            f"TIFF compression {compression} is not read, as a cut strip would go unnoticed; "
            "save it uncompressed, or with LZW or Deflate"
        )
    # a missing tag counts as 0, as Pillow has it
    if tags.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO and max(tags.get(BITS, (1,))) > 8:
        return "a 16 bit TIFF in which 0 is white is not read; save it with 0 as black (photometric 1)"
    return _bomb(tags)


def _bomb(tags: Mapping[int, Any]) -> str | None:
    """Why decoding one tile would take far more memory than the picture, whose own size was checked."""
    if TILE_WIDTH not in tags and TILE_HEIGHT not in tags:  # by these libtiff tells, not by the offsets
        return None
    width, height = _positive(tags, TILE_WIDTH), _positive(tags, TILE_HEIGHT)
    around = _up(_positive(tags, WIDTH)) * _up(_positive(tags, HEIGHT))
    if width * height > max(around, MAX_TILE_PIXELS):
        return f"the TIFF's tiles are of {width} x {height} pixels, more than its picture; save it in strips"
    return None


def _up(side: int) -> int:
    return _ceil(side, TILE_STEP) * TILE_STEP


def missing(tags: Mapping[int, Any]) -> str | None:
    """What the directory lacks of the strips or tiles that every plane needs, or None.

    Raises ValueError where a size in it makes no sense.
    """
    tiled = STRIP_OFFSETS not in tags
    planes = _positive(tags, SAMPLES, 1) if tags.get(PLANAR) == SEPARATE_PLANES else 1
    needed = planes * _per_plane(tags, tiled)
    offsets = tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = tags.get(TILE_COUNTS if tiled else STRIP_COUNTS)
    what = "tiles" if tiled else "strips"
    for places in (offsets,) if counts is None else (offsets, counts):
        if len(places) < needed:
            return f"{len(places)} of {needed} {what} are listed"
        if 0 in places[:needed]:
            return f"some of its {what} are listed as empty"
    return None


def _per_plane(tags: Mapping[int, Any], tiled: bool) -> int:
    width, height = _positive(tags, WIDTH), _positive(tags, HEIGHT)
    if tiled:
        return _ceil(width, _positive(tags, TILE_WIDTH)) * _ceil(height, _positive(tags, TILE_HEIGHT))
    return _ceil(height, _positive(tags, ROWS_PER_STRIP, height))


def _positive(tags: Mapping[int, Any], tag: int, default: int = 0) -> int:
    value = tags.get(tag, default)
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"TIFF tag {tag} must be a whole number above 0")
    return value


def _ceil(value: int, by: int) -> int:
    return -(-value // by)

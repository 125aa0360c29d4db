"""The layout of the image data in a TIFF, and a check that its encoding is supported.

Classic TIFF and BigTIFF, little and big endian. Values are checked against the file's length, and memory
is bounded by the image's size.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.inspection.decoding.tiff_directory import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    HEIGHT,
    HIGHEST_VALUE,
    INK_SET,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
    Numbers,
)
from app.inspection.errors import ImageTruncated, ImageUndecodable, ImageUnsupported

UNCOMPRESSED, LZW, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTANDARD = 1, 5, 8, 32773, 32946, 34925, 50000
# a truncated strip or tile is detected with these, but not with JPEG and fax
COMPRESSIONS = {UNCOMPRESSED, LZW, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTANDARD}
OTHER_COMPRESSIONS = {2: "fax", 3: "fax", 4: "fax", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 50001: "WebP"}
PREDICTED = COMPRESSIONS - {UNCOMPRESSED, PACKBITS}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
CHANNELS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4}  # of those read
OTHER_COLOURS = {4: "a transparency mask", 6: "YCbCr", 8: "CIELab", 9: "ICCLab", 32803: "a sensor's mosaic"}
DEPTHS = {1, 2, 4, *range(8, 17)}
UNSIGNED = {1, 4}  # unsigned, and undefined
OTHER_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
PLAIN, DIFFERENCES = 1, 2  # predictors
CHUNKY, SEPARATE = 1, 2  # planar configurations
TRANSPARENCY = 2  # a kind of extra sample; assumed if the kind is not stated

MOST_EXTRAS = 2
MOST_PIECES = 100_000  # strips or tiles
MOST_ACROSS = (
    4096  # tiles side by side: each is visited for every few lines, without end if they are 1 px wide
)
MAX_TILE_PIXELS = 2048 * 2048  # of a tile larger than its image; usually 256 x 256
TILE_STEP = 16  # the sides of a tile are multiples of it
MOST_PADDING = 16  # bytes of alignment after an uncompressed piece
REMEDY = "save it as 8 or 16 bit grey or RGB, uncompressed or with LZW or Deflate"

NOWHERE: Numbers = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The layout of the image in the file: `planes` grids of pieces, one after the other.

    A piece is a strip or a tile; a strip is as wide as the image. `piece` is its width and height. `colours`
    is the palette, uint8 [N, 3]. `highest` is the MaxSampleValue tag, 0 if missing.
    """

    order: str
    width: int
    height: int
    bits: int
    samples: int
    planes: int
    photometric: int
    compression: int
    predictor: int
    reversed_bits: bool
    extras: tuple[int, ...]
    highest: int
    tiled: bool
    piece: tuple[int, int]
    colours: NDArray[np.uint8] | None
    offsets: Numbers = field(repr=False)
    counts: Numbers = field(repr=False)

    @property
    def is_grey(self) -> bool:
        """Whether the image has one channel, not three."""
        return self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)

    @property
    def is_by_libtiff(self) -> bool:
        """Whether the compression is one that libtiff unpacks, a whole piece at once."""
        return self.compression not in (UNCOMPRESSED, DEFLATE, OLD_DEFLATE)

    @property
    def across(self) -> int:
        """Pieces per row of the grid."""
        return ceil_div(self.width, self.piece[0])

    @property
    def down(self) -> int:
        """Rows of pieces in one plane."""
        return ceil_div(self.height, self.piece[1])

    @property
    def together(self) -> int:
        """Interleaved samples per pixel: 1 for separate planes."""
        return self.samples // self.planes

    @property
    def line_bytes(self) -> int:
        """Bytes per line of a piece."""
        return ceil_div(self.piece[0] * self.together * self.bits, 8)

    def lines(self, row: int) -> int:
        """Lines of the pieces in a row of the grid: the last strip may be shorter, tiles are not."""
        return self.piece[1] if self.tiled else min(self.piece[1], self.height - row * self.piece[1])


def layout(tags: Directory) -> Layout:
    """Compute the layout; check the image's size first. Raises an ImageError if it is unsupported."""
    samples = tags.size(SAMPLES, 1)
    bits, photometric, extras = _check_encoding(tags, samples)
    width, height, tiled = tags.size(WIDTH), tags.size(HEIGHT), TILE_WIDTH in tags
    piece = _tile(tags) if tiled else (width, min(height, tags.size(ROWS_PER_STRIP, height)))
    planes = samples if tags.one(PLANAR, CHUNKY) == SEPARATE else 1
    found = Layout(
        order=tags.order,
        width=width,
        height=height,
        bits=bits,
        samples=samples,
        planes=planes,
        photometric=photometric,
        compression=tags.one(COMPRESSION, UNCOMPRESSED),
        predictor=tags.one(PREDICTOR, PLAIN),
        reversed_bits=tags.one(FILL_ORDER, 1) == 2,
        extras=extras,
        highest=tags.one(HIGHEST_VALUE, 0),
        tiled=tiled,
        piece=piece,
        colours=_palette(tags, bits) if photometric == PALETTE else None,
        offsets=NOWHERE,
        counts=NOWHERE,
    )
    offsets, counts = _places(tags, found)
    return replace(found, offsets=offsets, counts=counts)


def _check_encoding(tags: Directory, samples: int) -> tuple[int, int, tuple[int, ...]]:
    """Bits, photometric and kinds of extra samples; raises ImageUnsupported."""
    compression = tags.one(COMPRESSION, UNCOMPRESSED)
    if compression not in COMPRESSIONS:
        raise _unsupported(f"compression {compression} ({OTHER_COMPRESSIONS.get(compression, 'unknown')})")
    if PHOTOMETRIC not in tags:
        raise ImageUndecodable("the TIFF does not say whether 0 is black or white; export it anew")
    photometric = tags.one(PHOTOMETRIC, 0)
    if photometric not in CHANNELS or tags.one(INK_SET, 1) != 1:
        raise _unsupported(OTHER_COLOURS.get(photometric, f"photometric {photometric}"))
    if tags.one(PLANAR, CHUNKY) not in (CHUNKY, SEPARATE):
        raise _unsupported(f"planar configuration {tags.one(PLANAR, CHUNKY)}")
    bits = _bits(tags, 8 if photometric == PALETTE else 16)
    predictor = tags.one(PREDICTOR, PLAIN)
    fits = compression in PREDICTED and bits in (8, 16) and predictor == DIFFERENCES
    if predictor != PLAIN and not fits:
        raise _unsupported(f"predictor {predictor} with compression {compression} and {bits} bits")
    return bits, photometric, _extras(tags, samples, photometric)


def _bits(tags: Directory, most: int) -> int:
    """Bits per sample, the same for all samples; raises ImageUnsupported."""
    for kind in tags.all(SAMPLE_FORMAT, 1):
        if kind not in UNSIGNED:
            raise _unsupported(f"{OTHER_FORMATS.get(kind, 'unknown')} samples")
    depths = tags.all(BITS, 1)
    if len(set(depths)) > 1 or depths[0] not in DEPTHS or depths[0] > most:
        raise _unsupported(f"{', '.join(map(str, depths))} bits")
    return depths[0]


def _extras(tags: Directory, samples: int, photometric: int) -> tuple[int, ...]:
    """The kind of each extra sample."""
    more = samples - CHANNELS[photometric]
    if not 0 <= more <= MOST_EXTRAS:
        raise _unsupported(f"{samples} samples a pixel with photometric {photometric}")
    extras = tags.all(EXTRA_SAMPLES, *[TRANSPARENCY] * more)
    if more and len(extras) != more:
        raise _unsupported(f"{len(extras)} kinds for {more} extra samples")
    return tuple(extras[:more])


def _unsupported(what: str) -> ImageUnsupported:
    return ImageUnsupported(f"TIFF with {what} is not read; {REMEDY}")


def _tile(tags: Directory) -> tuple[int, int]:
    """Width and height of a tile; refused if a tile needs far more memory than the image."""
    width, height = tags.size(TILE_WIDTH), tags.size(TILE_HEIGHT)
    around = _up(tags.size(WIDTH)) * _up(tags.size(HEIGHT))
    if width * height > max(around, MAX_TILE_PIXELS):
        raise _unsupported(f"tiles of {width} x {height} pixels, more than its image,")
    return width, height


def _palette(tags: Directory, bits: int) -> NDArray[np.uint8]:
    """RGB of each palette index, uint8 [N, 3]; some writers store 8 bits where 16 are required."""
    values = np.array(tags.all(COLOUR_MAP, 0))
    if values.size != 3 << bits:
        raise ImageUndecodable(f"the palette has {values.size} values, not {3 << bits}; export it anew")
    return np.asarray(values.reshape(3, -1).T >> (8 if values.max() > 255 else 0), np.uint8)


def _places(tags: Directory, found: Layout) -> tuple[Numbers, Numbers]:
    """Offsets and byte counts of the pieces; checks that they lie in the file and do not overlap."""
    what = "tiles" if found.tiled else "strips"
    needed = found.planes * found.down * found.across
    if needed > MOST_PIECES:
        raise _unsupported(f"{needed} {what}, more than {MOST_PIECES},")
    if found.across > MOST_ACROSS:
        raise _unsupported(f"{found.across} {what} side by side, more than {MOST_ACROSS},")
    offsets, counts = (TILE_OFFSETS, TILE_COUNTS) if found.tiled else (STRIP_OFFSETS, STRIP_COUNTS)
    if offsets not in tags:  # some writers list tiles as strips
        offsets, counts = STRIP_OFFSETS, STRIP_COUNTS
    of_rows = [found.line_bytes * found.lines(n) for n in range(found.down)]
    due = np.tile(np.repeat(of_rows, found.across), found.planes)
    at = tags.listed(offsets, needed, what)
    if counts in tags:
        sizes = tags.listed(counts, needed, what)
    elif found.compression == UNCOMPRESSED:
        sizes = due
    else:
        raise ImageUndecodable(f"the TIFF does not say how long its {what} are; export it anew")
    if found.compression == UNCOMPRESSED:
        _check_sizes(sizes, due, found.line_bytes * found.piece[1], what)
    ends, order = at + sizes, np.argsort(at)
    if int(ends.max()) > tags.length:
        raise ImageTruncated(f"some of the {what} extend beyond the end of the file; send it whole")
    if (ends[order][:-1] > at[order][1:]).any():
        raise ImageUndecodable(f"some of the {what} overlap, so a size is wrong; export it anew")
    return at, sizes


def _check_sizes(sizes: Numbers, due: Numbers, whole: int, what: str) -> None:
    """Check that uncompressed pieces have the size of their lines; last strips may be padded."""
    if (sizes < due).any():
        raise ImageTruncated(f"some of the {what} are shorter than their lines; send the whole image")
    if ((sizes >= due + MOST_PADDING) & (sizes != whole)).any():
        raise ImageUndecodable(
            f"some of the {what} are longer than their lines, so width, bits or samples are stated "
            "wrongly; export it anew"
        )


def _up(side: int) -> int:
    return ceil_div(side, TILE_STEP) * TILE_STEP


def ceil_div(value: int, by: int) -> int:
    """A quotient rounded up."""
    return -(-value // by)

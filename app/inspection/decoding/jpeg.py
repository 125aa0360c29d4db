"""Decode JPEG files with libjpeg-turbo; its warnings are errors.

libjpeg warns if a scan or restart interval ends early, and often if bytes are damaged. It does not
notice a missing scan: a progressive image that was cut between two scans is only blurred. So the scan
headers are checked for completeness.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.depth import image_of_inks
from app.inspection.decoding.exif import PREFIX as EXIF
from app.inspection.decoding.exif import orientation_of
from app.inspection.errors import ImageTruncated, ImageUndecodable, ImageUnsupported

START, END = b"\xff\xd8", b"\xff\xd9"
SIGNATURE = START + b"\xff"
ANOTHER = re.compile(START + rb"\xff[\xc0-\xff]")
# A marker outside entropy-coded data: not a stuffed byte, a fill byte or a restart marker.
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, each with Huffman codes
OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
SCAN, APP1, APP2 = 0xDA, 0xE1, 0xE2
OTHERS_LISTED = b"MPF\0"  # start of a Multi-Picture Format list: reduced copies and similar
COEFFICIENTS = 64
MAX_SEGMENTS = 5000  # hundreds are already many; millions of empty ones would take minutes
MAX_SCANS = 100  # each pass decodes the whole image; encoders write about ten
END_EVERY = 1024  # bytes; of coded data, decoded in far less than a millisecond
MAX_INKED_PIXELS = 16_000_000  # of CMYK in several scans: twelve bytes a pixel, three of them decoded
MAX_SCANNED_PIXELS = 1_500_000_000  # pixels x scans: each scan takes about 10 ms for a million pixels
COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}  # by the number of components
CUT = ("premature end", "instead of rst")  # libjpeg warnings that mean missing data
HEXADECIMAL = re.compile(r"0x[0-9a-f]+")
OTHER_SAMPLING = "could not determine subsampling"


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan: its components, its coefficients first..last, and the lowest bit it codes.

    The coded data is data[start:end].
    """

    components: tuple[int, ...]
    first: int
    last: int
    lowest_bit: int
    start: int
    end: int


@dataclass(slots=True)
class Frame:
    """Content of the markers: bits per sample, component ids, scans, and EXIF data if any.

    `end` is the offset of the end marker. `lists_others` means that images after it are listed in the
    file.
    """

    bits: int
    components: tuple[int, ...]
    pixels: int
    scans: list[Scan] = field(default_factory=list)
    end: int = 0
    lists_others: bool = False
    exif: bytes = b""


@dataclass(frozen=True, slots=True)
class JpegFile:
    """A JPEG of which only the markers have been read."""

    data: bytes = field(repr=False)
    frame: Frame
    size: tuple[int, int]  # width, height

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return orientation_of(self.frame.exif)

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError. JPEGs always have 8 bits."""
        _check_cost(self.frame)
        colour = COLOURS[len(self.frame.components)]
        data = bytearray(self.data)  # a copy, so that the decoder can be stopped
        try:
            with cancellation.interrupting(partial(_end_early, data)):
                found: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                    data, colour, fastdct=False, fastupsample=False, strict=True
                )
        except ValueError as error:
            cancellation.check()
            raise _named(error) from error
        if colour == "GRAY":
            return found[..., 0]
        # CMYK values are stored inverted, by Adobe's convention
        return image_of_inks(found, cancellation, inverted=True) if colour == "CMYK" else found


def _check_cost(frame: Frame) -> None:
    """Refuse what takes more memory or time to decode than an image of its size may."""
    if len(frame.scans) > 1 and len(frame.components) == 4 and frame.pixels > MAX_INKED_PIXELS:
        raise ImageUnsupported(
            f"a CMYK JPEG of several scans and {frame.pixels} pixels is not read, at most {MAX_INKED_PIXELS} "
            "are: export it as baseline or RGB"
        )
    if len(frame.scans) * frame.pixels > MAX_SCANNED_PIXELS:
        raise ImageUnsupported(
            f"the JPEG has {len(frame.scans)} scans, too many for {frame.pixels} pixels; export as baseline"
        )


def _end_early(data: bytearray) -> None:
    """Let a decoder that is reading `data` on another thread meet an end marker, and so an error.

    libjpeg has no other way to be stopped. It reads each byte once and within bounds, so it may change.
    """
    bytes_of = np.frombuffer(data, np.uint8)
    for offset, value in enumerate(END):
        bytes_of[offset::END_EVERY] = value


def opened(data: bytes) -> JpegFile:
    """Read the markers only; raises an ImageError unless it is one complete, supported JPEG."""
    frame = read(data)
    if frame is None or not frame.scans:
        raise _without_image(data)
    if frame.bits != 8:
        raise ImageUnsupported(f"a JPEG of {frame.bits} bits is not read; export it with 8 bits, or as PNG")
    if len(frame.components) not in COLOURS:
        raise ImageUnsupported(f"a JPEG of {len(frame.components)} components is not read; export it as RGB")
    if len(frame.scans) > MAX_SCANS:
        raise ImageUnsupported(
            f"the JPEG has {len(frame.scans)} scans; at most {MAX_SCANS} are read: export it as baseline"
        )
    if some_scans_are_missing(frame):
        raise ImageTruncated(
            "the file ends before the image does (some of its scans are missing); send it whole"
        )
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: a chroma sampling unknown to simplejpeg
        raise _named(error) from error
    return JpegFile(data, frame, (width, height))


def read(data: bytes) -> Frame | None:
    """Read the frame and its scans; None for an unsupported kind of JPEG or a broken file.

    Raises ImageUndecodable for more segments than any camera writes.
    """
    frame, exif, lists_others, end = None, b"", False, 0
    try:
        for marker, content, end in _segments(data):
            if marker in FRAMES and frame is None:
                frame = _frame(content)
            elif marker == APP1 and content.startswith(EXIF):
                exif = exif or content
            elif marker == APP2:
                lists_others = lists_others or content.startswith(OTHERS_LISTED)
            elif marker == SCAN and frame is not None:
                scan = _scan(content, (end, _next(data, end)))
                if not set(scan.components) <= set(frame.components):
                    return None
                frame.scans.append(scan)
                end = scan.end
    except IndexError:  # a segment shorter than its kind needs
        return None
    if frame is not None:
        frame.end, frame.lists_others, frame.exif = _next(data, end), lists_others, exif
    return frame


def end_of(data: bytes, frame: Frame) -> int:
    """Offset of data after the JPEG image; the end of the file if the file lists those images."""
    return len(data) if frame.lists_others else frame.end + len(END)


def some_scans_are_missing(frame: Frame) -> bool:
    """Whether the scans lack some coefficient of a component in full precision."""
    found: dict[int, set[int]] = {each: set() for each in frame.components}
    for scan in frame.scans:
        if scan.lowest_bit == 0:
            for component in scan.components:
                found[component].update(range(scan.first, scan.last + 1))
    return any(len(each) < COEFFICIENTS for each in found.values())


def _without_image(data: bytes) -> ImageTruncated | ImageUndecodable | ImageUnsupported:
    if any(marker in OTHER_FRAMES for marker, *_ in _segments(data)):
        return ImageUnsupported("the JPEG is arithmetic, lossless or hierarchical; export it as baseline")
    if END not in data:
        return ImageTruncated("the file ends before the image does; send it whole")
    return ImageUndecodable("the file is broken: it begins as a JPEG but has no image; export it anew")


def _named(error: ValueError | KeyError) -> ImageTruncated | ImageUndecodable | ImageUnsupported:
    """Translate an error of libjpeg to an ImageError."""
    said = HEXADECIMAL.sub(lambda number: str(int(number[0], 16)), str(error))
    if any(each in said.lower() for each in CUT):
        return ImageTruncated(f"the file ends before the image does, or lacks a part ({said}); send it whole")
    if isinstance(error, KeyError) or OTHER_SAMPLING in said.lower():
        return ImageUnsupported(
            "the JPEG's chroma sampling is not read; export it as RGB in 4:4:4, 4:2:2 or 4:2:0"
        )
    return ImageUndecodable(f"the file is damaged ({said}); send it again, or export it anew")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment up to the end marker; skips coded data."""
    at, count = len(START) if data.startswith(START) else len(data), 0
    while (found := MARKER.search(data, at)) and found.group() != END:
        count += 1
        if count > MAX_SEGMENTS:
            raise ImageUndecodable(
                f"the file has more than {MAX_SEGMENTS} segments, too many for a camera; export it anew"
            )
        begin = found.end()
        at = begin + max(2, int.from_bytes(data[begin : begin + 2], "big"))
        yield found.group()[1], data[begin + 2 : at], at


def _next(data: bytes, at: int) -> int:
    found = MARKER.search(data, at)
    return found.start() if found else len(data)


def _frame(content: bytes) -> Frame | None:
    """Parse a frame header (ITU T.81, B.2.2); None if a size is 0."""
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    components = tuple(content[6 + 3 * n] for n in range(content[5]))
    return Frame(content[0], components, width * height) if height and width and components else None


def _scan(content: bytes, place: tuple[int, int]) -> Scan:
    """Parse a scan header (ITU T.81, B.2.3)."""
    count = content[0]
    components = tuple(content[1 + 2 * n] for n in range(max(1, count)))
    first, last, bits = content[1 + 2 * count], content[2 + 2 * count], content[3 + 2 * count]
    return Scan(components, first, last, bits & 15, *place)

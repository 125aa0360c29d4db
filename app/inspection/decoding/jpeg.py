"""What a JPEG's own markers say about its being whole.

libjpeg fills what a scan lacks with grey, or leaves it blurred, and succeeds. The markers tell what should be
there without decoding anything; for what they cannot tell, there are copies that decode differently if cut.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise

START, END = b"\xff\xd8", b"\xff\xd9"
ANOTHER = re.compile(START + rb"\xff[\xc0-\xff]")
# A marker that is no part of a scan's data: not a stuffed byte, not a fill byte, not a restart.
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
SEQUENTIAL = {0xC0, 0xC1}  # baseline and extended
FRAMES = SEQUENTIAL | {0xC2}  # and progressive: with Huffman's codes, as all that cameras make
SCAN, RESTART_INTERVAL, APP2 = 0xDA, 0xDD, 0xE2
OTHERS_LISTED = b"MPF\0"  # how a Multi-Picture file begins its list: smaller copies and the like
COEFFICIENTS = 64
MAX_SEGMENTS = 5000  # some hundreds are many; millions of empty ones would take minutes
ONE_BITS = b"\xff\x00" * 8
FILLING = (
    b"\xa5\x5a\xc3\x3c\x69" * 100
)  # no marker in it, and no code that stands for "nothing here" all along


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass over the picture: its components, its coefficients first..last, the lowest bit it brings.

    `interval` is the number of MCUs between restart markers, or 0; the coded data is data[start:end].
    """

    components: tuple[int, ...]
    first: int
    last: int
    lowest_bit: int
    interval: int
    start: int
    end: int


@dataclass(slots=True)
class Frame:
    """The picture's size in pixels, each component's sampling factors (across, down), and its scans.

    The picture's end marker is at data[end:], and `lists_others` tells that pictures behind it are meant.
    """

    kind: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]
    scans: list[Scan] = field(default_factory=list)
    end: int = 0
    lists_others: bool = False

    def mcus(self, scan: Scan) -> int:
        """How many MCUs, the units that restarts are counted in, a scan has (ITU T.81, A.2)."""
        across = max(each for each, _ in self.sampling.values())
        down = max(each for _, each in self.sampling.values())
        h, v = self.sampling[scan.components[0]] if len(scan.components) == 1 else (1, 1)
        width, height = _ceil(self.width * h, across), _ceil(self.height * v, down)
        return _ceil(width, 8) * _ceil(height, 8)


def read(data: bytes) -> Frame | None:
    """The frame and its scans; None for what is no JPEG of the usual kinds, or too broken to tell.

    Raises ValueError where it is cut into more segments than any camera makes.
    """
    frame, interval, lists_others = None, 0, False
    try:
        for marker, content, end in _segments(data):
            if marker in FRAMES and frame is None:
                frame = _frame(marker, content)
            elif marker == RESTART_INTERVAL:
                interval = int.from_bytes(content[:2], "big")
            elif marker == APP2:
                lists_others = lists_others or content.startswith(OTHERS_LISTED)
            elif marker == SCAN and frame is not None:
                scan = _scan(content, interval, (end, _next(data, end)))
                if not set(scan.components) <= set(frame.sampling):
                    return None
                frame.scans.append(scan)
                end = scan.end
    except IndexError:  # a segment shorter than its kind needs
        return None
    if frame is not None:
        frame.end, frame.lists_others = _next(data, end), lists_others
    return frame


def end_of(data: bytes, frame: Frame) -> int:
    """Where what a file holds behind its JPEG begins; its end where a list in it says what that is."""
    return len(data) if frame.lists_others else frame.end + len(END)


def missing(data: bytes, frame: Frame) -> str | None:
    """What a JPEG lacks by its own account, or None: passes over a component, or restart intervals."""
    found: dict[int, set[int]] = {each: set() for each in frame.sampling}
    for scan in frame.scans:
        expected = _ceil(frame.mcus(scan), scan.interval) - 1 if scan.interval else 0
        # some cameras close the last interval too
        found_here = islice(RESTART.finditer(data, scan.start, _closed(data, scan)), expected + 1)
        markers = [each[1][0] - 0xD0 for each in found_here]
        if len(markers) != expected or any(number != n % 8 for n, number in enumerate(markers)):
            return "its restart intervals are not all there, each once"
        if scan.lowest_bit == 0:
            for component in scan.components:
                found[component].update(range(scan.first, scan.last + 1))
    if any(len(each) < COEFFICIENTS for each in found.values()):
        return "some of its scans are missing"
    return None


def has_one_scan(frame: Frame) -> bool:
    """Whether the JPEG is sequential, of a single scan."""
    return frame.kind in SEQUENTIAL and len(frame.scans) == 1


def without_end(data: bytes, frame: Frame) -> bytes:
    """A sequential JPEG of one scan with a few one-bits behind that scan; anything else as it is.

    libjpeg fills a scan that meets a marker too early, and succeeds. Without the marker it asks for more
    bytes instead, and Pillow raises. A whole scan never uses the bits in its place, which are no valid
    code; the decoder only wants some to look ahead at. Several scans are read up to the end marker in any
    case, so that there it would tell nothing; `filled` does.
    """
    if not has_one_scan(frame) or frame.scans[0].end == len(data):
        return data
    return data[: _closed(data, frame.scans[0])] + ONE_BITS


def filled(data: bytes, frame: Frame) -> bytes:
    """The JPEG with some bytes added at the end of each scan: a whole one still decodes to the same pixels.

    A scan that has all its data is done before it comes to them. One that was cut takes them for the rest.
    """
    cuts = [0, *(_closed(data, scan) for scan in frame.scans), len(data)]
    return FILLING.join(data[begin:end] for begin, end in pairwise(cuts))


def _closed(data: bytes, scan: Scan) -> int:
    """Where a scan's data ends, less a restart marker that closes its last interval."""
    last = scan.end - 2
    return last if last >= scan.start and RESTART.match(data, last) else scan.end


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of every segment up to the end marker; a scan's coded data is passed over."""
    at, count = len(START) if data.startswith(START) else len(data), 0
    while (found := MARKER.search(data, at)) and found.group() != END:
        count += 1
        if count > MAX_SEGMENTS:
            raise ValueError(f"it is cut into more than {MAX_SEGMENTS} segments")
        begin = found.end()
        at = begin + max(2, int.from_bytes(data[begin : begin + 2], "big"))
        yield found.group()[1], data[begin + 2 : at], at


def _next(data: bytes, at: int) -> int:
    found = MARKER.search(data, at)
    return found.start() if found else len(data)


def _frame(kind: int, content: bytes) -> Frame | None:
    """A frame header (ITU T.81, B.2.2); None where its sizes make no sense."""
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    parts = [content[6 + 3 * n : 9 + 3 * n] for n in range(content[5])]
    sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts}
    sound = height and width and sampling and all(h and v for h, v in sampling.values())
    return Frame(kind, width, height, sampling) if sound else None


def _scan(content: bytes, interval: int, place: tuple[int, int]) -> Scan:
    """A scan header (ITU T.81, B.2.3)."""
    count = content[0]
    components = tuple(content[1 + 2 * n] for n in range(max(1, count)))
    first, last, bits = content[1 + 2 * count], content[2 + 2 * count], content[3 + 2 * count]
    return Scan(components, first, last, bits & 15, interval, *place)


def _ceil(value: int, by: int) -> int:
    return -(-value // by)

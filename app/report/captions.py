"""Captions beside the defects they name; they cover neither each other nor, if possible, a defect."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # x, y, width, height
Colour = tuple[int, int, int]  # BGR

MOST = 12  # more would hide the surface
ROWS_AWAY = 4  # largest distance of a caption from its defect, in captions
SCALE = 0.45  # of the font, per px of stroke
SMALL_SIDE, SMALL_SCALE = 480, 0.35  # px; up to this long side, letters are smaller to hide less
FONT = cv2.FONT_HERSHEY_SIMPLEX  # from OpenCV 5 on it has letters beyond ASCII
PLATE: Colour = (32, 32, 32)
TEXT: Colour = (240, 240, 240)


@dataclass(frozen=True, slots=True)
class Caption:
    """Lines of text about a box of the canvas."""

    lines: tuple[str, ...]
    box: Box
    colour: Colour


@dataclass(frozen=True, slots=True)
class _Type:
    """The size of the letters on a canvas, in px."""

    stroke: int
    scale: float
    line: int
    below: int

    @classmethod
    def of(cls, canvas: NDArray[np.uint8], stroke: int) -> "_Type":
        scale = SMALL_SCALE if max(canvas.shape[:2]) <= SMALL_SIDE else SCALE * stroke
        (_, height), below = cv2.getTextSize("Äg", FONT, scale, stroke)
        return cls(stroke, scale, height + below + stroke, below)

    def plate(self, lines: Sequence[str]) -> tuple[int, int]:
        """Width and height in px of the plate for some lines."""
        sizes = [cv2.getTextSize(_printable(line), FONT, self.scale, self.stroke)[0] for line in lines]
        return max(width for width, _ in sizes) + 6 * self.stroke, self.line * len(lines) + 2 * self.stroke


def write(
    canvas: NDArray[np.uint8], captions: Sequence[Caption], defective: NDArray[np.uint8], stroke: int
) -> None:
    """Write the first MOST captions, each beside its box; one without a free place is left out.

    `canvas` is BGR [H, W, 3]; `defective` [H, W] is not 0 where plates should not lie.
    """
    letters = _Type.of(canvas, stroke)
    placed: list[tuple[Caption, Box]] = []
    for caption in captions[:MOST]:
        plate = _place(caption, letters, defective, [each for _, each in placed])
        if plate is not None:
            placed.append((caption, plate))
    for caption, plate in placed:
        _leader(canvas, caption, plate, stroke)
    for caption, plate in placed:
        _plate(canvas, caption, plate, letters)


def label(canvas: NDArray[np.uint8], text: str, at: tuple[int, int], stroke: int) -> Box:
    """Write one line on a plate with its corner at (x, y), moved onto the canvas; returns its box."""
    letters = _Type.of(canvas, stroke)
    size = letters.plate((text,))
    x, y = _inside(at, size, canvas.shape[1::-1])
    _plate(canvas, Caption((text,), (x, y, 0, 0), TEXT), (x, y, *size), letters)
    return x, y, *size


def _place(
    caption: Caption, letters: _Type, defective: NDArray[np.uint8], taken: Sequence[Box]
) -> Box | None:
    """The nearest of the free plates that cover fewest defect pixels; None if none is free."""
    best, least = None, defective.size
    for plate in _plates(caption, letters, (defective.shape[1], defective.shape[0])):
        if any(_overlap(plate, other) for other in taken):
            continue
        x, y, width, height = plate
        covered = int(np.count_nonzero(defective[y : y + height, x : x + width]))
        if covered < least:
            best, least = plate, covered
        if covered == 0:
            break
    return best


def _plates(caption: Caption, letters: _Type, size: tuple[int, int]) -> Iterator[Box]:
    """Possible plates of a caption, nearest first, all inside a canvas of `size`."""
    x, y, width, height = caption.box
    gap = 2 * letters.stroke
    wide, high = letters.plate(caption.lines)
    for away in range(ROWS_AWAY):
        up, down = y - gap - high - away * (high + gap), y + height + gap + away * (high + gap)
        left, right = x - gap - wide - away * wide // 2, x + width + gap + away * wide // 2
        for at_x, at_y in (
            *((x, up), (x, down), (right, y), (left, y)),
            *((x + width - wide, up), (x + width - wide, down), (right, up), (left, down)),
        ):
            yield *_inside((at_x, at_y), (wide, high), size), wide, high


def _inside(at: tuple[int, int], size: tuple[int, int], canvas: Sequence[int]) -> tuple[int, int]:
    """The plate's corner, moved so that as much of the plate as possible is on the canvas."""
    return max(0, min(at[0], canvas[0] - size[0])), max(0, min(at[1], canvas[1] - size[1]))


def _overlap(one: Box, other: Box) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def _leader(canvas: NDArray[np.uint8], caption: Caption, plate: Box, stroke: int) -> None:
    """Draw a line from a plate to its box if they are too far apart to see that they belong together."""
    box = caption.box
    apart = max(max(plate[k] - box[k] - box[k + 2], box[k] - plate[k] - plate[k + 2]) for k in (0, 1))
    if apart > 4 * stroke:
        ends = [_nearest(plate, box), _nearest(box, plate)]
        cv2.line(canvas, ends[0], ends[1], PLATE, 3 * stroke, cv2.LINE_AA)
        cv2.line(canvas, ends[0], ends[1], caption.colour, stroke, cv2.LINE_AA)


def _nearest(box: Box, other: Box) -> tuple[int, int]:
    """The point of a box nearest to the centre of another."""
    x, y = (
        max(box[axis], min(other[axis] + other[axis + 2] // 2, box[axis] + box[axis + 2] - 1))
        for axis in (0, 1)
    )
    return x, y


def _plate(canvas: NDArray[np.uint8], caption: Caption, plate: Box, letters: _Type) -> None:
    x, y, width, height = plate
    stroke = letters.stroke
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), PLATE, cv2.FILLED)
    cv2.rectangle(canvas, (x, y), (x + 2 * stroke - 1, y + height - 1), caption.colour, cv2.FILLED)
    for row, line in enumerate(caption.lines, start=1):
        at = (x + 4 * stroke, y + stroke + row * letters.line - letters.below)
        cv2.putText(canvas, _printable(line), at, FONT, letters.scale, TEXT, stroke, cv2.LINE_AA)


def _printable(text: str) -> str:
    """The text with `?` for unprintable characters: clients choose names, and OpenCV may crash on them."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(letter if letter.isprintable() else "?" for letter in composed)

"""Decode raw camera frames, in GenICam pixel formats, to 8-bit pixels.

Names and layouts follow the GenICam Pixel Format Naming Convention (PFNC) and the older GigE Vision 1.x.
More than 8 bits are reduced to 8 as in files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import gcd
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.depth import AT_ONCE, Levels, blocks, narrowed
from app.inspection.errors import FrameMismatch, ImageTooSmall, ImageUnsupported

Pixels = NDArray[np.uint8]
Samples = NDArray[np.integer[Any]]
Unpack = Callable[[Pixels], Samples]
Colour = Callable[[Pixels], Pixels]

MARGIN = 4  # lines: interpolation needs one, and an even number keeps the pattern of a mosaic
LEAST_MOSAIC_SIDE = 3  # px; OpenCV returns black for smaller images

# Old names and their PFNC names; Mono12Packed and similar formats have no PFNC name.
GIGE_VISION_1 = {
    "RGB8Packed": "RGB8",
    "BGR8Packed": "BGR8",
    "RGBA8Packed": "RGBa8",
    "BGRA8Packed": "BGRa8",
    "RGB10Packed": "RGB10",
    "BGR10Packed": "BGR10",
    "RGB12Packed": "RGB12",
    "BGR12Packed": "BGR12",
    "YUV422Packed": "YUV422_8_UYVY",
    "YUV422_YUYV_Packed": "YUV422_8",
}


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A raw camera frame; `stride` is the bytes from line to line, None without padding."""

    data: bytes = field(repr=False)
    width: int
    height: int
    pixel_format: str
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class _Packing:
    """How samples are packed in a line: the samples of `pixels` pixels take `size` bytes.

    `unpack` converts whole lines, uint8 [H, bytes], to samples [H, samples]. `bits` are the significant
    bits of a two-byte sample; None if the format does not say.
    """

    pixels: int
    size: int
    unpack: Unpack
    bits: int | None = 8


def decode_frame(
    frame: RawFrame, significant_bits: int | None = None, cancellation: Cancellation = NEVER
) -> Pixels:
    """Decode a frame to uint8 [H, W] (grey) or [H, W, 3] (RGB); without a copy if possible.

    The number of bytes is checked before anything is allocated. `significant_bits` applies to 16-bit
    formats only. Raises ImageUnsupported, FrameMismatch, ImageTooSmall.
    """
    packing, colour = _format(frame.pixel_format)
    line = _line_bytes(frame, packing)
    stride = line if frame.stride is None else frame.stride
    if stride < line:
        raise FrameMismatch(
            f"the stride is {stride} bytes; a line of {frame.width} pixels in {frame.pixel_format} "
            f"takes {line}, and its padding more"
        )
    due = stride * frame.height
    if len(frame.data) != due:
        raise FrameMismatch(
            f"the frame has {len(frame.data)} bytes; {frame.width} x {frame.height} pixels in "
            f"{frame.pixel_format} with {stride} bytes a line are {due}"
        )
    if frame.pixel_format.startswith("Bayer") and min(frame.width, frame.height) < LEAST_MOSAIC_SIDE:
        raise ImageTooSmall(f"a Bayer frame needs {LEAST_MOSAIC_SIDE} pixels or more each way")
    lines = np.frombuffer(frame.data, np.uint8).reshape(frame.height, stride)[:, :line]
    bits = 8
    if packing.unpack is _two_bytes:
        levels = Levels(packing.bits or significant_bits)
        for rows in blocks(lines, cancellation):
            levels.add(_two_bytes(lines[rows]))
        bits = levels.bits()
    elif colour is _grey and packing.unpack is _as_they_are:
        return np.ascontiguousarray(lines)
    return _in_blocks(lines, lambda part: colour(narrowed(packing.unpack(part), bits)), cancellation)


def _in_blocks(lines: Pixels, convert: Colour, cancellation: Cancellation) -> Pixels:
    """All lines converted, some at a time, with MARGIN lines around them for the sake of a mosaic."""
    out: Pixels | None = None
    step = max(MARGIN, AT_ONCE // lines.shape[1] // MARGIN * MARGIN)
    for first in range(0, len(lines), step):
        cancellation.check()
        above = min(first, MARGIN)
        block = convert(lines[first - above : first + step + MARGIN])[above : above + step]
        if out is None:
            out = np.empty((len(lines), *block.shape[1:]), np.uint8)
        out[first : first + step] = block
    assert out is not None, "a frame has lines"
    return out


def _format(name: str) -> tuple[_Packing, Colour]:
    if name not in FORMATS:
        raise ImageUnsupported(f"pixel format {name!r} is not read; right are {', '.join(FORMATS)}")
    return FORMATS[name]


def _line_bytes(frame: RawFrame, packing: _Packing) -> int:
    together = packing.pixels
    if frame.width % together:
        raise FrameMismatch(
            f"{frame.pixel_format} packs {together} pixels together; "
            f"the width must be a multiple of {together}, not {frame.width}"
        )
    return frame.width // together * packing.size


def _as_they_are(lines: Pixels) -> Pixels:
    return lines


def _two_bytes(lines: Pixels) -> Samples:
    return lines.view("<u2")


def _bit_by_bit(lines: Pixels, bits: int) -> Pixels:
    """The high 8 bits of samples packed without gaps, least significant bits first."""
    together = 8 // gcd(bits, 8)  # samples per group of whole bytes
    groups = lines.reshape(len(lines), -1, bits * together // 8)
    samples = np.empty((*groups.shape[:2], together), np.uint8)
    for n in range(together):
        at, shift = divmod((n + 1) * bits - 8, 8)
        samples[..., n] = groups[..., at] >> shift
        if shift:
            samples[..., n] |= groups[..., at + 1] << (8 - shift)  # uint8: higher bits are cut off
    return samples.reshape(len(lines), -1)


def _gige_packed(lines: Pixels) -> Pixels:
    """GigE Vision packing of two samples in three bytes: the middle byte has the low bits of both."""
    return lines.reshape(len(lines), -1, 3)[..., ::2].reshape(len(lines), -1)


def _grey(samples: Pixels) -> Pixels:
    return samples


def _rgb(samples: Pixels, channels: int, order: slice) -> Pixels:
    """Select three of `channels` channels; a camera's fourth channel is not transparency."""
    return samples.reshape(len(samples), -1, channels)[..., order]


def _converted(samples: Pixels, conversion: int) -> Pixels:
    return np.asarray(cv2.cvtColor(samples, conversion), np.uint8)


def _mosaic(samples: Pixels, conversion: int) -> Pixels:
    return _converted(np.ascontiguousarray(samples), conversion)


def _luma_chroma(samples: Pixels, order: str) -> Pixels:
    """Convert lines of YUV 4:2:2 to RGB; `order` has Y, U and V of two pixels, as in `YUYV`."""
    pairs = samples.reshape(len(samples), -1, 4)
    luma = pairs[..., [n for n, letter in enumerate(order) if letter == "Y"]].reshape(len(samples), -1)
    blue, red = (np.repeat(pairs[..., order.index(letter)], 2, axis=1) for letter in "UV")
    return _converted(np.dstack((luma, red, blue)), cv2.COLOR_YCrCb2RGB)


def _formats() -> dict[str, tuple[_Packing, Colour]]:
    deep: dict[str, int | None] = {"10": 10, "12": 12, "14": 14, "16": None}
    depths = {"8": _Packing(1, 1, _as_they_are)}
    depths |= {name: _Packing(1, 2, _two_bytes, bits) for name, bits in deep.items()}
    for bits, pixels, size in ((10, 4, 5), (12, 2, 3), (14, 4, 7)):
        depths[f"{bits}p"] = _Packing(pixels, size, partial(_bit_by_bit, bits=bits))
    depths |= {f"{bits}Packed": _Packing(2, 3, _gige_packed) for bits in (10, 12)}
    # named by the upper left 2 x 2 pixels, as in GenICam; OpenCV's short names are shifted
    patterns: dict[str, int] = {
        "RG": cv2.COLOR_BayerRGGB2RGB,
        "GR": cv2.COLOR_BayerGRBG2RGB,
        "GB": cv2.COLOR_BayerGBRG2RGB,
        "BG": cv2.COLOR_BayerBGGR2RGB,
    }
    families: dict[str, Colour] = {"Mono": _grey}
    families |= {f"Bayer{name}": partial(_mosaic, conversion=each) for name, each in patterns.items()}
    found = {f + depth: (packing, to) for f, to in families.items() for depth, packing in depths.items()}
    for name, order in (("RGB", slice(0, 3)), ("BGR", slice(2, None, -1))):
        found[f"{name}8"] = _Packing(1, 3, _as_they_are), partial(_rgb, channels=3, order=order)
        found[f"{name}a8"] = _Packing(1, 4, _as_they_are), partial(_rgb, channels=4, order=order)
        for depth, used in deep.items():
            found[name + depth] = _Packing(1, 6, _two_bytes, used), partial(_rgb, channels=3, order=order)
    orders = {"YUV422_8": "YUYV", "YUV422_8_UYVY": "UYVY", "YCbCr422_8": "YUYV", "YCbCr422_8_CbYCrY": "UYVY"}
    pair = _Packing(2, 4, _as_they_are)
    found |= {name: (pair, partial(_luma_chroma, order=order)) for name, order in orders.items()}
    return found | {old: found[new] for old, new in GIGE_VISION_1.items()}


FORMATS: Mapping[str, tuple[_Packing, Colour]] = _formats()

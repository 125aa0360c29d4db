"""From a camera's buffer to 8-bit pixels: frames as the sensor gives them, named as GenICam names them.

Names and layouts are those of the Pixel Format Naming Convention, PFNC. 10, 12 and 16 bits become 8 by
dropping low bits, for every frame alike, as for files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import FrameMismatch, ImageTooSmall, ImageUnsupported

Pixels = NDArray[np.uint8]
Unpack = Callable[[Pixels], Pixels]

LEAST_MOSAIC_SIDE = 3  # px; OpenCV gives black below
FULL_SCALE = 4096  # what 12 bits stay below


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as it lies in a camera's buffer; `stride` is bytes from line to line, None without padding."""

    data: bytes = field(repr=False)
    width: int
    height: int
    pixel_format: str
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class _Packing:
    """How samples lie in a line: those of `pixels` together take `size` bytes.

    `unpack` takes whole lines, uint8 [H, bytes], and gives their samples in 8 bits, [H, samples].
    """

    pixels: int
    size: int
    unpack: Unpack


def decode_frame(frame: RawFrame) -> Pixels:
    """The pixels of a frame, uint8 [H, W] (grey) or [H, W, 3] (RGB); without a copy where they lie ready.

    Nothing is allocated before the bytes are counted. Raises ImageUnsupported, FrameMismatch, ImageTooSmall.
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
    return np.ascontiguousarray(colour(packing.unpack(lines)))


def _format(name: str) -> tuple[_Packing, Unpack]:
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


def _two_bytes(lines: Pixels, bits: int) -> Pixels:
    """The high 8 of `bits` in 16, little endian."""
    values = lines.view("<u2")
    highest = int(values.max())
    if highest >> bits:
        raise FrameMismatch(
            f"the frame holds {highest}, but {bits} bits go up to {(1 << bits) - 1}: name the depth it has"
        )
    if bits == 16 and highest < FULL_SCALE:
        raise ImageUnsupported(
            "no value of the 16 bit frame reaches 4096: it looks like 10 or 12 bits, or is black all over; "
            "name the depth that the camera gives, such as Mono12"
        )
    samples = np.empty(values.shape, np.uint8)
    np.right_shift(values, bits - 8, out=samples, casting="unsafe")
    return samples


def _ten_bits(lines: Pixels) -> Pixels:
    """The high 8 bits of four 10-bit samples in five bytes, the first one's low bits first."""
    groups = lines.reshape(len(lines), -1, 5)
    samples = np.empty((*groups.shape[:2], 4), np.uint8)
    for n in range(4):  # the byte beyond holds the high bits, shifted out of 8 and so cut off at the left
        samples[..., n] = groups[..., n] >> (2 + 2 * n) if n < 3 else 0
        samples[..., n] |= groups[..., n + 1] << (6 - 2 * n)
    return samples.reshape(len(lines), -1)


def _twelve_bits(lines: Pixels) -> Pixels:
    """The high 8 bits of two 12-bit samples in three bytes, the first one's low bits first."""
    groups = lines.reshape(len(lines), -1, 3)
    samples = np.empty((*groups.shape[:2], 2), np.uint8)
    samples[..., 0] = (groups[..., 0] >> 4) | (groups[..., 1] << 4)
    samples[..., 1] = groups[..., 2]
    return samples.reshape(len(lines), -1)


def _gige_packed(lines: Pixels) -> Pixels:
    """As GigE Vision packs two samples: the middle one of three bytes holds the low bits of both."""
    return lines.reshape(len(lines), -1, 3)[..., ::2].reshape(len(lines), -1)


def _grey(samples: Pixels) -> Pixels:
    return samples


def _rgb(samples: Pixels) -> Pixels:
    return samples.reshape(len(samples), -1, 3)


def _converted(samples: Pixels, conversion: int) -> Pixels:
    return np.asarray(cv2.cvtColor(samples, conversion), np.uint8)


def _bgr(samples: Pixels) -> Pixels:
    return _converted(_rgb(samples), cv2.COLOR_BGR2RGB)


def _mosaic(samples: Pixels, conversion: int) -> Pixels:
    return _converted(np.ascontiguousarray(samples), conversion)


def _luma_chroma(samples: Pixels, order: str) -> Pixels:
    """RGB of lines that hold, for every two pixels, Y twice and U and V once, in the order named."""
    pairs = samples.reshape(len(samples), -1, 4)
    luma = pairs[..., [n for n, letter in enumerate(order) if letter == "Y"]].reshape(len(samples), -1)
    blue, red = (np.repeat(pairs[..., order.index(letter)], 2, axis=1) for letter in "UV")
    return _converted(np.dstack((luma, red, blue)), cv2.COLOR_YCrCb2RGB)


def _formats() -> dict[str, tuple[_Packing, Unpack]]:
    depths = {"8": _Packing(1, 1, _as_they_are)}
    depths |= {str(bits): _Packing(1, 2, partial(_two_bytes, bits=bits)) for bits in (10, 12, 16)}
    depths |= {"10p": _Packing(4, 5, _ten_bits), "12p": _Packing(2, 3, _twelve_bits)}
    depths |= {f"{bits}Packed": _Packing(2, 3, _gige_packed) for bits in (10, 12)}
    # by the upper left 2 x 2 pixels, as GenICam does: OpenCV's short names say where its own window begins
    patterns: dict[str, int] = {
        "RG": cv2.COLOR_BayerRGGB2RGB,
        "GR": cv2.COLOR_BayerGRBG2RGB,
        "GB": cv2.COLOR_BayerGBRG2RGB,
        "BG": cv2.COLOR_BayerBGGR2RGB,
    }
    families: dict[str, Unpack] = {"Mono": _grey}
    families |= {f"Bayer{name}": partial(_mosaic, conversion=each) for name, each in patterns.items()}
    found = {f + depth: (packing, to) for f, to in families.items() for depth, packing in depths.items()}
    found |= {"RGB8": (_Packing(1, 3, _as_they_are), _rgb), "BGR8": (_Packing(1, 3, _as_they_are), _bgr)}
    orders = {"YUV422_8": "YUYV", "YUV422_8_UYVY": "UYVY", "YCbCr422_8": "YUYV", "YCbCr422_8_CbYCrY": "UYVY"}
    pair = _Packing(2, 4, _as_they_are)
    return found | {name: (pair, partial(_luma_chroma, order=order)) for name, order in orders.items()}


FORMATS: Mapping[str, tuple[_Packing, Unpack]] = _formats()

"""From the bytes of an upload to upright 8-bit pixels, or to a named error; never to a half-read picture.

Pillow decodes, not OpenCV: OpenCV fills what a cut file lacks with grey and says nothing, and grey has no
cracks.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from app.inspection.decoding import jpeg, png, tiff
from app.inspection.decoding.raw import RawFrame, decode_frame
from app.inspection.errors import (
    ImageAnimated,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
    ReferenceMaskInvalid,
    ReferenceMaskSizeMismatch,
    ReferenceMaskUnreadable,
)

# Both are switches of the whole process. Pillow's own limit would warn, or fail, at a number of pixels that
# is not ours, and a truncated picture must stay an error whatever another library would like.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

LOSSLESS = ("PNG", "BMP", "TIFF")
FORMATS = ("JPEG", *LOSSLESS)
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY_MODES = ("L", "1")
GREY16_MODES = ("I;16", "I;16L", "I;16B")
BMP_RUNS = (1, 2)  # compression of 8 and of 4 bits
COLOUR_MODES = ("RGB", "P", "CMYK", "YCbCr")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")

# What Pillow raises on broken files, found by mutating some. A Warning arrives as an exception only where
# the process asked for that, as tests do.
BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, Warning,
)  # fmt: skip

SEVERAL = "the file holds several {}; send each as a picture of its own"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")  # of an object, in what an exception says

MAX_SCANS = 100  # each goes over the whole picture; encoders make about ten
MAX_READS = 100_000  # by which Pillow takes a file; a real picture needs some thousands
DEEP_LEVELS = 4096 >> 8  # what 12 bits in a 16-bit file stay below, once they are 8
WHITE = 255  # of a reference mask without classes
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How large an upload may be: bytes as uploaded, pixels once decoded; and its shortest side in pixels."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000
    min_side_px: int = 1


def decode(
    data: bytes | RawFrame, limits: DecodeLimits, check_shape: Callable[[int, int], object] | None = None
) -> NDArray[np.uint8]:
    """Decode JPEG, PNG, BMP, TIFF or a raw frame to uint8 [H, W] (grey) or [H, W, 3] (RGB).

    Files are turned upright as their EXIF says. Limits are checked on the header, before a pixel is
    allocated; so is what `check_shape`, given the stored height and width, raises. 16 bits become 8 by
    dropping the low byte, for every picture alike: a scale chosen per picture would make scores incomparable.
    But 10 or 12 bits in a 16-bit file, of which nearly black would remain, are refused. Raises an ImageError.
    """
    _check_bytes(data.data if isinstance(data, RawFrame) else data, limits)
    if isinstance(data, RawFrame):
        _check_shape((data.width, data.height), limits, check_shape)
        return decode_frame(data)
    image, frame = _open(data, FORMATS)
    _check_shape(image.size, limits, check_shape)
    deep = _is_16_bit(image)
    pixels = _pixels(_load(image, data, frame))
    if deep and pixels.max() < DEEP_LEVELS:
        raise ImageUnsupported(
            "no value of the 16 bit picture reaches 4096: it looks like 10 or 12 bits in a 16-bit file, or "
            "is black all over; camera data must be shifted to the full 16 bits"
        )
    return pixels


def decode_reference_mask(
    data: bytes, shape: tuple[int, int], n_classes: int
) -> tuple[NDArray[np.uint8], bool]:
    """Decode a reference mask to (label map uint8 [H, W], whether it tells classes apart).

    Values 0..n_classes are class ids (of a palette image: its indices). A mask of 0 and 255 alone marks
    defects without a class: its label map holds 0 and 1. `shape` is the image's (H, W). Raises a
    ReferenceMaskError.
    """
    try:
        values = decode_mask(data, DecodeLimits(max_pixels=shape[0] * shape[1]))
    except ImageTooLarge as error:
        raise ReferenceMaskSizeMismatch(f"the reference mask is larger than the picture: {error}") from error
    except ImageError as error:
        raise ReferenceMaskUnreadable(
            f"the reference mask must be a PNG, BMP or TIFF file: {error}"
        ) from error
    if values.shape != shape:
        raise ReferenceMaskSizeMismatch(
            f"the reference mask is {values.shape[1]} x {values.shape[0]} pixels; "
            f"the picture is {shape[1]} x {shape[0]}"
        )
    return _label_map(values, n_classes)


def decode_mask(data: bytes, limits: DecodeLimits, colours: bool = False) -> NDArray[np.integer[Any]]:
    """Decode a mask to its values [H, W] as stored: greys, or the indices of a palette image.

    With `colours` the values are 0xRRGGBB. Raises an ImageError, or ReferenceMaskInvalid for a mask in colour
    where greys are expected.
    """
    image, _ = _open(data, LOSSLESS)
    _check_size(image.size, limits)
    return _mask_values(_load(image, data), colours)


def _label_map(values: NDArray[np.integer[Any]], n_classes: int) -> tuple[NDArray[np.uint8], bool]:
    """A reference mask's values as a label map, and whether that tells classes apart."""
    found = set(np.unique(values).tolist())
    if WHITE in found and found <= {0, WHITE}:
        return (values > 0).astype(np.uint8), False
    if max(found) > n_classes:
        wrong = sorted(value for value in found if value > n_classes)[:5]
        raise ReferenceMaskInvalid(
            f"the reference mask holds {wrong}; right are class ids 0..{n_classes}, or 0 and 255 alone for a "
            "defect of any class"
        )
    return values.astype(np.uint8), True


class _Frugal(BytesIO):
    """A file that cannot be read bit by bit for ever: filling, or empty chunks, by the million."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it is made of more than {MAX_READS} pieces")
        return super().read(size)


def _open(data: bytes, formats: tuple[str, ...]) -> tuple[ImageFile.ImageFile, jpeg.Frame | None]:
    """Read the header only, and refuse what is plainly not one complete picture; a JPEG with its frame."""
    try:
        if data.startswith(b"\x89PNG") and "PNG" in formats:
            Image.open(_Frugal(data), formats=formats).verify()  # checksums, which loading leaves unread
            _refuse_another(data, png.end_of(data))
        if data.startswith(b"BM") and "BMP" in formats:
            _refuse_another(data, int.from_bytes(data[2:6], "little") or len(data))  # its own size, or none
        frame = jpeg.read(data)
        image = Image.open(_Frugal(data if frame is None else _checked_jpeg(data, frame)), formats=formats)
        if frame is None and data.startswith(jpeg.START):  # of the others nothing tells that they are whole
            raise ImageUnsupported("the JPEG is arithmetic, lossless or broken; export it as baseline")
        if image.format == "BMP" and image.info.get("compression") in BMP_RUNS:
            raise ImageUnsupported(
                "the BMP holds runs, and what they leave out is black; save it uncompressed"
            )
        if image.format in ("TIFF", "PNG") and getattr(image, "is_animated", False):
            raise ImageAnimated(SEVERAL.format("frames or pages"))
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise _broken(data, error) from error
        raise ImageUnsupported(f"the file is none of {', '.join(formats)}") from error
    except BROKEN as error:
        raise _broken(data, error) from error
    return image, frame


def _refuse_another(data: bytes, end: int) -> None:
    """Raise ImageAnimated if a picture begins behind the `end` of a file's own: nobody would look at it."""
    if data.startswith(SIGNATURES, end) or png.SIGNATURE in data[end:] or jpeg.ANOTHER.search(data, end):
        raise ImageAnimated(SEVERAL.format("pictures"))


def _checked_jpeg(data: bytes, frame: jpeg.Frame) -> bytes:
    """A JPEG prepared so that Pillow notices if it was cut, or refused."""
    if len(frame.scans) > MAX_SCANS:
        raise ImageUnsupported(
            f"the JPEG has {len(frame.scans)} scans; at most {MAX_SCANS} are read: export it as baseline"
        )
    _refuse_another(data, jpeg.end_of(data, frame))
    if what := jpeg.missing(data, frame):
        raise ImageTruncated(f"the file ends before the picture does ({what}); send it whole")
    return jpeg.without_end(data, frame)


def _check_bytes(data: bytes, limits: DecodeLimits) -> None:
    if not data:
        raise ImageEmpty("the picture has no bytes; send a JPEG, PNG, BMP or TIFF file, or a camera's frame")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the picture has {len(data)} bytes; at most {limits.max_bytes} are accepted")


def _check_shape(
    size: tuple[int, int], limits: DecodeLimits, check_shape: Callable[[int, int], object] | None
) -> None:
    _check_size(size, limits)
    if check_shape is not None:
        check_shape(size[1], size[0])


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the picture is {width} x {height} = {width * height} pixels; "
            f"at most {limits.max_pixels} are accepted"
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"the picture is {width} x {height} pixels; each side must be {limits.min_side_px} or more"
        )


def _is_16_bit(image: ImageFile.ImageFile) -> bool:
    """Whether the file, of which only the header is read, stores 16 bits a channel; Pillow may make it 8."""
    return image.mode in GREY16_MODES or (
        image.format in ("PNG", "TIFF") and any(";16" in str(args) for *_, args in image.tile)
    )


def _load(image: ImageFile.ImageFile, data: bytes, frame: jpeg.Frame | None = None) -> Image.Image:
    """Read the pixels, of a file whose own structure says that all of them are there."""
    try:
        what = tiff.unsupported(image.tag_v2) if isinstance(image, TiffImageFile) else None
        if what is not None:
            raise ImageUnsupported(what)
        if lack := _lack(image, data):
            raise ImageTruncated(f"the file holds only a part of the picture ({lack}); send it whole")
        image.load()
    except BROKEN as error:
        raise _broken(data, error) from error
    if frame is not None and _has_cut_scan(image, data, frame):
        raise ImageTruncated("one of the picture's scans ends early; send the file whole")
    return image


def _lack(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """What the file lacks of the picture that Pillow would fill with black, or None."""
    if isinstance(image, TiffImageFile):
        return tiff.missing(image.tag_v2)
    if any(extents != (0, 0, *image.size) for _, extents, *_ in image.tile):
        return "its pixels do not cover it"
    return png.missing(data) if image.format == "PNG" else None


def _has_cut_scan(image: Image.Image, data: bytes, frame: jpeg.Frame) -> bool:
    """Whether a JPEG of several scans decodes to something else with bytes added that no whole scan touches.

    One of a single scan would have been noticed before.
    """
    if jpeg.has_one_scan(frame):
        return False
    try:
        again = np.asarray(Image.open(BytesIO(jpeg.filled(data, frame)), formats=("JPEG",)))
    except BROKEN:
        return True
    return not np.array_equal(np.asarray(image), again)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return _upright(_to_8_bit(image), _orientation(image))


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """The picture's stored pixels as uint8, grey or RGB."""
    see_through = "transparency" in image.info
    if image.mode in GREY16_MODES and not see_through:
        return np.asarray(np.asarray(image) >> 8, dtype=np.uint8)
    if image.mode in ALPHA_MODES or (see_through and image.mode in (*GREY_MODES, "RGB", "P")):
        image = image.convert("LA" if image.mode in (*GREY_MODES, "LA", "La") else "RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise ImageUnsupported("the picture has transparent pixels; send it without an alpha channel")
        return np.asarray(image)[..., 0] if image.mode == "LA" else np.asarray(image)[..., :3]
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))
    raise ImageUnsupported(f"pixel format {image.mode} is not read; send 8 or 16 bit grey or RGB")


def _mask_values(image: Image.Image, colours: bool) -> NDArray[np.integer[Any]]:
    """The values of a mask [H, W], unscaled: a class id must not be read as a brightness."""
    if not colours and image.mode in ("P", *GREY16_MODES):
        return _upright(np.asarray(image), _orientation(image))
    pixels = _pixels(image)
    if colours:
        rgb = (pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)).astype(np.int32)
        return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    if pixels.ndim == 2:
        return pixels
    if np.ptp(pixels, axis=2).any():
        raise ReferenceMaskInvalid("the reference mask is in colour; send grey values or a palette picture")
    return pixels[..., 0]


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a picture whose EXIF cannot be read is taken as stored, like viewers do."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except BROKEN:
        return 1


def _upright(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _broken(data: bytes, error: Exception) -> ImageError:
    """Name what a supported file suffers from: an early end, which a sender can repair, or anything else."""
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or _ends_early(data):
        return ImageTruncated(f"the file ends before the picture does{_reason(error)}; send it whole")
    return ImageUndecodable(f"the file is broken and cannot be decoded{_reason(error)}; export it anew")


def _reason(error: Exception) -> str:
    """The decoder's own words in brackets, where they say something to whoever sent the file."""
    of_the_code = isinstance(error, (UnidentifiedImageError, LookupError, TypeError, struct.error))
    text = str(error)
    return "" if of_the_code or not text or ADDRESS.search(text) else f" ({text})"


def _ends_early(data: bytes) -> bool:
    """Whether the file's own structure says that more should follow."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if len(data) < 8:
        return True
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)  # its own size
    return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") >= len(
        data
    )  # its directory

"""Uploads that go wrong, or look as if they should, made in code; each with the answer that is right.

Where a right answer is expected, the image shows one dark rectangle on noisy grey: with `tiny_bundle` its
verdict is `fail`. Limits are taken to be the default ones, and the shortest side 16 px.
"""

import struct
import zlib
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.errors import (
    ImageAnimated,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageTruncated,
    ImageUndecodable,
    ImageUnsupported,
)

RECTANGLE = (20, 30, 24, 12)  # x, y, width, height of the dark rectangle


@dataclass(frozen=True)
class BadInput:
    """One upload; `expected` is the error it must give, or None where it must be judged rightly."""

    name: str
    data: bytes
    content_type: str
    expected: type[ImageError] | None


@cache
def bad_inputs() -> list[BadInput]:
    """The whole corpus; names are unique."""
    return [*_no_pictures(), *_broken(), *_too_large_or_small(), *_pixel_formats(), *_odd_but_right()]


def picture(height: int = 80, width: int = 96) -> NDArray[np.uint8]:
    """Noisy middle grey with a dark rectangle, uint8 [height, width]."""
    pixels = np.random.default_rng(0).integers(120, 137, (height, width), dtype=np.uint8)
    x, y, w, h = RECTANGLE
    pixels[y : y + h, x : x + w] = 10
    return pixels


def encode(pixels: NDArray[Any] | Image.Image, file_format: str, **options: Any) -> bytes:
    """The pixels as a file of one of Pillow's formats."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file, with its right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """A PNG file as far as its header: 8-bit grey."""
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def _no_pictures() -> list[BadInput]:
    text = b"Dear line 4, the camera is on holiday. Regards, line 3."
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'
    noise = np.random.default_rng(1).bytes(4096)
    image = Image.fromarray(picture())
    files: list[tuple[str, bytes, str, type[ImageError]]] = [
        ("zero_bytes", b"", "image/jpeg", ImageEmpty),
        ("one_byte", b"\xff", "image/jpeg", ImageUnsupported),
        ("text_named_jpg", text, "image/jpeg", ImageUnsupported),
        ("html", b"<!doctype html><title>502 Bad Gateway</title>", "text/html", ImageUnsupported),
        ("svg", svg, "image/svg+xml", ImageUnsupported),
        ("json", b'{"image": null}', "application/json", ImageUnsupported),
        ("pdf", b"%PDF-1.7\n1 0 obj\n", "application/pdf", ImageUnsupported),
        ("zip", b"PK\x03\x04" + bytes(60), "application/zip", ImageUnsupported),
        ("random_bytes", noise, "application/octet-stream", ImageUnsupported),
        ("gif", encode(image, "GIF"), "image/gif", ImageUnsupported),
        ("webp", encode(image, "WEBP"), "image/webp", ImageUnsupported),
        ("ppm", encode(image, "PPM"), "image/x-portable-anymap", ImageUnsupported),
        ("gif_named_png", encode(image, "GIF"), "image/png", ImageUnsupported),
        ("heic_header", b"\x00\x00\x00\x18ftypheic" + bytes(40), "image/heic", ImageUnsupported),
        ("jpeg_2000_header", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40), "image/jp2", ImageUnsupported),
    ]
    return [BadInput(*each) for each in files]


def _broken() -> list[BadInput]:
    jpeg, png = encode(picture(), "JPEG"), encode(picture(), "PNG")
    tiff, bmp = encode(picture(), "TIFF"), encode(picture(), "BMP")
    packed = encode(picture(), "TIFF", compression="tiff_lzw")
    progressive = encode(picture(), "JPEG", progressive=True)
    half = len(jpeg) // 2
    first_scan_end = progressive.index(b"\xff", progressive.index(b"\xff\xda") + 14)
    restarts = encode(picture(), "JPEG", restart_marker_blocks=2)
    third, fourth = restarts.index(b"\xff\xd2"), restarts.index(b"\xff\xd3")
    files: list[tuple[str, bytes, str, type[ImageError]]] = [
        ("jpeg_truncated", jpeg[:half], "image/jpeg", ImageTruncated),
        ("jpeg_cut_in_mid_scan_and_closed", jpeg[:half] + b"\xff\xd9", "image/jpeg", ImageTruncated),
        ("jpeg_without_end", jpeg[:-2], "image/jpeg", ImageTruncated),
        ("jpeg_header_only", jpeg[: jpeg.index(b"\xff\xda")], "image/jpeg", ImageTruncated),
        ("jpeg_first_bytes", jpeg[:4], "image/jpeg", ImageTruncated),
        ("jpeg_progressive_truncated", progressive[:half], "image/jpeg", ImageTruncated),
        ("jpeg_progressive_half_and_closed", progressive[:half] + b"\xff\xd9", "image/jpeg", ImageTruncated),
        (
            "jpeg_one_scan_and_closed",
            progressive[:first_scan_end] + b"\xff\xd9",
            "image/jpeg",
            ImageTruncated,
        ),
        ("jpeg_cut_in_last_scan_and_closed", progressive[:-200] + b"\xff\xd9", "image/jpeg", ImageTruncated),
        ("jpeg_restart_interval_lost", restarts[:third] + restarts[fourth:], "image/jpeg", ImageTruncated),
        ("jpeg_last_intervals_lost", restarts[:third] + b"\xff\xd9", "image/jpeg", ImageTruncated),
        ("jpeg_of_200_scans", _many_scans(progressive), "image/jpeg", ImageUnsupported),
        ("jpeg_without_tables", _without_tables(jpeg), "image/jpeg", ImageUndecodable),
        ("png_truncated", png[: len(png) // 2], "image/png", ImageTruncated),
        ("png_header_only", png[:33], "image/png", ImageTruncated),
        ("png_signature_only", png[:8], "image/png", ImageTruncated),
        ("png_without_end", png[:-12], "image/png", ImageTruncated),
        ("png_corrupt_data_crc", _flip(png, png.rindex(b"IEND") - 5), "image/png", ImageUndecodable),
        ("png_corrupt_data", _flip(png, len(png) // 2), "image/png", ImageUndecodable),
        ("png_corrupt_header_crc", _flip(png, 30), "image/png", ImageUndecodable),
        ("png_without_width", png_header(0, 64) + png[33:], "image/png", ImageUndecodable),
        ("tiff_truncated", tiff[: len(tiff) // 2], "image/tiff", ImageTruncated),
        ("tiff_lzw_truncated", packed[: len(packed) // 2], "image/tiff", ImageTruncated),
        ("tiff_lzw_corrupt", _flip(packed, len(packed) // 3, 64), "image/tiff", ImageUndecodable),
        ("tiff_header_only", tiff[:8], "image/tiff", ImageTruncated),
        ("tiff_missing_strips", _half_the_strips(), "image/tiff", ImageTruncated),
        ("bmp_truncated", bmp[: len(bmp) // 2], "image/bmp", ImageTruncated),
        ("bmp_header_only", bmp[:54], "image/bmp", ImageTruncated),
        ("bmp_unknown_header", _flip(bmp, 14), "image/bmp", ImageUndecodable),
    ]
    return [BadInput(*each) for each in files]


def _too_large_or_small() -> list[BadInput]:
    tiff = _with_tiff_size(encode(picture(), "TIFF"), 100_000)
    bmp = bytearray(encode(picture(), "BMP"))
    struct.pack_into("<ii", bmp, 18, 100_000, 100_000)
    jpeg = bytearray(encode(picture(), "JPEG"))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 65_000, 65_000)
    bomb = png_header(100_000, 100_000) + png_chunk(b"IDAT", zlib.compress(bytes(10**6)))
    sparse = Image.new("1", (30_000, 30_000))  # a real one: 112 MB of bits in a few kB
    wide = picture(20, 20_000)
    wide[10:16, 100:160] = 10
    files: list[tuple[str, bytes, str, type[ImageError] | None]] = [
        ("png_bomb_100k_x_100k", bomb + png_chunk(b"IEND", b""), "image/png", ImageTooLarge),
        ("png_bomb_1_bit", encode(sparse, "PNG"), "image/png", ImageTooLarge),
        ("tiff_bomb", tiff, "image/tiff", ImageTooLarge),
        ("bmp_bomb", bytes(bmp), "image/bmp", ImageTooLarge),
        ("jpeg_bomb", bytes(jpeg), "image/jpeg", ImageTooLarge),
        ("one_pixel", encode(picture()[:1, :1], "PNG"), "image/png", ImageTooSmall),
        ("one_pixel_jpeg", encode(picture()[:1, :1], "JPEG"), "image/jpeg", ImageTooSmall),
        ("one_line_20000_wide", encode(picture(80, 20_000)[:1], "PNG"), "image/png", ImageTooSmall),
        ("20000_wide", encode(picture(80, 20_000), "PNG"), "image/png", None),
        ("20000_wide_but_low", encode(wide, "BMP"), "image/bmp", None),
        ("20000_high", encode(picture(20_000, 96), "JPEG"), "image/jpeg", None),
    ]
    return [BadInput(*each) for each in files]


def _bmp_of_runs(rows: NDArray[np.uint8], height: int) -> bytes:
    """A BMP in RLE8 of these rows, the lowest of its `height`; the others are skipped."""
    width = rows.shape[1]
    literal = [b"\0" + bytes([width]) + row.tobytes() + bytes(width % 2) + b"\0\0" for row in rows[::-1]]
    body = b"".join(literal) + b"\0\1"
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + header + palette + body


def _pixel_formats() -> list[BadInput]:
    grey = picture()
    colour = np.dstack([grey] * 3)
    wide = grey.astype(np.uint16) * 257
    image = Image.fromarray(colour)
    seen_through = Image.fromarray(np.dstack((colour, np.full_like(grey, 200))))
    files: list[tuple[str, bytes, str, type[ImageError] | None]] = [
        ("png_16_bit_grey", encode(wide, "PNG"), "image/png", None),
        ("png_16_bit_colour", _opencv(".png", np.dstack([wide] * 3)), "image/png", None),
        ("tiff_16_bit_grey", encode(wide, "TIFF"), "image/tiff", None),
        ("tiff_16_bit_colour", _opencv(".tif", np.dstack([wide] * 3)), "image/tiff", None),
        ("png_12_bits_in_16", encode(wide >> 4, "PNG"), "image/png", ImageUnsupported),
        ("tiff_10_bits_in_16", encode(wide >> 6, "TIFF"), "image/tiff", ImageUnsupported),
        (
            "png_12_bits_in_16_colour",
            _opencv(".png", np.dstack([wide >> 4] * 3)),
            "image/png",
            ImageUnsupported,
        ),
        (
            "tiff_12_bits_in_16_colour",
            _opencv(".tif", np.dstack([wide >> 4] * 3)),
            "image/tiff",
            ImageUnsupported,
        ),
        ("bmp_of_runs", _bmp_of_runs(grey[: len(grey) // 2], len(grey)), "image/bmp", ImageUnsupported),
        ("png_16_bit_black", encode(np.zeros_like(wide), "PNG"), "image/png", ImageUnsupported),
        ("tiff_float", encode(grey.astype(np.float32), "TIFF"), "image/tiff", ImageUnsupported),
        ("tiff_32_bit", encode(grey.astype(np.int32), "TIFF"), "image/tiff", ImageUnsupported),
        ("tiff_lab", encode(Image.new("LAB", (96, 80)), "TIFF"), "image/tiff", ImageUnsupported),
        ("jpeg_cmyk", encode(image.convert("CMYK"), "JPEG"), "image/jpeg", None),
        ("tiff_cmyk", encode(image.convert("CMYK"), "TIFF"), "image/tiff", None),
        ("png_palette", encode(image.quantize(256), "PNG"), "image/png", None),
        ("bmp_palette", encode(image.quantize(256), "BMP"), "image/bmp", None),
        ("png_1_bit", encode(Image.fromarray(grey > 64), "PNG"), "image/png", None),
        (
            "tiff_1_bit_fax",
            encode(Image.fromarray(grey > 64), "TIFF", compression="group4"),
            "image/tiff",
            ImageUnsupported,
        ),
        ("png_opaque_alpha", encode(image.convert("RGBA"), "PNG"), "image/png", None),
        ("png_grey_opaque_alpha", encode(Image.fromarray(grey).convert("LA"), "PNG"), "image/png", None),
        ("png_transparent", encode(seen_through, "PNG"), "image/png", ImageUnsupported),
        ("png_grey_transparent", encode(seen_through.convert("LA"), "PNG"), "image/png", ImageUnsupported),
        ("png_transparent_colour", encode(grey, "PNG", transparency=10), "image/png", ImageUnsupported),
        ("png_transparent_palette", _transparent_palette(image), "image/png", ImageUnsupported),
    ]
    return [BadInput(*each) for each in files]


def _odd_but_right() -> list[BadInput]:
    image, other = Image.fromarray(picture()), Image.fromarray(picture()[::-1])
    jpeg, png = encode(image, "JPEG"), encode(image, "PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    several: dict[str, Any] = {"save_all": True, "append_images": [other]}
    files: list[tuple[str, bytes, str, type[ImageError] | None]] = [
        ("png_animated", encode(image, "PNG", **several), "image/png", ImageAnimated),
        ("tiff_two_pages", encode(image, "TIFF", **several), "image/tiff", ImageAnimated),
        ("jpeg_with_preview", encode(image.convert("RGB"), "MPO", **several), "image/jpeg", None),
        ("progressive_jpeg_with_preview", _progressive_with_preview(), "image/jpeg", None),
        ("jpeg_turned_by_exif", encode(image, "JPEG", exif=turned), "image/jpeg", None),
        ("png_turned_by_exif", encode(image, "PNG", exif=turned), "image/png", None),
        ("tiff_turned", encode(image, "TIFF", tiffinfo={274: 6}), "image/tiff", None),
        ("jpeg_broken_exif", encode(image, "JPEG", exif=b"Exif\0\0no tiff in here"), "image/jpeg", None),
        ("jpeg_progressive", encode(image, "JPEG", progressive=True), "image/jpeg", None),
        ("jpeg_restarts", encode(image, "JPEG", restart_marker_blocks=2), "image/jpeg", None),
        ("jpeg_named_png", jpeg, "image/png", None),
        ("png_text_bomb", _text_bomb(png), "image/png", None),  # texts are passed over
        ("jpeg_trailing_garbage", jpeg + b"garbage \xff\xd8\xff" * 99, "image/jpeg", None),
        ("png_trailing_garbage", png + bytes(999), "image/png", None),
        ("two_jpegs_in_one", jpeg + encode(other, "JPEG"), "image/jpeg", ImageAnimated),
        ("two_jpegs_apart", jpeg + bytes(99) + encode(other, "JPEG"), "image/jpeg", ImageAnimated),
        (
            "two_progressive_jpegs_in_one",
            encode(image, "JPEG", progressive=True) * 2,
            "image/jpeg",
            ImageAnimated,
        ),
        ("two_pngs_in_one", png + encode(other, "PNG"), "image/png", ImageAnimated),
        ("jpeg_with_thumbnail", encode(image, "JPEG", exif=b"Exif\0\0" + jpeg), "image/jpeg", None),
        ("jpeg_with_late_comment", _with_late_comment(jpeg), "image/jpeg", None),
        ("tiff_jpeg_inside", encode(image, "TIFF", compression="jpeg"), "image/tiff", ImageUnsupported),
    ]
    return [BadInput(*each) for each in files]


def _flip(data: bytes, at: int, count: int = 1) -> bytes:
    return data[:at] + bytes(each ^ 0xFF for each in data[at : at + count]) + data[at + count :]


def _without_tables(jpeg: bytes) -> bytes:
    """A JPEG whose quantisation tables are marked as a comment."""
    return jpeg.replace(b"\xff\xdb", b"\xff\xfe")


def _many_scans(progressive: bytes) -> bytes:
    """A progressive JPEG whose last scan comes 200 times: a small file that takes long to decode."""
    last = progressive.rindex(b"\xff\xda")
    return progressive[:last] + progressive[last:-2] * 200 + b"\xff\xd9"


def _with_late_comment(jpeg: bytes) -> bytes:
    """The JPEG with itself as a comment between its scan and its end."""
    return jpeg[:-2] + b"\xff\xfe" + struct.pack(">H", len(jpeg) + 2) + jpeg + jpeg[-2:]


def _progressive_with_preview() -> bytes:
    image, other = Image.fromarray(picture()), Image.fromarray(picture()[::-1])
    return encode(image, "MPO", save_all=True, append_images=[other], progressive=True)


def _text_bomb(png: bytes) -> bytes:
    """A PNG with a comment of a few kB that unpacks to 20 MB."""
    return png[:33] + png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9)) + png[33:]


def _opencv(extension: str, pixels: NDArray[np.uint16]) -> bytes:
    """16-bit colour, which Pillow does not write."""
    return bytes(cv2.imencode(extension, pixels)[1])


def _transparent_palette(image: Image.Image) -> bytes:
    return encode(image.quantize(256), "PNG", transparency=bytes([0] * 256))


def _tiff_fields(tiff: bytes) -> dict[int, int]:
    """Where the 12-byte directory entry of each tag starts, in a little-endian TIFF."""
    directory = struct.unpack_from("<I", tiff, 4)[0]
    count = struct.unpack_from("<H", tiff, directory)[0]
    places = [directory + 2 + 12 * n for n in range(count)]
    return {struct.unpack_from("<H", tiff, place)[0]: place for place in places}


def _with_tiff_size(tiff: bytes, side: int) -> bytes:
    changed = bytearray(tiff)
    for tag in (256, 257):  # width and height, as 32-bit values
        struct.pack_into("<HIi", changed, _tiff_fields(tiff)[tag] + 2, 4, 1, side)
    return bytes(changed)


def _half_the_strips() -> bytes:
    """A TIFF of ten strips whose directory names five."""
    tiff = bytearray(encode(picture(), "TIFF", tiffinfo={278: 8}, strip_size=768))
    for tag in (273, 279):
        place = _tiff_fields(bytes(tiff))[tag] + 4
        struct.pack_into("<I", tiff, place, struct.unpack_from("<I", tiff, place)[0] // 2)
    return bytes(tiff)

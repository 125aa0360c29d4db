"""One image in every format and layout that is read, of a given size, made quickly."""

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding.raw import FORMATS, RawFrame

Make = Callable[[int, int], bytes | RawFrame]  # from height and width, both multiples of 16
GREY, RGB, PALETTE, CMYK = 1, 2, 3, 5  # TIFF's photometric
NAMES = {5: "tiff_lzw", 32773: "packbits", 34925: "lzma", 50000: "zstd"}  # compressions that Pillow writes
TURNED = Image.Exif()
TURNED[0x0112] = 6


def texture(height: int, width: int, channels: int, bits: int = 8) -> NDArray[Any]:
    """Noise that repeats, uint8 or uint16 [height, width, channels]."""
    kind = np.uint8 if bits == 8 else np.uint16
    patch = np.random.default_rng(0).integers(0, 1 << bits, (16, width, channels), dtype=kind)
    return np.tile(cv2.blur(patch, (5, 5)).reshape(patch.shape), (height // 16, 1, 1))


def image(height: int, width: int, mode: str) -> Image.Image:
    """The texture as an image of one of Pillow's modes."""
    grey = texture(height, width, 1)[..., 0]
    if mode == "1":
        return Image.fromarray(grey > 128)
    if mode == "L":
        return Image.fromarray(grey)
    if mode == "LA":
        return Image.merge("LA", (Image.fromarray(grey), Image.new("L", (width, height), 255)))
    colour = Image.fromarray(texture(height, width, 3))
    if mode == "RGBA":
        colour.putalpha(255)
    if mode == "P":
        coloured = Image.fromarray(grey, "P")
        coloured.putpalette(bytes(range(256)) * 3)
        return coloured
    return colour if mode == "RGB" else colour.convert(mode)


def file(height: int, width: int, kind: str, mode: str, **options: Any) -> bytes:
    """A file that Pillow writes."""
    out = BytesIO()
    image(height, width, mode).save(out, kind, **options)
    return out.getvalue()


def png(height: int, width: int, channels: int, bits: int, interlaced: bool = False) -> bytes:
    """A PNG of rows with filter 2, whose passes are parts of the texture."""
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    samples = texture(height, width, channels, bits)
    if channels in (2, 4):
        samples[..., -1] = (1 << bits) - 1
    packer, packed = zlib.compressobj(1), []
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for x, y, across, down in steps if interlaced else ((0, 0, 1, 1),):
        part = samples[y::down, x::across].astype(">u2" if bits == 16 else np.uint8)
        lines = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1)
        changes = lines.copy()
        changes[1:] -= lines[:-1]
        packed.append(packer.compress(np.insert(changes, 0, 2, axis=1).tobytes()))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in ((b"IHDR", header), (b"IDAT", b"".join(packed) + packer.flush()), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(kind + content))
        parts += (struct.pack(">I", len(content)), kind, content, crc)
    return b"".join(parts)


def squeezed(lines: bytes, compression: int, width: int) -> bytes:
    """Lines of bytes as one compressed strip of a TIFF."""
    if compression == 1:
        return lines
    if compression == 8:
        return zlib.compress(lines, 1)
    out = BytesIO()
    Image.frombytes("L", (width, len(lines) // width), lines).save(
        out, "TIFF", compression=NAMES[compression], strip_size=len(lines)
    )
    saved = Image.open(BytesIO(out.getvalue()))
    tags: Any = saved.tag_v2  # type: ignore[attr-defined]
    (at,), (size,) = tags[273], tags[279]
    return out.getvalue()[at : at + size]


def tiff(
    height: int,
    width: int,
    channels: int,
    bits: int = 8,
    compression: int = 1,
    photometric: int | None = None,
    rows: int | None = None,
    tile: int | None = None,
    planar: bool = False,
    predictor: bool = False,
) -> bytes:
    """A little-endian TIFF in one strip, strips of `rows`, or square tiles."""
    samples = texture(height, width, channels, min(16, max(8, bits)) if bits != 12 else 16)
    if bits < 8:
        samples = samples >> (8 - bits)
    if predictor:
        samples[:, 1:] = samples[:, 1:] - samples[:, :-1]
    groups = [samples[..., n : n + 1] for n in range(channels)] if planar else [samples]
    pieces = []
    for group in groups:
        cuts: Sequence[NDArray[Any]]
        if tile:
            cuts = [
                group[y : y + tile, x : x + tile]
                for y in range(0, height, tile)
                for x in range(0, width, tile)
            ]
        else:
            cuts = [group[y : y + (rows or height)] for y in range(0, height, rows or height)]
        for cut in cuts:
            lines = packed(cut.reshape(len(cut), -1), bits)
            pieces.append(squeezed(lines.tobytes(), compression, lines.shape[1]))
    photometric = photometric or (RGB if channels == 3 else GREY)
    fields = {
        256: [width],
        257: [height],
        258: [bits],
        259: [compression],
        262: [photometric],
        277: [channels],
    }
    fields |= {284: [2 if planar else 1]} | ({317: [2]} if predictor else {})
    fields |= {322: [tile], 323: [tile]} if tile else {278: [rows or height]}
    at, offsets = 8, []
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    fields |= {324 if tile else 273: offsets, 325 if tile else 279: [len(piece) for piece in pieces]}
    if photometric == PALETTE:
        fields[320] = [n % 256 * 257 for n in range(768)]
    entries, beyond = b"", b""
    for tag, values in sorted(fields.items()):
        value = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            value, beyond = struct.pack("<I", at + len(beyond)), beyond + value
        entries += struct.pack("<HHI", tag, 4, len(values)) + value
    start = struct.pack("<4sI", b"II*\0", at + len(beyond))
    return b"".join((start, *pieces, beyond, struct.pack("<H", len(fields)), entries, bytes(4)))


def packed(lines: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Lines of samples as bytes; 12 bits and fewer than 8 are packed, most significant bit first."""
    if bits == 8:
        return np.asarray(lines, np.uint8)
    if bits == 16:
        return np.ascontiguousarray(lines).astype("<u2").view(np.uint8)
    if bits == 12:
        high, low = lines[:, ::2] >> 4, lines[:, 1::2] >> 4
        three = np.stack((high >> 4, (high & 15) << 4 | low >> 8, low & 255), axis=2)
        return np.asarray(three, np.uint8).reshape(len(lines), -1)
    eight = np.unpackbits(np.asarray(lines, np.uint8)[..., None], axis=2)[..., -bits:]
    return np.packbits(eight.reshape(len(lines), -1), axis=1)


def frame(height: int, width: int, pixel_format: str) -> RawFrame:
    """A camera's frame; those of 16 bits use all of them."""
    packing, _ = FORMATS[pixel_format]
    size = height * width // packing.pixels * packing.size
    data = np.tile(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8), size // 4096 + 1)[:size]
    if packing.bits not in (None, 8):
        data[1::2] &= (1 << (packing.bits - 8)) - 1 if packing.size % 2 == 0 else 255
    return RawFrame(data.tobytes(), width, height, pixel_format)


MAKERS: dict[str, Make] = {
    "jpeg_grey": partial(file, kind="JPEG", mode="L"),
    "jpeg_444": partial(file, kind="JPEG", mode="RGB", subsampling=0, quality=90),
    "jpeg_420": partial(file, kind="JPEG", mode="RGB", subsampling=2),
    "jpeg_cmyk": partial(file, kind="JPEG", mode="CMYK"),
    "jpeg_progressive_grey": partial(file, kind="JPEG", mode="L", progressive=True),
    "jpeg_progressive_444": partial(
        file, kind="JPEG", mode="RGB", subsampling=0, progressive=True, quality=90
    ),
    "jpeg_progressive_420": partial(file, kind="JPEG", mode="RGB", subsampling=2, progressive=True),
    "jpeg_progressive_cmyk": partial(file, kind="JPEG", mode="CMYK", progressive=True),
    "jpeg_turned": partial(file, kind="JPEG", mode="RGB", exif=TURNED),
    "png_1": partial(file, kind="PNG", mode="1", compress_level=1),
    "png_palette": partial(file, kind="PNG", mode="P", compress_level=1),
    "png_grey": partial(png, channels=1, bits=8),
    "png_grey_interlaced": partial(png, channels=1, bits=8, interlaced=True),
    "png_grey_alpha": partial(png, channels=2, bits=8),
    "png_rgb": partial(png, channels=3, bits=8),
    "png_rgb_interlaced": partial(png, channels=3, bits=8, interlaced=True),
    "png_rgba": partial(png, channels=4, bits=8),
    "png_grey_16": partial(png, channels=1, bits=16),
    "png_rgb_16": partial(png, channels=3, bits=16),
    "png_rgb_16_interlaced": partial(png, channels=3, bits=16, interlaced=True),
    "png_rgba_16": partial(png, channels=4, bits=16),
    "png_turned": partial(file, kind="PNG", mode="RGB", compress_level=1, exif=TURNED),
    "bmp_1": partial(file, kind="BMP", mode="1"),
    "bmp_grey": partial(file, kind="BMP", mode="L"),
    "bmp_palette": partial(file, kind="BMP", mode="P"),
    "bmp_24": partial(file, kind="BMP", mode="RGB"),
    "bmp_32": partial(file, kind="BMP", mode="RGBA"),
    "tiff_1": partial(tiff, channels=1, bits=1),
    "tiff_grey": partial(tiff, channels=1),
    "tiff_grey_white_is_zero": lambda height, width: tiff(height, width, 1, 16).replace(
        struct.pack("<HHII", 262, 4, 1, 1), struct.pack("<HHII", 262, 4, 1, 0)
    ),
    "tiff_grey_12": partial(tiff, channels=1, bits=12),
    "tiff_grey_16": partial(tiff, channels=1, bits=16),
    "tiff_rgb": partial(tiff, channels=3),
    "tiff_rgb_strips": partial(tiff, channels=3, rows=16),
    "tiff_rgb_tiles": partial(tiff, channels=3, tile=160),
    "tiff_rgb_planes": partial(tiff, channels=3, planar=True),
    "tiff_rgb_16": partial(tiff, channels=3, bits=16),
    "tiff_rgb_16_planes": partial(tiff, channels=3, bits=16, planar=True),
    "tiff_palette": partial(tiff, channels=1, photometric=PALETTE),
    "tiff_cmyk": partial(tiff, channels=4, photometric=CMYK),
    "tiff_cmyk_16": partial(tiff, channels=4, bits=16, photometric=CMYK),
    "tiff_grey_lzw": partial(tiff, channels=1, compression=5),
    "tiff_rgb_lzw": partial(tiff, channels=3, compression=5),
    "tiff_rgb_lzw_strips": partial(tiff, channels=3, compression=5, rows=16),
    "tiff_rgb_lzw_differences": partial(tiff, channels=3, compression=5, predictor=True),
    "tiff_grey_16_lzw_differences": partial(tiff, channels=1, bits=16, compression=5, predictor=True),
    "tiff_rgb_lzw_tiles": partial(tiff, channels=3, compression=5, tile=160),
    "tiff_grey_deflate": partial(tiff, channels=1, compression=8),
    "tiff_rgb_deflate_differences": partial(tiff, channels=3, compression=8, predictor=True),
    "tiff_rgb_16_deflate_differences": partial(tiff, channels=3, bits=16, compression=8, predictor=True),
    "tiff_rgb_deflate_tiles": partial(tiff, channels=3, compression=8, tile=160),
    "tiff_rgb_packbits": partial(tiff, channels=3, compression=32773),
    "tiff_rgb_lzma": partial(tiff, channels=3, compression=34925),
    "tiff_rgb_zstd": partial(tiff, channels=3, compression=50000),
    **{
        f"raw_{each}": partial(frame, pixel_format=each)
        for each in (
            *("Mono8", "Mono12", "Mono16", "Mono10p", "Mono12p", "Mono14p", "Mono12Packed"),
            *("BayerRG8", "BayerGB12", "BayerRG16", "BayerRG12p", "BayerBG12Packed"),
            *("RGB8", "BGR8", "RGB12", "RGB16", "BGR16", "RGBa8", "BGRa8", "YUV422_8", "YCbCr422_8_CbYCrY"),
        )
    },
}

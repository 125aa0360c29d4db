"""Camera buffers become the pixels the sensor saw, or a named error."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import FORMATS, GIGE_VISION_1, RawFrame, decode_frame
from app.inspection.errors import (
    FrameMismatch,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    ImageUnsupported,
)

LIMITS = DecodeLimits()
HEIGHT, WIDTH = 6, 8
COLOURS = {"R": (200, 0, 0), "G": (0, 150, 0), "B": (0, 0, 90)}


def samples(bits: int) -> NDArray[np.uint16]:
    """Values of all sizes, the largest among them."""
    values = np.random.default_rng(bits).integers(0, 1 << bits, (HEIGHT, WIDTH), dtype=np.uint16)
    values[0, 0], values[-1, -1] = (1 << bits) - 1, 0
    return values


def packed_by_bits(values: NDArray[np.uint16], bits: int) -> bytes:
    """PFNC's `p`: sample after sample from the lowest bit of the first byte on."""
    stream = 0
    for place, value in enumerate(values.ravel().tolist()):
        stream |= value << (bits * place)
    return stream.to_bytes(values.size * bits // 8, "little")


def packed_as_gige(values: NDArray[np.uint16], bits: int) -> bytes:
    """GigE Vision's `Packed`: the high 8 bits of one, the low ones of both, the high 8 bits of the other."""
    low = bits - 8
    out = bytearray()
    for first, second in values.reshape(-1, 2).tolist():
        rest = (first & ((1 << low) - 1)) | (second & ((1 << low) - 1)) << 4
        out += bytes((first >> low, rest, second >> low))
    return bytes(out)


def frame(data: bytes, pixel_format: str = "Mono8", stride: int | None = None) -> RawFrame:
    return RawFrame(data, WIDTH, HEIGHT, pixel_format, stride)


def test_mono8_is_taken_as_it_lies_in_memory() -> None:
    data = samples(8).astype(np.uint8).tobytes()
    pixels = decode(frame(data), LIMITS)
    np.testing.assert_array_equal(pixels, samples(8))
    assert np.shares_memory(pixels, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_low_bits_are_dropped_for_every_frame_alike(bits: int) -> None:
    values = samples(bits)
    buffers = {f"Mono{bits}": values.astype("<u2").tobytes()}
    if bits < 16:
        buffers[f"Mono{bits}p"] = packed_by_bits(values, bits)
    if bits < 14:
        buffers[f"Mono{bits}Packed"] = packed_as_gige(values, bits)
    for name, data in buffers.items():
        np.testing.assert_array_equal(decode(frame(data, name), LIMITS), values >> (bits - 8), name)


@pytest.mark.parametrize(("name", "line"), [("Mono8", 8), ("Mono12p", 12), ("Mono16", 16), ("RGB8", 24)])
def test_padding_at_the_end_of_lines_is_left_out(name: str, line: int) -> None:
    data = np.random.default_rng(0).integers(0, 256, (HEIGHT, line), dtype=np.uint8)
    data[0, :2] = 255
    padded = np.hstack((data, np.full((HEIGHT, 5), 77, np.uint8)))
    expected = decode(frame(data.tobytes(), name), LIMITS)
    found = decode(frame(padded.tobytes(), name, line + 5), LIMITS)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


@pytest.mark.parametrize("depth", ["8", "10", "12", "14", "16", "10p", "12p", "14p", "10Packed", "12Packed"])
@pytest.mark.parametrize("pattern", ["RG", "GR", "GB", "BG"])
@pytest.mark.parametrize("colour", COLOURS)
def test_each_bayer_pattern_gives_the_colour_that_was_seen(pattern: str, depth: str, colour: str) -> None:
    """A surface of one colour through a mosaic that begins with `pattern` in its first line."""
    second = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[pattern]
    tile = [[COLOURS[colour]["RGB".index(letter)] for letter in line] for line in (pattern, second)]
    mosaic = np.tile(np.array(tile, np.uint16), (HEIGHT // 2, WIDTH // 2))
    bits = int(depth.rstrip("Packedp"))
    values = (mosaic << (bits - 8)).astype(np.uint16)
    if depth.endswith("p"):
        data = packed_by_bits(values, bits)
    elif depth.endswith("d"):
        data = packed_as_gige(values, bits)
    else:
        data = values.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    found = decode(frame(data, f"Bayer{pattern}{depth}"), LIMITS)
    np.testing.assert_array_equal(found, np.full((HEIGHT, WIDTH, 3), COLOURS[colour], np.uint8))


def test_colour_formats_come_out_as_rgb() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(frame(rgb.tobytes(), "RGB8"), LIMITS), rgb)
    bgr = rgb[..., ::-1]
    np.testing.assert_array_equal(decode(frame(bgr.tobytes(), "BGR8"), LIMITS), rgb)
    for filler in (0, 255):  # no camera means transparency by it
        fourth = np.full((HEIGHT, WIDTH, 1), filler, np.uint8)
        np.testing.assert_array_equal(decode(frame(np.dstack((rgb, fourth)).tobytes(), "RGBa8"), LIMITS), rgb)
        np.testing.assert_array_equal(decode(frame(np.dstack((bgr, fourth)).tobytes(), "BGRa8"), LIMITS), rgb)
    for bits in (10, 12, 14, 16):
        deep = rgb.astype("<u2") << (bits - 8)
        for name, values in ((f"RGB{bits}", deep), (f"BGR{bits}", deep[..., ::-1])):
            np.testing.assert_array_equal(decode(frame(values.tobytes(), name), LIMITS), rgb)


def test_names_of_gige_vision_1_mean_the_same_layouts() -> None:
    assert set(GIGE_VISION_1) >= {"YUV422Packed", "YUV422_YUYV_Packed", "RGB8Packed", "BGR8Packed"}
    for old, new in GIGE_VISION_1.items():
        size = FORMATS[new][0].size * WIDTH * HEIGHT // FORMATS[new][0].pixels
        data = np.random.default_rng(5).integers(0, 4, size, dtype=np.uint8).tobytes()
        np.testing.assert_array_equal(decode(frame(data, old), LIMITS), decode(frame(data, new), LIMITS))


@pytest.mark.parametrize("name", ["Mono16", "BayerRG16", "RGB16"])
def test_significant_bits_of_16_bit_frames_are_told_or_asked_for(name: str) -> None:
    values = np.random.default_rng(6).integers(0, 1 << 14, (HEIGHT, WIDTH * (3 if name == "RGB16" else 1)))
    data = values.astype("<u2").tobytes()
    expected = decode(frame(data, name.replace("16", "14")), LIMITS)
    np.testing.assert_array_equal(decode(frame(data, name), LIMITS, None, 14), expected)
    with pytest.raises(ImageUnsupported, match="significant_bits=14"):
        decode(frame(data, name), LIMITS)
    with pytest.raises(FrameMismatch, match="but 12 bits go up to 4095"):
        decode(frame(data, name), LIMITS, None, 12)
    np.testing.assert_array_equal(decode(frame(data, name.replace("16", "14")), LIMITS, None, 12), expected)


@pytest.mark.parametrize(
    ("name", "order"),
    [("YUV422_8", "YUYV"), ("YUV422_8_UYVY", "UYVY"), ("YCbCr422_8", "YUYV"), ("YCbCr422_8_CbYCrY", "UYVY")],
)
def test_luma_and_chroma_are_full_scale_rec_601(name: str, order: str) -> None:
    for red, green, blue in ((200, 30, 60), (10, 10, 10), (255, 255, 255), (20, 90, 240)):
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        values = {"Y": luma, "U": 128 + 0.5643 * (blue - luma), "V": 128 + 0.7133 * (red - luma)}
        data = bytes(min(255, round(values[letter])) for letter in order) * (HEIGHT * WIDTH // 2)
        found = decode(frame(data, name), LIMITS)
        assert found.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(found[3, 4].astype(int), (red, green, blue), atol=2)


def test_an_unknown_format_is_told_the_known_ones() -> None:
    with pytest.raises(ImageUnsupported, match=r"'Mono15' is not read; right are Mono8, Mono10,.*BayerRG12p"):
        decode(frame(bytes(48), "Mono15"), LIMITS)
    assert len(FORMATS) == 10 * 5 + 6 * 2 + 4 + len(GIGE_VISION_1)


@pytest.mark.parametrize(("name", "due"), [("Mono8", 48), ("Mono12", 96), ("Mono12p", 72), ("Mono10p", 60)])
def test_bytes_that_lack_or_are_too_many_are_counted(name: str, due: int) -> None:
    assert decode(frame(b"\x0f\x01" * (due // 2), name), LIMITS).shape == (HEIGHT, WIDTH)
    for length in (due - 1, due + 1, 1):
        with pytest.raises(FrameMismatch, match=f"has {length} bytes; 8 x 6 pixels in {name} .* are {due}$"):
            decode(frame(bytes(length), name), LIMITS)


def test_what_the_parameters_cannot_mean_is_refused() -> None:
    wrong: list[tuple[RawFrame, type[ImageError], str]] = [
        (frame(b""), ImageEmpty, "no bytes"),
        (frame(bytes(42), stride=7), FrameMismatch, "stride is 7 bytes; a line of 8 pixels in Mono8 takes 8"),
        (replace(frame(bytes(60), "Mono10p"), width=10), FrameMismatch, "must be a multiple of 4, not 10"),
        (replace(frame(bytes(60), "YUV422_8"), width=7), FrameMismatch, "must be a multiple of 2, not 7"),
        (frame(np.full(48, 1024, "<u2").tobytes(), "Mono10"), FrameMismatch, "holds 1024, but 10 bits go up"),
        (frame(np.full(48, 4095, "<u2").tobytes(), "Mono16"), ImageUnsupported, "significant_bits=12"),
        (RawFrame(bytes(16), 8, 2, "BayerRG8"), ImageTooSmall, "needs 3 pixels"),
    ]
    for each, error, message in wrong:
        with pytest.raises(error, match=message):
            decode(each, LIMITS)


def test_limits_hold_before_the_bytes_are_looked_at() -> None:
    def refuse(height: int, width: int) -> None:
        raise ImageTooLarge(f"{height} {width}")

    huge = RawFrame(b"x", 10**9, 10**9, "Mono8")
    for limits, error in (
        (LIMITS, ImageTooLarge),
        (DecodeLimits(max_bytes=47), ImageTooLarge),
        (DecodeLimits(max_pixels=47), ImageTooLarge),
        (DecodeLimits(min_side_px=7), ImageTooSmall),
    ):
        with pytest.raises(error):
            decode(huge if limits is LIMITS else frame(bytes(48)), limits)
    with pytest.raises(ImageTooLarge, match=r"^6 8$"):
        decode(frame(b"x"), LIMITS, refuse)
    assert decode_frame(frame(bytes(48))).shape == (HEIGHT, WIDTH)

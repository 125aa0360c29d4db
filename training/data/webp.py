"""WebP images of a data set, which the service does not read: converted to PNG, pixel by pixel, when read."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from training.limits import limits


class WebPInvalid(ValueError):
    """The image cannot be converted; the message says why."""


def is_webp(data: bytes) -> bool:
    """Whether the content is WebP, by its signature."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def as_png(data: bytes) -> bytes:
    """The same pixels and EXIF data as PNG; raises WebPInvalid. The number of pixels is checked first."""
    try:
        with Image.open(BytesIO(data), formats=("WEBP",)) as image:
            if getattr(image, "is_animated", False):
                raise WebPInvalid("it has several frames; save the one that shows the part")
            if (pixels := image.width * image.height) > (most := limits().max_pixels):
                raise WebPInvalid(f"it has {pixels} pixels; the limit is {most} (PASSLINE_MAX_PIXELS)")
            png = BytesIO()
            image.save(png, "PNG", compress_level=1, exif=image.info.get("exif", b""))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise WebPInvalid(f"it is broken ({error}); export it anew") from error
    return png.getvalue()

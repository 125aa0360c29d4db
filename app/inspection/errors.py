"""Everything that can go wrong in the core, as one tree.

PasslineError
 ├─ ImageError
 │   ├─ ImageEmpty, ImageTruncated, ImageUndecodable, ImageTooLarge, ImageTooSmall
 │   └─ ImageUnsupported, ImageAnimated, FrameMismatch
 ├─ ReferenceMaskError
 │   └─ ReferenceMaskUnreadable, ReferenceMaskSizeMismatch, ReferenceMaskInvalid
 ├─ RecipeError
 │   └─ RecipeUnknown, RecipeInvalid, RecipeDoesNotFit
 ├─ BundleError
 │   └─ BundleInvalid, BundleCorrupt, SelfTestFailed
 ├─ DeviceUnavailable
 └─ InferenceFailed

A message says what is wrong and what would be right. A class says the rest, once: its `code`, `title` and
`fault`, and in its docstring what it means, the remedy, and when a retry can help (never, if it says
nothing). `python -m tests.reference_pages --write` writes docs/errors.md from these.
"""

from enum import Enum
from typing import ClassVar


class Fault(Enum):
    """What kind of fault an error is; the caller that reports the error translates it."""

    BROKEN = "the content is not what it claims to be"
    TOO_LARGE = "there is more of it than the limits allow"
    UNSUPPORTED = "its format is not read"
    UNUSABLE = "it can be read, but not used for this"
    UNAVAILABLE = "this machine cannot inspect, whatever is sent"
    INTERNAL = "the inspection itself failed"


class PasslineError(Exception):
    """Base of every error raised on purpose.

    `code` is the stable name that clients may rely on, `title` a short sentence for people. `fault` is set in
    the core alone: the service's own errors have their HTTP status instead.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    fault: ClassVar[Fault]


class ImageError(PasslineError):
    """The uploaded image cannot be inspected."""

    fault = Fault.BROKEN


class ImageEmpty(ImageError):
    """The upload holds no bytes.

    Remedy: Look at the camera or the file it came from.
    """

    code = "image_empty"
    title = "The image is empty"


class ImageTooLarge(ImageError):
    """The upload has more bytes, or the image more pixels or tiles, than the limits allow.

    Remedy: Send the image in parts.
    """

    code = "image_too_large"
    title = "The image is too large"
    fault = Fault.TOO_LARGE


class ImageTooSmall(ImageError):
    """A side of the image is shorter than the smallest the model can judge.

    Remedy: Send the whole image, not a cut-out.
    """

    code = "image_too_small"
    title = "The image is too small"
    fault = Fault.UNUSABLE


class ImageUnsupported(ImageError):
    """The file type or its pixel format is not one that is read.

    docs/api.md has the table of encodings that are read. A 16-bit file or frame is refused too if it looks as
    if it used fewer bits and nothing says how many.

    Remedy: Export as 8 or 16 bit grey or RGB; TIFF uncompressed, or with LZW or Deflate. Send
    `significant_bits` with 10 to 14 bits in 16.
    """

    code = "image_unsupported"
    title = "The image's type is not supported"
    fault = Fault.UNSUPPORTED


class ImageUndecodable(ImageError):
    """The file is of a supported type, but its content is broken.

    Remedy: Take or export the image again.
    """

    code = "image_undecodable"
    title = "The image cannot be decoded"


class ImageTruncated(ImageError):
    """The file is of a supported type, but ends before the image does.

    It may also lack some of its rows, scans or strips.

    Remedy: Send it whole; wait until the camera has closed the file.

    Retry: with the whole file
    """

    code = "image_truncated"
    title = "The image is cut off"


class ImageAnimated(ImageError):
    """The file holds several frames or pages, so that it is not clear which one to judge.

    One image appended to another counts too.

    Remedy: Send each frame as an image of its own.
    """

    code = "image_animated"
    title = "The image has several frames"
    fault = Fault.UNSUPPORTED


class FrameMismatch(ImageError):
    """The bytes of a raw frame are not as many, or not such, as its size and pixel format say.

    Its width, height, pixel format and stride give a number of bytes, which the message names; its pixel
    format limits their values. So do `significant_bits`, or what a file says of its depth, in files too.

    Remedy: Send the whole buffer, with the parameters that the camera reports for it.
    """

    code = "frame_mismatch"
    title = "The frame is not what its parameters say"


class ReferenceMaskError(PasslineError):
    """The reference mask cannot be compared with."""

    fault = Fault.UNUSABLE


class ReferenceMaskUnreadable(ReferenceMaskError):
    """The reference mask is not a readable image in a lossless format.

    Remedy: Save the mask as PNG, BMP or TIFF.
    """

    code = "reference_mask_unreadable"
    title = "The reference mask cannot be read"


class ReferenceMaskSizeMismatch(ReferenceMaskError):
    """The reference mask has another size than the image.

    Remedy: Draw it on the upright image, at full size.
    """

    code = "reference_mask_size_mismatch"
    title = "The reference mask has another size"


class ReferenceMaskInvalid(ReferenceMaskError):
    """The reference mask holds values that stand for no class.

    Remedy: Use 0 for background and k for the k-th class, or 0 and 255 alone for a defect of any class.
    """

    code = "reference_mask_invalid"
    title = "The reference mask holds values that are no class"


class RecipeError(PasslineError):
    """The recipe cannot be used."""

    fault = Fault.UNUSABLE


class RecipeUnknown(RecipeError):
    """There is no recipe of that name.

    Remedy: Use one of those that the message lists, or make it first.
    """

    code = "recipe_unknown"
    title = "There is no such recipe"


class RecipeInvalid(RecipeError):
    """The recipe breaks its schema, or asks for a class or an operating point the bundle does not have.

    The same holds for a part model, and for a recipe stored under another name than its own.

    Remedy: Correct what the message names: the line, and the field unless it is no YAML or JSON.
    """

    code = "recipe_invalid"
    title = "The recipe is invalid"


class RecipeDoesNotFit(RecipeError):
    """A region or zone of the recipe holds no pixel of the image, so that its rules would judge nothing.

    The same holds where the recipe ignores the whole image, or its margin leaves nothing of the part.

    Remedy: Send the image the recipe was drawn for, at its size, or correct the recipe's polygons or margin.
    """

    code = "recipe_does_not_fit"
    title = "The recipe does not fit the image"


class BundleError(PasslineError):
    """The bundle cannot be served."""

    fault = Fault.UNAVAILABLE


class BundleInvalid(BundleError):
    """`bundle.json` breaks its schema, or the graph breaks the contract stated there.

    Remedy: Publish the bundle again.
    """

    code = "bundle_invalid"
    title = "The bundle is invalid"


class BundleCorrupt(BundleError):
    """A file of the bundle is missing, or its hash is not the one published.

    Remedy: Copy the bundle again; check that the folder is the right one.
    """

    code = "bundle_corrupt"
    title = "The bundle is corrupt"


class SelfTestFailed(BundleError):
    """The bundle does not reproduce its golden samples on the provider in use.

    The thresholds in force apply; the message names what differs.

    Remedy: Do not serve it here; try the CPU as the device.
    """

    code = "self_test_failed"
    title = "The bundle fails its self-test"


class DeviceUnavailable(PasslineError):
    """The device asked for cannot be used on this machine.

    CUDA was asked for, and neither TensorRT nor CUDA could be loaded. There is no silent fall-back.

    Remedy: Repair the driver and libraries, or let the service choose the device.
    """

    code = "device_unavailable"
    title = "The device is not available"
    fault = Fault.UNAVAILABLE


class InferenceFailed(PasslineError):
    """The model could not be run, or gave something that is no probability.

    Remedy: Look at the log and at the GPU. If it stays, restart.

    Retry: perhaps
    """

    code = "inference_failed"
    title = "The model run failed"
    fault = Fault.INTERNAL

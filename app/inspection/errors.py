"""All errors of the core, as one tree.

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

A message says what is wrong and what would be right. The class has the error's `code`, `title` and
`fault`. Its docstring says what the error means, the remedy and when a retry can help; without `Retry:`,
never. `python -m tests.reference_pages --write` writes docs/errors.md from these.
"""

from enum import Enum
from typing import ClassVar


class Fault(Enum):
    """The kind of an error. The caller translates it, for example to an HTTP status."""

    BROKEN = "the content is not what it claims to be"
    TOO_LARGE = "it is larger than the limits allow"
    UNSUPPORTED = "its format is not supported"
    UNUSABLE = "it can be read, but cannot be used for this purpose"
    UNAVAILABLE = "this machine cannot inspect any image"
    INTERNAL = "the inspection itself failed"


class PasslineError(Exception):
    """Base of every error raised on purpose.

    `code` is a stable name that clients may rely on, `title` a short sentence for people. Only errors of
    the core have a `fault`: the service's own errors have an HTTP status instead.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    fault: ClassVar[Fault]


class ImageError(PasslineError):
    """The uploaded image cannot be inspected."""

    fault = Fault.BROKEN


class ImageEmpty(ImageError):
    """The upload holds no bytes.

    Remedy: Check the camera or the source file.
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
    """A side of the image is shorter than the shortest side the model can inspect.

    Remedy: Send the whole image, not a cut-out.
    """

    code = "image_too_small"
    title = "The image is too small"
    fault = Fault.UNUSABLE


class ImageUnsupported(ImageError):
    """The file type or its pixel format is not supported.

    docs/api.md has the table of supported encodings. A 16-bit file or frame is also refused if it seems
    to use fewer than 16 bits and its bit depth is not stated.

    Remedy: Export as 8 or 16 bit grey or RGB; TIFF uncompressed, or with LZW or Deflate. Send
    `significant_bits` for 10 to 14 bits in 16.
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

    Rows, scans or strips may also be missing inside the file.

    Remedy: Send the whole file; wait until the camera has closed it.

    Retry: with the whole file
    """

    code = "image_truncated"
    title = "The image is cut off"


class ImageAnimated(ImageError):
    """The file contains several frames or pages, so it is not clear which one to inspect.

    A second image appended to the first counts too.

    Remedy: Send each frame as an image of its own.
    """

    code = "image_animated"
    title = "The image has several frames"
    fault = Fault.UNSUPPORTED


class FrameMismatch(ImageError):
    """The bytes of a raw frame do not match its size and pixel format.

    Width, height, pixel format and stride give the expected number of bytes, which the message names. A
    sample that needs more bits than the pixel format, `significant_bits` or the file states is also an
    error. The last two apply to files too.

    Remedy: Send the whole buffer, with the parameters that the camera reports for it.
    """

    code = "frame_mismatch"
    title = "The frame is not what its parameters say"


class ReferenceMaskError(PasslineError):
    """The reference mask cannot be used."""

    fault = Fault.UNUSABLE


class ReferenceMaskUnreadable(ReferenceMaskError):
    """The reference mask is not a readable image in a lossless format.

    Remedy: Save the mask as PNG, BMP or TIFF.
    """

    code = "reference_mask_unreadable"
    title = "The reference mask cannot be read"


class ReferenceMaskSizeMismatch(ReferenceMaskError):
    """The size of the reference mask differs from that of the image.

    Remedy: Draw it on the upright image, at full size.
    """

    code = "reference_mask_size_mismatch"
    title = "The reference mask has another size"


class ReferenceMaskInvalid(ReferenceMaskError):
    """The reference mask contains values that are not class numbers.

    Remedy: Use 0 for background and k for the k-th class, or only 0 and 255 for a defect of any class.
    """

    code = "reference_mask_invalid"
    title = "The reference mask holds values that are no class"


class RecipeError(PasslineError):
    """The recipe cannot be used."""

    fault = Fault.UNUSABLE


class RecipeUnknown(RecipeError):
    """There is no recipe with this name.

    Remedy: Use a recipe that the message lists, or create it first.
    """

    code = "recipe_unknown"
    title = "There is no such recipe"


class RecipeInvalid(RecipeError):
    """The recipe violates its schema, or asks for something the bundle does not have.

    That is a class, an operating point or a part model. A recipe stored under a name other than its own
    is invalid too.

    Remedy: Correct the line and field that the message names. Text that is not YAML or JSON has no
    field.
    """

    code = "recipe_invalid"
    title = "The recipe is invalid"


class RecipeDoesNotFit(RecipeError):
    """A region or zone of the recipe contains no pixel of the image, so its rules would check nothing.

    The same error is raised if the recipe ignores the whole image, or its margin leaves nothing of the
    part.

    Remedy: Send the image the recipe was drawn for, at its size, or correct the recipe's polygons or
    margin.
    """

    code = "recipe_does_not_fit"
    title = "The recipe does not fit the image"


class BundleError(PasslineError):
    """The bundle cannot be served."""

    fault = Fault.UNAVAILABLE


class BundleInvalid(BundleError):
    """`bundle.json` violates its schema, or the graph violates the contract stated there.

    Remedy: Publish the bundle again.
    """

    code = "bundle_invalid"
    title = "The bundle is invalid"


class BundleCorrupt(BundleError):
    """A file of the bundle is missing, or its hash differs from the published one.

    Remedy: Copy the bundle again; check that the folder is the right one.
    """

    code = "bundle_corrupt"
    title = "The bundle is corrupt"


class SelfTestFailed(BundleError):
    """The bundle does not reproduce its golden samples on the provider in use.

    The test uses the thresholds in force. The message names each difference. At least one golden sample must
    fail and one pass. A candidate fails too if its trial crashes, or takes longer than
    `PASSLINE_CANDIDATE_TIMEOUT_S`.

    Remedy: Do not serve it here; try the CPU as the device.
    """

    code = "self_test_failed"
    title = "The bundle fails its self-test"


class DeviceUnavailable(PasslineError):
    """The requested device cannot be used on this machine.

    CUDA was requested, but neither TensorRT nor CUDA could be loaded. There is no silent fall-back to
    the CPU.

    Remedy: Repair the driver and libraries, or let the service choose the device.
    """

    code = "device_unavailable"
    title = "The device is not available"
    fault = Fault.UNAVAILABLE


class InferenceFailed(PasslineError):
    """The model could not be run, or an output is not a valid probability.

    Remedy: Check the log and the GPU. If the error persists, restart the service.

    Retry: perhaps
    """

    code = "inference_failed"
    title = "The model run failed"
    fault = Fault.INTERNAL

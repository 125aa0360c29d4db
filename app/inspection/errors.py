"""Everything that can go wrong in the core, as one tree.

PasslineError
 ├─ ImageError                    the uploaded picture cannot be inspected
 │   ├─ ImageEmpty                  no bytes
 │   ├─ ImageTooLarge               too many bytes, pixels or tiles
 │   ├─ ImageTooSmall               a side shorter than the model can judge
 │   ├─ ImageUnsupported            a file type or pixel format that is not read, or 12 bits in 16
 │   ├─ ImageUndecodable            a supported type whose content is broken
 │   ├─ ImageTruncated              a supported type that ends too early
 │   ├─ ImageAnimated               several frames or pages
 │   └─ FrameMismatch               a raw frame whose bytes are not what its parameters say
 ├─ ReferenceMaskError            the reference mask cannot be compared with
 │   ├─ ReferenceMaskUnreadable     not a readable lossless picture
 │   ├─ ReferenceMaskSizeMismatch   not the size of the picture
 │   └─ ReferenceMaskInvalid        values that are no class
 ├─ RecipeError
 │   ├─ RecipeUnknown               no recipe of that name
 │   ├─ RecipeInvalid               a recipe that breaks its schema, or does not fit the bundle
 │   └─ RecipeDoesNotFit            its regions leave nothing of this picture to judge
 ├─ BundleError
 │   ├─ BundleInvalid               breaks its schema, or its graph breaks the contract
 │   ├─ BundleCorrupt               a file is missing or is not the one that was published
 │   └─ SelfTestFailed              golden samples are not reproduced
 ├─ DeviceUnavailable             the device asked for cannot be used
 └─ InferenceFailed               the model run itself failed

Messages say what is wrong and what would be right. `code` is the stable name that clients may rely on.
"""

from typing import ClassVar


class PasslineError(Exception):
    """Base of every error the core raises on purpose."""

    code: ClassVar[str] = "passline_error"


class ImageError(PasslineError):
    """The uploaded picture cannot be inspected."""

    code = "image_error"


class ImageEmpty(ImageError):
    """The upload holds no bytes."""

    code = "image_empty"


class ImageTooLarge(ImageError):
    """The upload has more bytes, or the picture more pixels or tiles, than the limits allow."""

    code = "image_too_large"


class ImageTooSmall(ImageError):
    """A side of the picture is shorter than the smallest the model can judge."""

    code = "image_too_small"


class ImageUnsupported(ImageError):
    """The file type or its pixel format is not one that is read."""

    code = "image_unsupported"


class ImageUndecodable(ImageError):
    """The file is of a supported type, but its content is broken."""

    code = "image_undecodable"


class ImageTruncated(ImageError):
    """The file is of a supported type, but ends before the picture does."""

    code = "image_truncated"


class ImageAnimated(ImageError):
    """The file holds several frames or pages, so that it is not clear which one to judge."""

    code = "image_animated"


class FrameMismatch(ImageError):
    """The bytes of a raw frame are not as many, or not such, as its size and pixel format say."""

    code = "frame_mismatch"


class ReferenceMaskError(PasslineError):
    """The reference mask cannot be compared with."""

    code = "reference_mask_error"


class ReferenceMaskUnreadable(ReferenceMaskError):
    """The reference mask is not a readable picture in a lossless format."""

    code = "reference_mask_unreadable"


class ReferenceMaskSizeMismatch(ReferenceMaskError):
    """The reference mask has another size than the picture."""

    code = "reference_mask_size_mismatch"


class ReferenceMaskInvalid(ReferenceMaskError):
    """The reference mask holds values that stand for no class."""

    code = "reference_mask_invalid"


class RecipeError(PasslineError):
    """The recipe cannot be used."""

    code = "recipe_error"


class RecipeUnknown(RecipeError):
    """There is no recipe of that name."""

    code = "recipe_unknown"


class RecipeInvalid(RecipeError):
    """The recipe breaks its schema, or asks for a class or an operating point the bundle does not have."""

    code = "recipe_invalid"


class RecipeDoesNotFit(RecipeError):
    """A region or zone of the recipe holds no pixel of the picture, so that its rules would judge nothing."""

    code = "recipe_does_not_fit"


class BundleError(PasslineError):
    """The bundle cannot be served."""

    code = "bundle_error"


class BundleInvalid(BundleError):
    """`bundle.json` breaks its schema, or the graph breaks the contract stated there."""

    code = "bundle_invalid"


class BundleCorrupt(BundleError):
    """A file of the bundle is missing, or its hash is not the one published."""

    code = "bundle_corrupt"


class SelfTestFailed(BundleError):
    """The bundle does not reproduce its golden samples on the provider in use."""

    code = "self_test_failed"


class DeviceUnavailable(PasslineError):
    """The device asked for cannot be used on this machine."""

    code = "device_unavailable"


class InferenceFailed(PasslineError):
    """The model could not be run, or gave something that is no probability."""

    code = "inference_failed"

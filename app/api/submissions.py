"""What a request submits for inspection, from its form or its body: images, reference mask, options."""

from pydantic import ValidationError

from app.api.multipart import File, Form
from app.errors import RequestInvalid, WrongField
from app.inspection.decoding.raw import RawFrame
from app.jobs.job import Submission, Upload
from app.schemas.inspections import FrameOptions, Labels, Options

RAW_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff")
# other names that clients use for these; the format is detected from the content
OTHER_NAMES = (
    *("image/jpg", "image/pjpeg", "image/x-png", "image/tif", "image/x-tiff", "image/x-tif"),
    *("image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp"),
)
FORM_TYPE = "multipart/form-data"
JSON_TYPE = "application/json"
FORM_TYPES = (FORM_TYPE, JSON_TYPE)
FRAME_TYPE = "application/octet-stream"  # of raw frames
FRAME_NEEDS = ("width", "height", "pixel_format")
FRAME_FIELDS = (*FRAME_NEEDS, "stride")
LABEL_FIELDS = frozenset(Labels.model_fields)
PART_IMAGES = (2, 64)  # the fewest and the most images of one part


def of_body(data: bytes, media_type: str, query: Options) -> Submission:
    """The image that is the whole body: a file, or a raw frame that the query describes."""
    return Submission((Upload(None, _as_sent(data, media_type, query)),), query)


def of_image(form: Form, query: Options) -> Submission:
    """One image, perhaps with a reference mask."""
    if not form.files["image"]:
        raise _missing(form, "image", "send the image in a field of this name")
    image = form.files["image"][0]
    masks = [file.data for file in form.files["reference_mask"]]
    upload = Upload(image.filename, _of_form(image, query), masks[0] if masks else None)
    return Submission((upload,), _options(form, query))


def of_batch(form: Form, query: Options, *, with_candidate: bool) -> Submission:
    """The images of a batch, perhaps with a recipe to try."""
    images = tuple(Upload(each.filename, _of_form(each, query)) for each in form.files["images"])
    if not images:
        raise _missing(form, "images", "send each image of the batch in a field of this name")
    candidate = _candidate(form) if with_candidate else ""
    return Submission(images, _options(form, query), candidate)


def of_part(form: Form, query: Options) -> Submission:
    """The images of one part, with its id."""
    images = tuple(Upload(each.filename, _of_form(each, query)) for each in form.files["image"])
    options = _options(form, query)
    fewest, _ = PART_IMAGES
    if len(images) < fewest:
        message = f"is given {len(images)} times; a part has at least {fewest} images"
        field = f"{form.place}.image"
        raise RequestInvalid(f"{field} {message}", (WrongField(field, message),))
    if options.part_id is None:
        raise _missing(form, "part_id", "say which part the images show")
    return Submission(images, options)


def _candidate(form: Form) -> str:
    if not form.files["candidate"]:
        raise _missing(form, "candidate", "send the recipe to try in a field of this name")
    return decoded(form.files["candidate"][0].data, "form.candidate")


def decoded(data: bytes, field: str) -> str:
    """UTF-8 text; raises RequestInvalid that names `field`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text: {error}"
        raise RequestInvalid(f"{field}: {message}", (WrongField(field, message),)) from error


def _options(form: Form, query: Options) -> Options:
    """The query with the form's labels added; a label in both is refused, even with equal values."""
    twice = sorted(form.texts.keys() & {name for name in LABEL_FIELDS if getattr(query, name) is not None})
    if twice:
        message = "is given both in the body and in the query; give it once"
        raise RequestInvalid(
            f"{', '.join(twice)} {message}", tuple(WrongField(name, message) for name in twice)
        )
    try:
        labels = Labels.model_validate(form.texts)
    except ValidationError as error:
        wrong = [each | {"loc": (form.place, *each["loc"])} for each in error.errors(include_input=False)]
        raise RequestInvalid.of_validation(wrong) from error
    return query.model_copy(update=labels.model_dump(exclude_unset=True))


def _missing(form: Form, field: str, what: str) -> RequestInvalid:
    field = f"{form.place}.{field}"
    return RequestInvalid(f"{field} is missing; {what}", (WrongField(field, "is missing"),))


def _of_form(file: File, query: FrameOptions) -> bytes | RawFrame:
    """A form's image: a raw frame if the query describes frames, else a file."""
    if not _frame_fields(query):  # many clients call any file application/octet-stream
        return file.data
    media_type = file.media_type or FRAME_TYPE
    check_frame(media_type, query)
    return _as_sent(file.data, media_type, query)


def _frame_fields(query: FrameOptions) -> list[str]:
    return [name for name in FRAME_FIELDS if getattr(query, name) is not None]


def check_frame(media_type: str, query: FrameOptions) -> None:
    """Refuse a raw frame that lacks parameters, and a file with a raw frame's parameters."""
    if media_type == FRAME_TYPE:
        wrong = [name for name in FRAME_NEEDS if getattr(query, name) is None]
        message = (
            f"missing; a frame needs {', '.join(FRAME_NEEDS)}, and a file its own type, such as image/jpeg"
        )
    else:
        wrong = _frame_fields(query)
        message = f"for frames sent as {FRAME_TYPE}; the image is {media_type}"
    if wrong:
        fields = tuple(WrongField(f"query.{name}", f"is {message}") for name in wrong)
        verb = "is" if len(fields) == 1 else "are"
        names = ", ".join(each.field for each in fields)
        raise RequestInvalid(f"{names} {verb} {message}", fields)


def _as_sent(data: bytes, media_type: str, query: FrameOptions) -> bytes | RawFrame:
    """The file's bytes or the raw frame, from checked parameters."""
    if media_type != FRAME_TYPE or query.width is None or query.height is None or query.pixel_format is None:
        return data
    return RawFrame(data, query.width, query.height, query.pixel_format, query.stride)

"""Images from request bodies, with limits on the bytes of one body, on all bodies, and on time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import ValidationError
from starlette.requests import Request

from app.api.json_bodies import read_form
from app.api.multipart import File, Form, FormReader
from app.errors import (
    BodyTooLarge,
    ContentEncodingUnsupported,
    MediaTypeUnsupported,
    Overloaded,
    RequestInvalid,
    UploadTimeout,
    WrongField,
)
from app.fair_share import PROXY, FairShare
from app.inspection.decoding.raw import RawFrame
from app.inspection.rules.recipe_text import MAX_RECIPE_CHARS
from app.jobs.job import Submission, Upload
from app.schemas.inspections import FrameOptions, Labels, Options
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

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
TEXT_TYPES = ("application/yaml", JSON_TYPE)
MAX_TEXT_BYTES = 4 * MAX_RECIPE_CHARS  # a character takes at most 4 bytes in UTF-8
LABEL_FIELDS = frozenset(Labels.model_fields)
RETRY_S = 1
PART_IMAGES = (2, 64)  # the fewest and the most images of one part


class Uploads:
    """Reads request bodies; `memory` counts the bytes held at the moment, by caller."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._one_json = asyncio.Lock()  # one at a time: parsing takes several times the body's bytes
        self.memory = FairShare(settings.upload_memory_bytes)

    @asynccontextmanager
    async def single(self, request: Request, query: Options) -> AsyncIterator[Submission]:
        """The one image of a request, from a form or the body; its memory is counted until the end."""
        hint = (
            f"send {FORM_TYPE} with the image in the field `image`, or the image itself as"
            f" {', '.join(RAW_TYPES)}, a camera's frame as {FRAME_TYPE}, or {JSON_TYPE} with it in base64"
        )
        media_type = _media_type(request, (*FORM_TYPES, *RAW_TYPES, *OTHER_NAMES, FRAME_TYPE), hint)
        if media_type not in FORM_TYPES:
            _check_frame(media_type, query)
        async with self._body(request, self._settings.max_upload_bytes) as chunks:
            if media_type in FORM_TYPES:
                form = await self._form(request, chunks, {"image": 1, "reference_mask": 1})
                yield _one_picture(form, query)
            else:
                data = _as_sent(await _joined(chunks), media_type, query)
                yield Submission((Upload(None, data),), query)

    async def text(self, request: Request, media_types: tuple[str, ...] = TEXT_TYPES) -> str:
        """Read a text body; raises RequestInvalid if it is not UTF-8."""
        _media_type(request, media_types, f"send {' or '.join(media_types)}")
        async with self._body(request, MAX_TEXT_BYTES) as chunks:
            return _decoded(await _joined(chunks), "body")

    @asynccontextmanager
    async def batch(
        self, request: Request, query: Options, *, with_candidate: bool = False
    ) -> AsyncIterator[Submission]:
        """The images of a batch, perhaps with a recipe; their memory is counted until the end."""
        taken = (FORM_TYPE,) if with_candidate else FORM_TYPES
        _media_type(request, taken, f"a batch is {' or '.join(taken)} with each image in a field `images`")
        async with self._body(request, self._settings.max_batch_bytes) as chunks:
            most = {"images": self._settings.max_batch_images} | ({"candidate": 1} if with_candidate else {})
            form = await self._form(request, chunks, most)
            pictures = tuple(Upload(each.filename, _of_form(each, query)) for each in form.files["images"])
            if not pictures:
                raise _missing(form, "images", "send each image of the batch in a field of this name")
            candidate = _candidate(form) if with_candidate else ""
            yield Submission(pictures, _options(form, query), candidate)

    @asynccontextmanager
    async def part(self, request: Request, query: Options) -> AsyncIterator[Submission]:
        """The images of one part, with its id; their memory is counted until the end."""
        hint = f"a part is {' or '.join(FORM_TYPES)} with each image in a field `image`"
        _media_type(request, FORM_TYPES, hint)
        fewest, most = PART_IMAGES
        async with self._body(request, self._settings.max_batch_bytes) as chunks:
            form = await self._form(request, chunks, {"image": min(most, self._settings.max_batch_images)})
            images = tuple(Upload(each.filename, _of_form(each, query)) for each in form.files["image"])
            options = _options(form, query)
            if len(images) < fewest:
                message = f"is given {len(images)} times; a part has at least {fewest} images"
                field = f"{form.place}.image"
                raise RequestInvalid(f"{field} {message}", (WrongField(field, message),))
            if options.part_id is None:
                raise _missing(form, "part_id", "say which part the images show")
            yield Submission(images, options)

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body in pieces; raises once it exceeds a limit. Its bytes count as held until the end."""
        if _declared_type(request) == JSON_TYPE:  # parsing takes up to seven times its bytes for a moment
            limit = min(limit, self._settings.max_upload_bytes)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        held = 0
        caller = _caller(request)

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal held
            async for piece in request.stream():
                if held + len(piece) > limit:  # a body may declare no length, or a wrong one
                    raise _too_large(limit)
                if not self.memory.take(caller, len(piece)):
                    raise Overloaded(f"all memory for uploads of {caller} is taken; try again later", RETRY_S)
                held += len(piece)
                yield piece

        try:
            yield self._in_time(pieces())
        finally:
            self.memory.give_back(caller, held)

    async def _in_time(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        until = asyncio.get_running_loop().time() + self._settings.upload_timeout_ms / 1000
        while True:
            try:
                async with asyncio.timeout_at(until):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise UploadTimeout(
                    f"the body did not arrive within {self._settings.upload_timeout_ms} ms; send it again"
                ) from None
            if piece is None:
                return
            yield piece

    async def _form(self, request: Request, chunks: AsyncIterator[bytes], most_files: dict[str, int]) -> Form:
        if _declared_type(request) == JSON_TYPE:
            body = await _joined(chunks)
            async with self._one_json:
                return await asyncio.to_thread(read_form, body, most_files, LABEL_FIELDS)
        reader = FormReader(request.headers["content-type"], most_files, LABEL_FIELDS)
        async for chunk in chunks:
            reader.feed(chunk)
        return reader.finish()


def _caller(request: Request) -> str:
    """The caller whose share of the memory a body uses: the key or, without keys, the address."""
    if (key := KEY_NAME.get()) is not None:
        return f"key {key}"
    return f"address {request.client.host}" if request.client else PROXY


def _declared_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _media_type(request: Request, taken: Sequence[str], hint: str) -> str:
    """The body's media type; raises if it is not accepted, or if the body is compressed."""
    encodings = [
        each.strip() for line in request.headers.getlist("content-encoding") for each in line.split(",")
    ]
    if any(each.lower() not in ("", "identity") for each in encodings):
        raise ContentEncodingUnsupported(
            f"Content-Encoding is {', '.join(encodings)[:64]}; send the body without compression"
        )
    media_type = _declared_type(request)
    if media_type not in taken:
        raise MediaTypeUnsupported(f"the body is {media_type or 'of no stated type'}; {hint}")
    return media_type


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    """The whole body. Thousands of chunks kept until then would leave gaps in the memory they came from."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
    return bytes(body)


def _one_picture(form: Form, query: Options) -> Submission:
    if not form.files["image"]:
        raise _missing(form, "image", "send the image in a field of this name")
    image: File = form.files["image"][0]
    masks = [file.data for file in form.files["reference_mask"]]
    return Submission(
        (Upload(image.filename, _of_form(image, query), masks[0] if masks else None),), _options(form, query)
    )


def _candidate(form: Form) -> str:
    if not form.files["candidate"]:
        raise _missing(form, "candidate", "send the recipe to try in a field of this name")
    return _decoded(form.files["candidate"][0].data, "form.candidate")


def _decoded(data: bytes, field: str) -> str:
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


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit} bytes, the limit here")


def _of_form(file: File, query: FrameOptions) -> bytes | RawFrame:
    """A form's image: a raw frame if the query describes frames, else a file."""
    if not _frame_fields(query):  # many clients call any file application/octet-stream
        return file.data
    media_type = file.media_type or FRAME_TYPE
    _check_frame(media_type, query)
    return _as_sent(file.data, media_type, query)


def _frame_fields(query: FrameOptions) -> list[str]:
    return [name for name in FRAME_FIELDS if getattr(query, name) is not None]


def _check_frame(media_type: str, query: FrameOptions) -> None:
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

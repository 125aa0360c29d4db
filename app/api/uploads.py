"""Images from request bodies, with limits on the bytes of one body, on all bodies, and on time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.access.auth import check_names
from app.api.json_bodies import read_form
from app.api.multipart import Form, FormReader
from app.api.submissions import (
    FORM_TYPE,
    FORM_TYPES,
    FRAME_TYPE,
    JSON_TYPE,
    LABEL_FIELDS,
    OTHER_NAMES,
    PART_IMAGES,
    RAW_TYPES,
    check_frame,
    decoded,
    of_batch,
    of_body,
    of_image,
    of_part,
)
from app.errors import (
    BodyTooLarge,
    ContentEncodingUnsupported,
    MediaTypeUnsupported,
    Overloaded,
    UploadTimeout,
)
from app.fair_share import PROXY, FairShare, caller_of
from app.inspection.rules.recipe_text import MAX_RECIPE_CHARS
from app.jobs.job import Submission
from app.schemas.inspections import Options
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

T = TypeVar("T")
TEXT_TYPES = ("application/yaml", JSON_TYPE)
MAX_TEXT_BYTES = 4 * MAX_RECIPE_CHARS  # a character takes at most 4 bytes in UTF-8
RETRY_S = 1


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
        check_names(request, query)  # before the body is read
        media_type = _media_type(request, (*FORM_TYPES, *RAW_TYPES, *OTHER_NAMES, FRAME_TYPE), hint)
        if media_type not in FORM_TYPES:
            check_frame(media_type, query)
        async with self._body(request, self._settings.max_upload_bytes) as chunks:
            if media_type in FORM_TYPES:
                form = await self._form(request, chunks, {"image": 1, "reference_mask": 1})
                yield _permitted(request, of_image(form, query))
            else:
                yield of_body(await _joined(chunks), media_type, query)

    async def text(
        self, request: Request, media_types: tuple[str, ...] = TEXT_TYPES, limit: int = MAX_TEXT_BYTES
    ) -> str:
        """Read a text body of at most `limit` bytes; raises RequestInvalid if it is not UTF-8."""
        _media_type(request, media_types, f"send {' or '.join(media_types)}")
        async with self._body(request, limit) as chunks:
            return decoded(await _joined(chunks), "body")

    @asynccontextmanager
    async def batch(
        self, request: Request, query: Options, *, with_candidate: bool = False
    ) -> AsyncIterator[Submission]:
        """The images of a batch, perhaps with a recipe; their memory is counted until the end."""
        check_names(request, query)
        taken = (FORM_TYPE,) if with_candidate else FORM_TYPES
        _media_type(request, taken, f"a batch is {' or '.join(taken)} with each image in a field `images`")
        async with self._body(request, self._settings.max_batch_bytes) as chunks:
            most = {"images": self._settings.max_batch_images} | ({"candidate": 1} if with_candidate else {})
            form = await self._form(request, chunks, most)
            yield _permitted(request, of_batch(form, query, with_candidate=with_candidate))

    @asynccontextmanager
    async def part(self, request: Request, query: Options) -> AsyncIterator[Submission]:
        """The images of one part, with its id; their memory is counted until the end."""
        check_names(request, query)
        hint = f"a part is {' or '.join(FORM_TYPES)} with each image in a field `image`"
        _media_type(request, FORM_TYPES, hint)
        most = min(PART_IMAGES[1], self._settings.max_batch_images)
        async with self._body(request, self._settings.max_batch_bytes) as chunks:
            form = await self._form(request, chunks, {"image": most})
            yield _permitted(request, of_part(form, query))

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body in pieces; raises once it exceeds a limit. Its bytes count as held until the end."""
        if _declared_type(request) == JSON_TYPE:  # parsing takes up to seven times its bytes for a moment
            limit = min(limit, self._settings.max_upload_bytes)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        held = 0
        caller = caller_of_request(request)

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


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, but cancel it and raise ClientDisconnect if the client closes the connection.

    Call it after the body has been read: then the next message can only be the disconnect.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _permitted(request: Request, submission: Submission) -> Submission:
    """The submission if the key may name its camera and recipe, which a form may contain."""
    check_names(request, submission.options)
    return submission


def caller_of_request(request: Request) -> str:
    """The caller whose share of the memory a body uses: the key or, without keys, the address."""
    if (key := KEY_NAME.get()) is not None:
        return f"key {key}"
    return f"address {caller_of(request.client.host)}" if request.client else PROXY


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


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit} bytes, the limit here")

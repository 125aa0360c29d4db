"""`Idempotency-Key`: a request sent again is answered as the first time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request

from app.api.dependencies import ReadyService
from app.api.uploads import caller_of_request
from app.errors import RequestInvalid, WrongField
from app.history.idempotency import fingerprint_of
from app.inspection.decoding.raw import RawFrame
from app.jobs.job import Submission
from app.schemas.inspections import Shape
from app.service import Service

HEADER = "Idempotency-Key"
S = TypeVar("S", bound=Shape)


@dataclass(frozen=True, slots=True)
class Once:
    """One request and the key that it was sent with, if any."""

    request: Request
    service: Service
    key: str | None

    async def answer(self, submission: Submission, shape: type[S], make: Callable[[], Awaitable[S]]) -> S:
        """What `make` gives, an answer of `shape`; with a key, what it gave the first time.

        Raises IdempotencyKeyReused, and the errors of `make`.
        """
        if self.key is None:
            return await make()

        async def dumped() -> bytes:
            return (await make()).model_dump_json().encode()

        fingerprint = fingerprint_of(self.request.url.path.encode(), *_parts(submission))
        caller = caller_of_request(self.request)
        answers = self.service.history.first_answers
        content = await answers.answer(caller, self.key, fingerprint, dumped)
        return shape.model_validate_json(content)


async def _once(
    request: Request,
    service: ReadyService,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=128,
            pattern=r"^[\x21-\x7e]+$",
            description="A name of this request, new for each image: sent again with the same image and query"
            " within `PASSLINE_IDEMPOTENCY_S`, it gets the first answer instead of a second inspection.",
        ),
    ] = None,
) -> Once:
    """The request with its key; raises RequestInvalid if there are several."""
    if len(request.headers.getlist(HEADER)) > 1:
        message = "is given more than once; give it once"
        field = f"header.{HEADER}"
        raise RequestInvalid(f"{field} {message}", (WrongField(field, message),))
    return Once(request, service, key)


SentOnce = Annotated[Once, Depends(_once)]


def _parts(submission: Submission) -> list[bytes]:
    """What tells two submissions apart."""
    parts = [submission.options.model_dump_json().encode()]
    for upload in submission.pictures:
        data = upload.data.data if isinstance(upload.data, RawFrame) else upload.data
        parts += [(upload.filename or "").encode(), data, upload.reference_mask or b""]
    return parts

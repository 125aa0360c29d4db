"""Shared by endpoints: the service, the deadline, JSON bodies, and content negotiation."""

import asyncio
import re
from collections.abc import Iterable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import ValidationError

from app.api.json_bodies import parse
from app.api.uploads import Uploads
from app.errors import RequestInvalid
from app.inspection.repeats import repeated
from app.schemas.inspections import Shape
from app.service import Service

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")
DEADLINE = "X-Deadline-Ms"
LONGEST_DEADLINE_MS = 600_000
S = TypeVar("S", bound=Shape)


# Dependencies are coroutines, although they await nothing: FastAPI runs plain functions on threads, and
# switching to a thread and back takes longer than these functions.
async def service_of(request: Request) -> Service:
    """The service behind the app that serves this request."""
    service: Service = request.app.state.service
    return service


async def ready_service_of(request: Request) -> Service:
    """As `service_of`, but raise NotReady, before the body is read, if no image can be inspected."""
    service = await service_of(request)
    service.readiness()
    return service


def uploads_of(request: Request) -> Uploads:
    """The reader of request bodies."""
    uploads: Uploads = request.app.state.uploads
    return uploads


TheService = Annotated[Service, Depends(service_of)]
ReadyService = Annotated[Service, Depends(ready_service_of)]
DeadlineMs = Annotated[
    int | None,
    Header(
        alias=DEADLINE,
        ge=1,
        le=LONGEST_DEADLINE_MS,
        description="Deadline of the answer, in milliseconds from the request's arrival.",
    ),
]


async def each_once(request: Request) -> None:
    """Refuse a query parameter or a deadline given twice: one of the values would be ignored."""
    places = [("query", name) for name, _ in request.query_params.multi_items()]
    places += [("header", DEADLINE)] * len(request.headers.getlist(DEADLINE))
    wrong = [{"loc": place, "msg": "Given more than once; give it once"} for place in repeated(places)]
    if wrong:
        raise RequestInvalid.of_validation(wrong)


async def single_deadline(service: ReadyService, asked_ms: DeadlineMs = None) -> float:
    """The deadline of a single inspection, in the event loop's time."""
    return _deadline(asked_ms or service.settings.deadline_ms)


async def batch_deadline(service: ReadyService, asked_ms: DeadlineMs = None) -> float:
    """As `single_deadline`, for a batch."""
    return _deadline(asked_ms or service.settings.batch_deadline_ms)


def _deadline(milliseconds: int) -> float:
    return asyncio.get_running_loop().time() + milliseconds / 1000


SingleDeadline = Annotated[float, Depends(single_deadline)]
BatchDeadline = Annotated[float, Depends(batch_deadline)]


def wants(accept: Iterable[str], media_type: str, instead_of: str) -> bool:
    """Whether `Accept`, all lines of it, prefers one media type to the default (RFC 9110, section 12.5.1).

    On a tie, or without Accept, the default wins.
    """
    ranges = [each for line in accept for each in line.split(",") if each.strip()]
    return _quality(ranges, media_type) > _quality(ranges, instead_of)


def _quality(ranges: Iterable[str], media_type: str) -> float:
    """The quality (`q`) of the most specific range that matches the media type; 0 if none does."""
    kind = media_type.partition("/")[0]
    exactness = {"*/*": 1, f"{kind}/*": 2, media_type: 3}
    found = [(0, 0.0)]
    for each in ranges:
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        quality = given.get("q", "1").strip()
        if name in exactness and _QUALITY.fullmatch(quality):
            found.append((exactness[name], float(quality)))
    return max(found)[1]


def read_json(shape: type[S], text: str) -> S:
    """Validate a JSON body; raises RequestInvalid naming each invalid field."""
    try:
        return shape.model_validate(parse(text))
    except ValidationError as error:
        wrong = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_input=False)]
        raise RequestInvalid.of_validation(wrong) from error

"""What endpoints share: the service, the deadline, JSON bodies, the form of answer that is wanted."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import ValidationError

from app.api.uploads import Uploads
from app.errors import RequestInvalid
from app.inspection.repeats import repeated
from app.schemas.inspections import Shape
from app.service import Service

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")
DEADLINE = "X-Deadline-Ms"
LONGEST_DEADLINE_MS = 600_000
S = TypeVar("S", bound=Shape)


# Dependencies are coroutines though they await nothing: FastAPI has threads run plain functions, and each way
# to a thread and back takes longer than all that these do.
async def service_of(request: Request) -> Service:
    """The service behind the app that serves this request."""
    service: Service = request.app.state.service
    return service


async def ready_service_of(request: Request) -> Service:
    """As `service_of`, but only if it judges pictures; raises NotReady before the body is read."""
    service = await service_of(request)
    service.readiness()
    return service


def uploads_of(request: Request) -> Uploads:
    """What reads the bodies of requests."""
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
        description="Milliseconds from the request's arrival after which the answer is of no use.",
    ),
]


async def each_once(request: Request) -> None:
    """Refuse a query parameter, or a deadline, given twice: one would win, and the other have been meant."""
    places = [("query", name) for name, _ in request.query_params.multi_items()]
    places += [("header", DEADLINE)] * len(request.headers.getlist(DEADLINE))
    wrong = [{"loc": place, "msg": "Given more than once; give it once"} for place in repeated(places)]
    if wrong:
        raise RequestInvalid.of_validation(wrong)


async def single_deadline(service: ReadyService, asked_ms: DeadlineMs = None) -> float:
    """When one image's answer is of no use any more, in the event loop's time."""
    return _deadline(asked_ms or service.settings.deadline_ms)


async def batch_deadline(service: ReadyService, asked_ms: DeadlineMs = None) -> float:
    """As `single_deadline`, of several images."""
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
    """How much a media type is liked, 0 for not at all: the most exact range that names it says so."""
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
    """What a body says; raises RequestInvalid naming each wrong field."""
    try:
        return shape.model_validate(json.loads(text, object_pairs_hook=_each_once))
    except ValidationError as error:
        wrong = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_input=False)]
        raise RequestInvalid.of_validation(wrong) from error
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not JSON as it should be: {error}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated(key for key, _ in pairs):
        raise ValueError("a key is given twice, and one of the two would be lost")
    return dict(pairs)

"""HTTP in, call, HTTP out: every endpoint, and no logic."""

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response

from app.access.auth import needs
from app.api import openapi
from app.api.dependencies import wants
from app.api.docs_page import docs_page
from app.api.parts import inspect_part
from app.api.uploads import unless_client_leaves
from app.schemas.inspections import (
    BatchAnswer,
    BatchOptions,
    Health,
    InspectionAnswer,
    ModelAnswer,
    Options,
    Readiness,
)
from app.schemas.parts import PartAnswer
from app.service import Service

DEADLINE = "X-Deadline-Ms"
LONGEST_DEADLINE_MS = 600_000
open_router = APIRouter()  # for everyone: probes, and a page that holds nothing of this box
router = APIRouter(dependencies=[needs("inspect")])


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
    counts = Counter(("query", name) for name, _ in request.query_params.multi_items())
    counts["header", DEADLINE] = len(request.headers.getlist(DEADLINE))
    twice = [place for place, count in counts.items() if count > 1]
    wrong = [{"loc": place, "msg": "Given more than once; give it once"} for place in twice]
    if wrong:
        raise RequestValidationError(wrong)


@router.post(
    "/v1/inspections",
    tags=["inspections"],
    summary="Inspect one picture",
    response_model=InspectionAnswer,
    responses=openapi.INSPECTION,
    openapi_extra=openapi.INSPECTION_BODY,
    dependencies=[Depends(each_once)],
)
async def inspect(
    request: Request,
    service: ReadyService,
    options: Annotated[Options, Query()],
    deadline_ms: DeadlineMs = None,
) -> InspectionAnswer | Response:
    """Judge one picture, sent as a form with the field `image` or as the request's body itself.

    With an `Accept` that prefers `text/html` the answer is the inspection's certificate and nothing else.
    """
    deadline = deadline_of(deadline_ms or service.settings.deadline_ms)
    as_page = wants(request.headers.getlist("accept"), "text/html", "application/json")
    if as_page:
        options = options.model_copy(update={"certificate": True})
    async with service.uploads.single(request, options) as submission:
        answer = await unless_client_leaves(request, service.inspect(submission, deadline))
    return HTMLResponse(answer.certificate, headers=openapi.PAGE_HEADERS) if as_page else answer


@router.post(
    "/v1/inspections/batch",
    tags=["inspections"],
    summary="Inspect many pictures",
    responses=openapi.BATCH_PROBLEMS,
    openapi_extra=openapi.BATCH_BODY,
    dependencies=[Depends(each_once)],
)
async def inspect_batch(
    request: Request,
    service: ReadyService,
    options: Annotated[BatchOptions, Query()],
    deadline_ms: DeadlineMs = None,
) -> BatchAnswer:
    """Judge each picture of the repeated form field `images` by itself: a bad one never fails the others."""
    deadline = deadline_of(deadline_ms or service.settings.batch_deadline_ms)
    async with service.uploads.batch(request, options) as submission:
        return await unless_client_leaves(request, service.inspect_batch(submission, deadline))


@router.post(
    "/v1/parts",
    tags=["inspections"],
    summary="Inspect one part by several images",
    responses=openapi.PART,
    openapi_extra=openapi.PART_BODY,
    dependencies=[Depends(each_once)],
)
async def inspect_images_of_part(
    request: Request,
    service: ReadyService,
    options: Annotated[BatchOptions, Query()],
    deadline_ms: DeadlineMs = None,
) -> PartAnswer:
    """Inspect each image of the repeated form field `image`, and give the part one verdict by the recipe."""
    deadline = deadline_of(deadline_ms or service.settings.batch_deadline_ms)
    async with service.uploads.part(request, options) as submission:
        return await unless_client_leaves(request, inspect_part(service, submission, deadline))


@router.get("/v1/model", tags=["model"], summary="The bundle being served", responses=openapi.READ)
async def model(service: TheService) -> ModelAnswer:
    """Name, classes, input contract, operating point with its expected rates, recipes, and training data."""
    return service.model()


@open_router.get("/healthz", tags=["operation"], summary="Is the process alive?")
async def healthz() -> Health:
    """Answers as long as the process serves at all; restart it when this fails."""
    return Health(status="ok")


@open_router.get("/readyz", tags=["operation"], summary="Are pictures judged?", responses=openapi.NOT_READY)
async def readyz(service: TheService) -> Readiness:
    """Ready with what, or a problem that says why not."""
    return service.readiness()


@router.get(
    "/metrics",
    tags=["operation"],
    summary="Prometheus metrics",
    response_class=Response,
    responses=openapi.METRICS,
)
async def metrics(service: TheService) -> Response:
    """Verdicts, problems, durations, the queue, and what is being served, in Prometheus' text format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@open_router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The OpenAPI document as a page."""
    return docs_page()


def deadline_of(milliseconds: int) -> float:
    """The event loop's time, so many milliseconds from now."""
    return asyncio.get_running_loop().time() + milliseconds / 1000

"""HTTP in, call, HTTP out: every endpoint, and no logic."""

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response

from app import openapi
from app.schemas import BatchAnswer, BatchOptions, Health, InspectionAnswer, ModelAnswer, Options, Readiness
from app.service import Service
from app.uploads import unless_client_leaves

LONGEST_DEADLINE_MS = 600_000
router = APIRouter()


def service_of(request: Request) -> Service:
    """The service behind the app that serves this request."""
    service: Service = request.app.state.service
    return service


def ready_service_of(request: Request) -> Service:
    """As `service_of`, but only if it judges pictures; raises NotReady before the body is read."""
    service = service_of(request)
    service.readiness()
    return service


TheService = Annotated[Service, Depends(service_of)]
ReadyService = Annotated[Service, Depends(ready_service_of)]
DeadlineMs = Annotated[
    int | None,
    Header(
        alias="X-Deadline-Ms",
        ge=1,
        le=LONGEST_DEADLINE_MS,
        description="Milliseconds from the request's arrival after which the answer is of no use.",
    ),
]


def each_once(request: Request) -> None:
    """Refuse a query parameter given twice: the last would win, and another recipe might have been meant."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in counts.items() if count > 1]
    wrong = [{"loc": ("query", name), "msg": "Given more than once; give it once"} for name in twice]
    if wrong:
        raise RequestValidationError(wrong)


@router.post(
    "/v1/inspections",
    tags=["inspections"],
    summary="Inspect one picture",
    responses=openapi.INSPECTION_PROBLEMS,
    openapi_extra=openapi.INSPECTION_BODY,
    dependencies=[Depends(each_once)],
)
async def inspect(
    request: Request,
    service: ReadyService,
    options: Annotated[Options, Query()],
    deadline_ms: DeadlineMs = None,
) -> InspectionAnswer:
    """Judge one picture, sent as a form with the field `image` or as the request's body itself."""
    deadline = _deadline(deadline_ms or service.settings.deadline_ms)
    async with service.uploads.single(request, options) as submission:
        return await unless_client_leaves(request, service.inspect(submission, deadline))


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
    deadline = _deadline(deadline_ms or service.settings.batch_deadline_ms)
    async with service.uploads.batch(request, options) as submission:
        return await unless_client_leaves(request, service.inspect_batch(submission, deadline))


@router.get("/v1/model", tags=["model"], summary="The bundle being served", responses=openapi.NOT_READY)
async def model(service: TheService) -> ModelAnswer:
    """Name, classes, input contract, operating point with its expected rates, recipes, and training data."""
    return service.model()


@router.get("/healthz", tags=["operation"], summary="Is the process alive?")
async def healthz() -> Health:
    """Answers as long as the process serves at all; restart it when this fails."""
    return Health(status="ok")


@router.get("/readyz", tags=["operation"], summary="Are pictures judged?", responses=openapi.NOT_READY)
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


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The OpenAPI document as a page."""
    return openapi.docs_page()


def _deadline(milliseconds: int) -> float:
    return asyncio.get_running_loop().time() + milliseconds / 1000

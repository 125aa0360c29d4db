"""Endpoints for inspections, the model, health and metrics; no logic."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.access.auth import needs
from app.api import openapi
from app.api.dependencies import (
    BatchDeadline,
    ReadyService,
    SingleDeadline,
    TheService,
    each_once,
    uploads_of,
)
from app.api.docs import docs_page
from app.api.idempotency import SentOnce
from app.api.parts import inspect_part
from app.api.uploads import unless_client_leaves
from app.schemas.inspections import (
    BatchAnswer,
    BatchOptions,
    Health,
    InspectionAnswer,
    ModelAnswer,
    PartAnswer,
    Readiness,
    SingleOptions,
)

open_router = APIRouter()  # needs no key: probes, and documentation that shows nothing of this machine
router = APIRouter(dependencies=[needs("inspect")])
inspecting = APIRouter(tags=["inspections"], dependencies=[Depends(each_once)])


@inspecting.post(
    "/v1/inspections",
    summary="Inspect one image",
    response_model=InspectionAnswer,
    **openapi.ONE_IMAGE,
)
async def inspect(
    request: Request,
    service: ReadyService,
    options: Annotated[SingleOptions, Query()],
    deadline: SingleDeadline,
    once: SentOnce,
) -> InspectionAnswer | Response:
    """Inspect one image: the field `image` of a form or of a JSON object, or the request's body itself.

    With `format=certificate` the answer is only the inspection's certificate, as an HTML page.
    """
    as_page = options.format == "certificate"
    if as_page:
        options = options.model_copy(update={"certificate": True})
    async with uploads_of(request).single(request, options) as submission:

        async def work() -> InspectionAnswer:
            return await unless_client_leaves(request, service.inspect(submission, deadline))

        answer = await once.answer(submission, InspectionAnswer, work)
    return HTMLResponse(answer.certificate, headers=openapi.PAGE_HEADERS) if as_page else answer


@inspecting.post("/v1/inspections/batch", summary="Inspect many images", **openapi.MANY_IMAGES)
async def inspect_batch(
    request: Request,
    service: ReadyService,
    options: Annotated[BatchOptions, Query()],
    deadline: BatchDeadline,
    once: SentOnce,
) -> BatchAnswer:
    """Inspect each image of the repeated form field `images` independently of the others."""
    async with uploads_of(request).batch(request, options) as submission:

        async def work() -> BatchAnswer:
            return await unless_client_leaves(request, service.inspect_batch(submission, deadline))

        return await once.answer(submission, BatchAnswer, work)


@inspecting.post("/v1/parts", summary="Inspect one part by several images", **openapi.ONE_PART)
async def inspect_images_of_part(
    request: Request,
    service: ReadyService,
    options: Annotated[BatchOptions, Query()],
    deadline: BatchDeadline,
    once: SentOnce,
) -> PartAnswer:
    """Inspect each image of the repeated form field `image`, and give the part one verdict by the recipe."""
    async with uploads_of(request).part(request, options) as submission:

        async def work() -> PartAnswer:
            return await unless_client_leaves(request, inspect_part(service, submission, deadline))

        return await once.answer(submission, PartAnswer, work)


router.include_router(inspecting)


@router.get("/v1/model", tags=["model"], summary="The bundle being served", responses=openapi.READ)
async def model(service: TheService) -> ModelAnswer:
    """Name, classes, input contract, operating point with its expected rates, recipes, and training data."""
    return service.model()


@open_router.get("/healthz", tags=["operation"], summary="Is the process alive?")
async def healthz() -> Health:
    """Answer as long as the process serves requests; restart it when this fails."""
    return Health(status="ok")


@open_router.get("/readyz", tags=["operation"], summary="Is it ready?", responses=openapi.NOT_READY)
async def readyz(service: TheService) -> Readiness:
    """Report the model in use, or a problem that says why no image can be inspected."""
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

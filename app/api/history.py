"""Endpoints of the history: lists, one inspection, its image, mask, overlay and certificate."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, Field
from sqlalchemy import RowMapping

from app.access.auth import needs
from app.api import openapi_kept
from app.api.dependencies import TheService
from app.change_errors import RecipeNotFound
from app.errors import NotReady
from app.history.filters import Filters
from app.history.history import History
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.errors import RecipeInvalid
from app.inspection.results import Verdict
from app.inspection.rules.recipe import Recipe, parse_recipe
from app.jobs import redraw
from app.schemas.history import InspectionDetail, InspectionsPage
from app.schemas.inspections import Label, Shape
from app.service import Service

router = APIRouter(tags=["history"], dependencies=[needs("review")])
MOST_ROWS = 500  # of a page
KEPT_FOR = "private, max-age=86400, immutable"  # what an id names never changes
TYPES = {"png": "image/png", "jpg": "image/jpeg", "bmp": "image/bmp", "tif": "image/tiff"}
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$", description="The `id` of an answer.")]
Labels = Annotated[list[Label], Field(max_length=32)]


class FilterQuery(Shape):
    """Filters of a list; several values of one filter: any of them."""

    camera: Labels = Field(default=[], description="`camera_id`.")
    part: Labels = Field(default=[], description="`part_id`.")
    verdict: Annotated[list[Verdict], Field(max_length=3)] = Field(default=[], description="Verdict.")
    defect_class: Labels = Field(default=[], alias="class", description="Class of a defect.")
    recipe: Labels = Field(default=[], description="Name of the recipe.")
    bundle: Labels = Field(default=[], description="NAME/VERSION of the bundle.")
    reviewed: bool | None = Field(default=None, description="Whether a person has reviewed it.")
    since: AwareDatetime | None = Field(default=None, alias="from", description="Not before, ISO 8601.")
    until: AwareDatetime | None = Field(default=None, alias="to", description="Before, ISO 8601.")
    text: Label | None = Field(default=None, description="Beginning of id, part or file name.")

    @property
    def filters(self) -> Filters:
        """The same for the store."""
        return Filters(
            cameras=tuple(self.camera),
            parts=tuple(self.part),
            verdicts=tuple(self.verdict),
            classes=tuple(self.defect_class),
            recipes=tuple(self.recipe),
            bundles=tuple(self.bundle),
            reviewed=self.reviewed,
            since=self.since,
            until=self.until,
            text=self.text,
        )


class PageQuery(FilterQuery):
    """Filters, and which page."""

    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = Field(default=50, description="Rows of a page.")
    before: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="The `next` of the page before; unset: the first page."
    )


async def history_of(service: TheService) -> History:
    """The history; raises NotReady or HistoryOff."""
    service.history.check_on()
    return service.history


TheHistory = Annotated[History, Depends(history_of)]


@router.get("/v1/inspections", summary="Inspections kept, newest first", responses=openapi_kept.HISTORY_LIST)
async def inspections(history: TheHistory, query: Annotated[PageQuery, Query()]) -> InspectionsPage:
    """One page of the inspections that match all filters."""
    return await asyncio.to_thread(history.store.page, query.filters, query.before, query.limit)


@router.get("/v1/inspections/{id}", summary="One inspection", responses=openapi_kept.HISTORY_ONE)
async def inspection(history: TheHistory, id: Id) -> InspectionDetail:
    """Everything that is kept of one inspection, but for its image and mask."""
    return await asyncio.to_thread(history.store.detail, id)


class ImageQuery(Shape):
    """The format of an image."""

    as_: Literal["received", "png"] = Field(
        default="received", alias="as", description="`png`: as a browser can show it, 8 bits."
    )


@router.get(
    "/v1/inspections/{id}/image",
    summary="Its image",
    response_class=Response,
    responses=openapi_kept.HISTORY_IMAGE,
)
async def image(
    service: TheService, history: TheHistory, id: Id, query: Annotated[ImageQuery, Query()]
) -> Response:
    """The bytes received, or the decoded image as PNG."""
    if query.as_ == "png":
        drawn = await asyncio.to_thread(_drawn, redraw.image_png, service, id)
        return _file(drawn, "image/png")
    name, content = await asyncio.to_thread(history.image, id)
    return _file(content, TYPES.get(name.rpartition(".")[2], "application/octet-stream"))


@router.get(
    "/v1/inspections/{id}/thumbnail",
    summary="Its thumbnail",
    response_class=Response,
    responses=openapi_kept.HISTORY_THUMBNAIL,
)
async def thumbnail(history: TheHistory, id: Id) -> Response:
    """A JPEG of at most 160 px."""
    return _file(await asyncio.to_thread(history.store.thumbnail, id), "image/jpeg")


@router.get(
    "/v1/inspections/{id}/mask",
    summary="Its mask",
    response_class=Response,
    responses=openapi_kept.HISTORY_IMAGE,
)
async def mask(history: TheHistory, id: Id) -> Response:
    """The label map as PNG: 0 is background, k the k-th class of the bundle."""
    return _file(await asyncio.to_thread(redraw.mask_png, history, id), "image/png")


@router.get(
    "/v1/inspections/{id}/overlay",
    summary="Its image with the defects drawn in",
    response_class=Response,
    responses=openapi_kept.HISTORY_IMAGE,
)
async def overlay(service: TheService, _: TheHistory, id: Id) -> Response:
    """The image with each defect outlined, its class and score beside it, as PNG."""
    return _file(await asyncio.to_thread(_drawn, redraw.overlay_png, service, id), "image/png")


def _drawn(
    draw: Callable[[History, str, DecodeLimits, Recipe | None], bytes], service: Service, id: str
) -> bytes:
    """What `draw` makes of an inspection, with the recipe that it was inspected by; blocks."""
    settings = service.settings
    limits = DecodeLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    columns = service.history.store.columns(id)
    return draw(service.history, id, limits, _recipe_of(service, columns))


def _recipe_of(service: Service, columns: RowMapping) -> Recipe | None:
    """The version of the recipe used; None if it is not known here, or its text can no longer be read."""
    try:
        text = service.store.state.version(columns["recipe"], columns["recipe_version"]).text
        return None if text is None else parse_recipe(text, columns["recipe"])
    except (NotReady, RecipeNotFound, RecipeInvalid):
        return None


def _file(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Cache-Control": KEPT_FOR})

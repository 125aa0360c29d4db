"""Endpoints of reviews: the queue, claims, and decisions."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from app.access.auth import needs
from app.api import openapi_kept
from app.api.dependencies import TheService, each_once, read_json, uploads_of
from app.api.history import Id, TheHistory
from app.api.submissions import JSON_TYPE
from app.schemas.history import ClaimAsked, ReviewAnswer, ReviewAsked, ReviewQueue
from app.schemas.inspections import Shape

router = APIRouter(tags=["reviews"], dependencies=[needs("review"), Depends(each_once)])
Number = Annotated[int, Path(ge=1, description="Number of the review.")]


async def _who(request: Request) -> str:
    return str(request.state.caller.name)


Who = Annotated[str, Depends(_who)]


class QueueQuery(Shape):
    """How much of the queue."""

    limit: Annotated[int, Field(ge=1, le=100)] = Field(default=20, description="Most items.")


@router.get("/v1/reviews/queue", summary="What waits for a person", responses=openapi_kept.HISTORY_LIST)
async def queue(history: TheHistory, query: Annotated[QueueQuery, Query()]) -> ReviewQueue:
    """The most urgent first, with the reason why each should be looked at, and who is at it."""
    return await asyncio.to_thread(history.reviews.queue, query.limit)


@router.post(
    "/v1/reviews/claims",
    summary="Take the next inspections to review",
    responses=openapi_kept.REVIEW_CLAIM,
    openapi_extra=openapi_kept.CLAIM_BODY,
)
async def claim(request: Request, history: TheHistory, who: Who) -> ReviewQueue:
    """Claim the most urgent ones that nobody looks at, for ten minutes; others do not get them meanwhile."""
    asked = read_json(ClaimAsked, await uploads_of(request).text(request, (JSON_TYPE,)))
    return await asyncio.to_thread(history.reviews.claim, who, asked.count)


@router.delete(
    "/v1/reviews/claims/{id}", summary="Give up a claim", status_code=204, responses=openapi_kept.HISTORY_LIST
)
async def release(history: TheHistory, id: Id, who: Who) -> Response:
    """Leave an inspection to others; without a claim of one's own nothing happens."""
    await asyncio.to_thread(history.reviews.release, who, id)
    return Response(status_code=204)


@router.post(
    "/v1/inspections/{id}/reviews",
    summary="Review an inspection",
    status_code=201,
    responses=openapi_kept.REVIEW_ADD,
    openapi_extra=openapi_kept.REVIEW_BODY,
)
async def review(
    request: Request, service: TheService, history: TheHistory, id: Id, who: Who
) -> ReviewAnswer:
    """Say what the part really is, with its classes and the right mask if the inspection's is wrong."""
    limit = service.settings.max_upload_bytes
    asked = read_json(ReviewAsked, await uploads_of(request).text(request, (JSON_TYPE,), limit))
    return await asyncio.to_thread(history.reviews.add, id, who, asked)


@router.delete(
    "/v1/inspections/{id}/reviews/{number}",
    summary="Take a review back",
    status_code=204,
    responses=openapi_kept.REVIEW_WITHDRAW,
)
async def withdraw(request: Request, history: TheHistory, id: Id, number: Number, who: Who) -> Response:
    """Take back a review of one's own, or with the scope `operate` anybody's; the one before is in force."""
    of_anyone = request.state.caller.allows("operate")
    await asyncio.to_thread(history.reviews.withdraw, id, number, who, of_anyone=of_anyone)
    return Response(status_code=204)

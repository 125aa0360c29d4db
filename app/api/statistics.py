"""Endpoint of the statistics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from app.access.auth import needs
from app.api import openapi_kept
from app.api.dependencies import TheService
from app.api.history import Labels, TheHistory
from app.errors import RequestInvalid, WrongField
from app.history.statistics import Calendar, Period, statistics
from app.schemas.inspections import Shape
from app.schemas.statistics import Statistics

router = APIRouter(tags=["history"], dependencies=[needs("review")])
USUAL = timedelta(days=7)
LONGEST = {"hour": timedelta(days=93), "shift": timedelta(days=1100), "day": timedelta(days=4000)}


class PeriodQuery(Shape):
    """Which period, of what, in which steps."""

    since: AwareDatetime | None = Field(
        default=None, alias="from", description="ISO 8601; unset: seven days before `to`."
    )
    until: AwareDatetime | None = Field(default=None, alias="to", description="Before, ISO 8601; unset: now.")
    by: Literal["hour", "day", "shift"] = Field(
        default="hour",
        description="Steps; `PASSLINE_TIME_ZONE` and `PASSLINE_SHIFTS` say when days and shifts begin.",
    )
    camera: Labels = Field(default=[], description="`camera_id`.")
    recipe: Labels = Field(default=[], description="Name of the recipe.")
    bundle: Labels = Field(default=[], description="NAME/VERSION of the bundle.")


@router.get("/v1/statistics", summary="Statistics of a period", responses=openapi_kept.HISTORY_LIST)
async def statistics_of(
    service: TheService, history: TheHistory, query: Annotated[PeriodQuery, Query()]
) -> Statistics:
    """Yield, defect classes, a control chart, durations, and the escape and overkill rate in operation."""
    until = query.until or datetime.now(UTC)
    since = query.since or until - USUAL
    if not timedelta(0) < until - since <= LONGEST[query.by]:
        message = (
            f"has to be before `to`, and at most {LONGEST[query.by].days} days for steps of a {query.by}"
        )
        raise RequestInvalid(f"query.from {message}", (WrongField("query.from", message),))
    places = (tuple(query.camera), tuple(query.recipe), tuple(query.bundle))
    period = Period(since, until, query.by, *places)
    settings = service.settings
    calendar = Calendar(settings.time_zone, settings.shifts)
    return await asyncio.to_thread(statistics, history.database, period, calendar)

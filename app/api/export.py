"""Export of the history: CSV, Parquet, or a data set that training reads."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.access.auth import needs
from app.api import openapi_kept
from app.api.dependencies import TheService
from app.api.history import FilterQuery, TheHistory
from app.database.errors import DatabaseUnusable
from app.history.dataset import write_dataset
from app.history.export import csv_pieces, parquet_pieces, zip_pieces
from app.history.filters import Filters
from app.history.history import History
from app.inspection.decoding.decode import DecodeLimits
from app.settings import Settings

Kind = Literal["csv", "parquet", "dataset"]
TYPES = {
    "csv": ("text/csv; charset=utf-8", "inspections.csv"),
    "parquet": ("application/vnd.apache.parquet", "inspections.parquet"),
    "dataset": ("application/zip", "dataset.zip"),
}
router = APIRouter(tags=["history"], dependencies=[needs("review")])


class ExportQuery(FilterQuery):
    """Filters, and the format."""

    format: Kind = Field(
        default="csv",
        description="`csv`; `parquet`; `dataset`: the reviewed inspections whose image is kept, as a zip of"
        " the folder that `passline train` reads.",
    )


@router.get(
    "/v1/inspections/export",
    summary="Inspections as a file",
    response_class=StreamingResponse,
    responses=openapi_kept.HISTORY_EXPORT,
)
async def export(
    service: TheService, history: TheHistory, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """Every inspection that matches all filters, newest first, sent as it is read."""
    pieces = await asyncio.to_thread(_pieces, service.settings, history, query.format, query.filters)
    media_type, name = TYPES[query.format]
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


def _pieces(settings: Settings, history: History, kind: Kind, filters: Filters) -> Iterator[bytes]:
    """The file; what can be refused is refused before its first piece."""
    if kind == "dataset":
        return _dataset(settings, history, filters)
    history.store.page(filters, None, 1)  # raises DatabaseUnusable where a problem can still be answered
    rows = history.store.all(filters)
    return csv_pieces(rows) if kind == "csv" else parquet_pieces(rows)


def _dataset(settings: Settings, history: History, filters: Filters) -> Iterator[bytes]:
    try:
        folder = Path(mkdtemp(prefix=".export-", dir=settings.data_dir))
    except OSError as error:
        raise DatabaseUnusable(f"{settings.data_dir} cannot be written: {error.strerror}") from error
    limits = DecodeLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    try:
        write_dataset(history, folder / "dataset", filters, limits)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _then_removed(folder)


def _then_removed(folder: Path) -> Iterator[bytes]:
    try:
        yield from zip_pieces(folder / "dataset")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

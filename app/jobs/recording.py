"""Inspect an image and make its record for the history, on one worker thread."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from app.history.record import Made, Record, Recorder
from app.inspection.results import Extra
from app.jobs.answers import inspect_in_full, inspect_job
from app.jobs.job import Job
from app.schemas.inspections import InspectionAnswer
from app.telemetry.metrics import KEY_NAME, REQUEST_ID

KEPT: tuple[Extra, ...] = ("preview",)


@dataclass(frozen=True, slots=True)
class Inspected:
    """An answer, and its record if inspections are kept."""

    answer: InspectionAnswer
    record: Record | None


def work_of(recorder: Recorder | None) -> Callable[[Job], Inspected]:
    """The work of a worker thread."""
    return functools.partial(_inspect, recorder)


def _inspect(recorder: Recorder | None, job: Job) -> Inspected:
    if recorder is None:
        return Inspected(inspect_job(job), None)
    answer, inspection = inspect_in_full(job, keep=KEPT)
    made = Made(
        answer,
        inspection,
        job.upload.data,
        job.upload.filename,
        job.options.significant_bits,
        job.inspector.bundle.manifest_sha256,
        REQUEST_ID.get(),
        KEY_NAME.get(),
    )
    return Inspected(answer, recorder.record(made))

"""Add overlay, heat map and certificate to an answer, each only on request."""

from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import RequestInvalid, WrongField
from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.decoding.decode import decode, stored_size
from app.inspection.measuring.mask import pixel_level
from app.inspection.png_encode import png_base64
from app.inspection.results import Inspection
from app.jobs.job import Job
from app.report import certificate, heatmap, overlay
from app.report.certificate import Origin, Pictures
from app.schemas.inspections import InspectionAnswer, Options
from app.telemetry.metrics import REQUEST_ID

MAX_DRAWN_PIXELS = 20_000_000  # drawing takes up to 40 bytes a pixel, with the image's PNG and its text
PRINTED_PX = 1200  # long side of a certificate's images: more is not visible on paper, and makes it large


def check_drawn(job: Job) -> None:
    """Raise RequestInvalid, before the image is decoded, if it is too large for what is to be drawn."""
    names = [name for name in ("overlay", "heatmap", "certificate") if getattr(job.options, name)]
    if not names:
        return
    width, height = stored_size(job.upload.data, job.inspector.limits)
    if width * height > MAX_DRAWN_PIXELS:
        message = (
            f"is drawn for images of up to {MAX_DRAWN_PIXELS} pixels, and this one has {width * height};"
            " leave it out, and draw the answer's mask"
        )
        fields = tuple(WrongField(f"query.{name}", message) for name in names)
        raise RequestInvalid(f"{', '.join(names)} {message}", fields)


def needs_probability(options: Options) -> bool:
    """Whether the explanations requested need the probability map."""
    return options.heatmap or options.certificate


def explain(answer: InspectionAnswer, inspection: Inspection, job: Job) -> InspectionAnswer:
    """The answer with the explanations requested; raises DeadlineExceeded once it is of no use.

    The image is decoded again, because an inspection does not keep it. `inspection` must have its
    probability if `needs_probability`.
    """
    options, recipe = job.options, job.recipe
    if not (options.overlay or options.heatmap or options.certificate):
        return answer
    job.check()
    picture = decode(
        job.upload.data,
        job.inspector.limits,
        significant_bits=recipe.significant_bits,
        cancellation=job.cancellation,
    )
    point = job.inspector.operating_point(recipe)
    level = pixel_level(point.pixel_threshold)
    added: dict[str, Any] = {}
    if options.overlay:
        added["overlay"] = png_base64(overlay.draw(picture, inspection, recipe, check=job.check), job.check)
    if options.heatmap:
        job.check()
        added["heatmap"] = png_base64(
            heatmap.draw(picture, _probability(inspection), level, job.check), job.check
        )
    if options.certificate:
        pictures = _printed(picture, inspection, job, level)
        added["certificate"] = certificate.page(answer, _origin(job, point), pictures)
    return answer.model_copy(update=added)


def _probability(inspection: Inspection) -> NDArray[np.uint8]:
    if inspection.probability is None:
        raise ValueError("the inspection was made without keeping its probability")
    return inspection.probability


def _origin(job: Job, point: OperatingPoint) -> Origin:
    artifact = job.inspector.session.artifact
    return Origin(
        time=datetime.now(UTC),
        request_id=REQUEST_ID.get(),
        filename=job.upload.filename,
        graph_sha256=artifact.sha256,
        pixel_threshold=point.pixel_threshold,
        min_area_px=point.min_area_px,
        gate_checks=() if artifact.gate is None else artifact.gate.checks,
    )


def _printed(picture: NDArray[np.uint8], inspection: Inspection, job: Job, level: int) -> Pictures:
    """Overlay and heat map about PRINTED_PX long: small images are enlarged, so that captions hide less."""
    zoom = max(1, PRINTED_PX // max(picture.shape[:2]))
    drawn = overlay.draw(picture, inspection, job.recipe, zoom, job.check)
    job.check()
    enlarged = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    probability = cv2.resize(_probability(inspection), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    warm = heatmap.draw(np.asarray(enlarged, np.uint8), np.asarray(probability, np.uint8), level, job.check)
    return Pictures(png_base64(_at_most(drawn)), png_base64(_at_most(warm)), heatmap.scale_png())


def _at_most(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = PRINTED_PX / max(canvas.shape[:2])
    if scale >= 1:
        return canvas
    size = (max(1, round(canvas.shape[1] * scale)), max(1, round(canvas.shape[0] * scale)))
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)

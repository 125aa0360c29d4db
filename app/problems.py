"""Errors as RFC 9457 problems, by one table.

docs/errors.md tells of every code; a test holds the table, the error tree and that page together.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app import errors as service
from app.inspection import errors as core
from app.inspection.errors import PasslineError
from app.schemas.inspections import Cause, Problem, WrongFieldAnswer
from app.telemetry.metrics import REQUEST_ID

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code share."""

    status: int
    title: str


TABLE: Mapping[type[PasslineError], Kind] = {
    core.ImageEmpty: Kind(400, "The picture is empty"),
    core.ImageTooLarge: Kind(413, "The picture is too large"),
    core.ImageTooSmall: Kind(422, "The picture is too small"),
    core.ImageUnsupported: Kind(415, "The picture's type is not supported"),
    core.ImageUndecodable: Kind(400, "The picture cannot be decoded"),
    core.ImageTruncated: Kind(400, "The picture is cut off"),
    core.ImageAnimated: Kind(415, "The picture has several frames"),
    core.FrameMismatch: Kind(400, "The frame is not what its parameters say"),
    core.ReferenceMaskUnreadable: Kind(422, "The reference mask cannot be read"),
    core.ReferenceMaskSizeMismatch: Kind(422, "The reference mask has another size"),
    core.ReferenceMaskInvalid: Kind(422, "The reference mask holds values that are no class"),
    core.RecipeUnknown: Kind(422, "There is no such recipe"),
    core.RecipeInvalid: Kind(422, "The recipe is invalid"),
    core.RecipeDoesNotFit: Kind(422, "The recipe does not fit the picture"),
    core.BundleInvalid: Kind(503, "The bundle is invalid"),
    core.BundleCorrupt: Kind(503, "The bundle is corrupt"),
    core.SelfTestFailed: Kind(503, "The bundle fails its self-test"),
    core.DeviceUnavailable: Kind(503, "The device is not available"),
    core.InferenceFailed: Kind(500, "The model run failed"),
    service.KeyRequired: Kind(401, "An API key is needed"),
    service.ScopeMissing: Kind(403, "The API key is not for this"),
    service.ForeignPage: Kind(403, "A page from elsewhere may not ask this"),
    service.RateLimited: Kind(429, "There are too many requests from one caller"),
    service.NotReady: Kind(503, "The service is not ready"),
    service.Overloaded: Kind(429, "The service is overloaded"),
    service.DeadlineExceeded: Kind(504, "The deadline has passed"),
    service.RequestInvalid: Kind(422, "The request is invalid"),
    service.HeadersTooLarge: Kind(431, "The request's headers are too large"),
    service.MediaTypeUnsupported: Kind(415, "The body's media type is not supported"),
    service.BodyTooLarge: Kind(413, "The body is too large"),
    service.BatchTooLarge: Kind(413, "The batch has too many pictures"),
    service.UploadTimeout: Kind(408, "The body did not arrive in time"),
    service.NotFound: Kind(404, "There is nothing at this address"),
    service.RecipeNotFound: Kind(404, "There is no such recipe here"),
    service.RecipeInUse: Kind(409, "The recipe is in use"),
    service.VersionStale: Kind(412, "Another version is in force"),
    service.RecipesNotWritable: Kind(409, "Recipes cannot be changed here"),
    service.SwappingOff: Kind(409, "Bundles cannot be swapped here"),
    service.BundleNotFound: Kind(404, "There is no such bundle"),
    service.BundleInUse: Kind(409, "The bundle is in use"),
    service.CandidateNotFound: Kind(404, "There is no candidate"),
    service.CandidateNotReady: Kind(409, "The candidate is not ready"),
    service.NoPreviousBundle: Kind(409, "There is no bundle to go back to"),
    service.StateNotWritable: Kind(409, "The change cannot be kept"),
    service.StateInvalid: Kind(503, "What was kept of promotions cannot be read"),
    service.MethodNotAllowed: Kind(405, "The method is not allowed here"),
    service.Unexpected: Kind(500, "The service met an unexpected error"),
}


def named(error: BaseException) -> PasslineError:
    """The error of the tree that stands for any error; one nobody foresaw is logged and is `Unexpected`."""
    if isinstance(error, PasslineError):
        return error
    if isinstance(error, RequestValidationError):
        return service.RequestInvalid.of_validation(error.errors())
    if isinstance(error, HTTPException) and error.status_code == 404:
        return service.NotFound("nothing is served at this address; /docs lists what is")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return service.MethodNotAllowed("this address is not served with this method; /docs lists what is")
    log.error("unexpected error", exc_info=error)
    return service.Unexpected("nothing was judged; the service's log tells more under this request id")


def problem_of(error: PasslineError) -> Problem:
    """The problem that answers an error, as a document."""
    kind = TABLE[type(error)]
    request_id = REQUEST_ID.get()
    fields = error.fields if isinstance(error, service.RequestInvalid) else ()
    cause = error.cause if isinstance(error, service.NotReady) else None
    return Problem(
        type=f"urn:passline:problem:{error.code}",
        title=kind.title,
        status=kind.status,
        detail=str(error),
        code=error.code,
        instance=f"urn:passline:request:{request_id}",
        request_id=request_id,
        fields=[WrongFieldAnswer.model_validate(each) for each in fields] or None,
        cause=None if cause is None else Cause(code=cause.code, detail=str(cause)),
    )

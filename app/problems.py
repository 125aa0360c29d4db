"""Errors as RFC 9457 problems; docs/errors.md, generated from the classes, documents each code."""

import logging
from collections.abc import Mapping

from app import access_errors, change_errors  # noqa: F401  # so that `kinds` finds all branches
from app import errors as service
from app.inspection import errors as core
from app.inspection.errors import PasslineError
from app.schemas.inspections import Cause, Problem, WrongFieldAnswer
from app.telemetry.metrics import REQUEST_ID

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


# HTTP status by the core's kind of fault; the service's own errors have a status themselves.
STATUS_OF_FAULT: Mapping[core.Fault, int] = {
    core.Fault.BROKEN: 400,
    core.Fault.TOO_LARGE: 413,
    core.Fault.UNSUPPORTED: 415,
    core.Fault.UNUSABLE: 422,
    core.Fault.INTERNAL: 500,
    core.Fault.UNAVAILABLE: 503,
}


def kinds(branch: type[PasslineError] = PasslineError) -> tuple[type[PasslineError], ...]:
    """The errors of a branch that can be raised, its leaves, in the order of the tree."""
    below = branch.__subclasses__()
    return tuple(leaf for each in below for leaf in kinds(each)) if below else (branch,)


def status_of(kind: type[PasslineError]) -> int:
    """The HTTP status that answers an error."""
    return kind.status if issubclass(kind, service.ServiceError) else STATUS_OF_FAULT[kind.fault]


def named(error: BaseException) -> PasslineError:
    """Convert any exception to a PasslineError; an unexpected one is logged and becomes `Unexpected`."""
    if isinstance(error, PasslineError):
        return error
    if isinstance(error, MemoryError):
        log.error("out of memory", extra={"reason": str(error)})
        return service.OutOfMemory("there is not enough memory for this request at the moment", 1)
    log.error("unexpected error", exc_info=error)
    return service.Unexpected("nothing was inspected; the service's log has details under this request id")


def problem_of(error: PasslineError) -> Problem:
    """The problem document that answers an error."""
    request_id = REQUEST_ID.get()
    fields = error.fields if isinstance(error, service.RequestInvalid) else ()
    cause = error.cause if isinstance(error, service.NotReady) else None
    return Problem(
        type=f"urn:passline:problem:{error.code}",
        title=error.title,
        status=status_of(type(error)),
        detail=str(error),
        code=error.code,
        instance=f"urn:passline:request:{request_id}",
        request_id=request_id,
        fields=[WrongFieldAnswer.model_validate(each) for each in fields] or None,
        cause=None if cause is None else Cause(code=cause.code, detail=str(cause)),
    )

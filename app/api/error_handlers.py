"""Every error that an endpoint or the framework raises, answered as a problem; and counted."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app import errors as service
from app.inspection.errors import PasslineError
from app.problems import MEDIA_TYPE, kinds, named, problem_of
from app.telemetry.metrics import Metrics


def respond(error: BaseException, metrics: Metrics) -> Response:
    """The response that answers any error; counts it."""
    known = _of_framework(error) or named(error)
    problem = problem_of(known)
    metrics.refused(problem)
    response = Response(problem.model_dump_json(exclude_none=True), problem.status, media_type=MEDIA_TYPE)
    if isinstance(known, service.ServiceError) and known.retry_after_s is not None:
        response.headers["Retry-After"] = str(known.retry_after_s)
    if isinstance(known, service.KeyRequired):
        response.headers["WWW-Authenticate"] = 'Bearer realm="passline"'
    if isinstance(known, service.ScopeMissing):  # RFC 6750, section 3.1
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{known.scope}"'
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})  # Allow, for a method that is not served
    return response


def _of_framework(error: BaseException) -> PasslineError | None:
    """The error of the tree that stands for one of the framework's own; None for any other."""
    if isinstance(error, RequestValidationError):
        return service.RequestInvalid.of_validation(error.errors())
    if isinstance(error, HTTPException) and error.status_code == 404:
        return service.NotFound("nothing is served at this address; /docs lists what is")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return service.MethodNotAllowed("this address is not served with this method; /docs lists what is")
    return None


def install(app: FastAPI, metrics: Metrics) -> None:
    """Have every error that an endpoint raises on purpose, or the framework, answered as a problem."""

    async def answer(_: Request, error: Exception) -> Response:
        return respond(error, metrics)

    metrics.foresee(error.code for error in kinds())
    for kind in (PasslineError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)

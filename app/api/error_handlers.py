"""Answer every error of an endpoint or of the framework as an RFC 9457 problem, and count it."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app import errors as service
from app.access_errors import KeyRequired, ScopeMissing
from app.inspection.errors import PasslineError
from app.problems import MEDIA_TYPE, kinds, named, problem_of
from app.telemetry.metrics import Metrics


def respond(error: BaseException, metrics: Metrics) -> Response:
    """Make the response to any error, and count it."""
    known = _of_framework(error) or named(error)
    problem = problem_of(known)
    metrics.refused(problem)
    response = Response(problem.model_dump_json(exclude_none=True), problem.status, media_type=MEDIA_TYPE)
    if isinstance(known, service.ServiceError) and known.retry_after_s is not None:
        response.headers["Retry-After"] = str(known.retry_after_s)
    if isinstance(known, KeyRequired):
        response.headers["WWW-Authenticate"] = 'Bearer realm="passline"'
    if isinstance(known, ScopeMissing):  # RFC 6750, section 3.1
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{known.scope}"'
    if isinstance(known, service.ContentEncodingUnsupported):  # RFC 9110, section 12.5.3
        response.headers["Accept-Encoding"] = "identity"
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})  # Allow, for a method that is not served
        if "GET" in response.headers.get("Allow", "").split(", "):
            response.headers["Allow"] += ", HEAD"
    return response


def _of_framework(error: BaseException) -> PasslineError | None:
    """The PasslineError equivalent to an error of FastAPI or Starlette; None for any other error."""
    if isinstance(error, RequestValidationError):
        return service.RequestInvalid.of_validation(error.errors())
    if isinstance(error, HTTPException) and error.status_code == 404:
        return service.NotFound("nothing is served at this address; /docs lists what is")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return service.MethodNotAllowed("this address is not served with this method; /docs lists what is")
    return None


def install(app: FastAPI, metrics: Metrics) -> None:
    """Register handlers that answer every expected error, ours or the framework's, as a problem."""

    async def answer(_: Request, error: Exception) -> Response:
        return respond(error, metrics)

    metrics.foresee(error.code for error in kinds())
    for kind in (PasslineError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)

"""The service's branch of the error tree; the core's own branches are drawn in `app/inspection/errors.py`.

PasslineError
 └─ ServiceError                  the request, not the picture, cannot be served
     ├─ NotReady                    no bundle is being served; the message says why
     ├─ Overloaded                  every place in the queue, or all memory for uploads, is taken
     ├─ DeadlineExceeded            the answer would come too late to be of use
     ├─ RequestInvalid              a field, a query value or the body's framing is wrong
     ├─ MediaTypeUnsupported        the body is of a type that is not read
     ├─ BodyTooLarge                more bytes than the limit for this endpoint
     ├─ BatchTooLarge               more pictures than one batch may hold
     ├─ UploadTimeout               the body did not arrive in time
     ├─ NotFound                    nothing is served at the address
     ├─ MethodNotAllowed            something is, but not with this method
     └─ Unexpected                  an error that nobody foresaw: always a fault of ours

Nothing here knows of HTTP: `problems.py` holds the one table from errors to answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from app.inspection.errors import PasslineError


class ServiceError(PasslineError):
    """The request, not the picture in it, cannot be served."""

    code = "service_error"


class NotReady(ServiceError):
    """No bundle is being served; `cause` is the error that prevents it, where there is one."""

    code = "not_ready"

    def __init__(self, message: str, cause: PasslineError | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class Overloaded(ServiceError):
    """Every place is taken; `retry_after_s` is a fair guess at when one will be free."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServiceError):
    """The answer was not there by the request's deadline."""

    code = "deadline_exceeded"


@dataclass(frozen=True, slots=True)
class WrongField:
    """One field of a request that cannot be taken, and what would be right."""

    field: str
    message: str


class RequestInvalid(ServiceError):
    """The request breaks the documented shape; `fields` names each wrong one."""

    code = "request_invalid"

    def __init__(self, message: str, fields: tuple[WrongField, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields

    @classmethod
    def of_validation(cls, wrong: Iterable[Mapping[str, Any]]) -> Self:
        """Make it of pydantic's list of errors; the values sent are left out, they can be anything."""
        fields = tuple(
            WrongField(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))
            for each in wrong
        )
        return cls("; ".join(f"{each.field}: {each.message}" for each in fields), fields)


class MediaTypeUnsupported(ServiceError):
    """The body is of a media type that is not read here."""

    code = "media_type_unsupported"


class BodyTooLarge(ServiceError):
    """The body has more bytes than this endpoint takes."""

    code = "body_too_large"


class BatchTooLarge(ServiceError):
    """The batch holds more pictures than one request may."""

    code = "batch_too_large"


class UploadTimeout(ServiceError):
    """The body did not arrive in the time an upload may take."""

    code = "upload_timeout"


class NotFound(ServiceError):
    """Nothing is served at the address asked for."""

    code = "not_found"


class MethodNotAllowed(ServiceError):
    """The address is served, but not with this method."""

    code = "method_not_allowed"


class Unexpected(ServiceError):
    """An error that nobody foresaw; its traceback is in the log, never in the answer."""

    code = "internal_error"

"""The service's branch of the error tree; the core's own branches are in `app/inspection/errors.py`.

PasslineError
 └─ ServiceError
     ├─ AccessError        who asks may not
     ├─ ServingError       the service cannot serve it now
     ├─ RequestError       the request itself is wrong
     ├─ StoredRecipeError  recipes cannot be read or changed so } app/change_errors.py
     └─ SwapError          bundles cannot be swapped so         }

Each class says once its `code`, `title` and HTTP `status`, and in its docstring what it means, the remedy,
and when a retry can help (never, if it says nothing): docs/errors.md is written from these.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from app.inspection.errors import PasslineError


class ServiceError(PasslineError):
    """The request, not the image in it, cannot be served; `retry_after_s` says when it can, if known."""

    status: ClassVar[int]

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AccessError(ServiceError):
    """Who asks may not."""


class KeyRequired(AccessError):
    """No API key was sent, or one that is not known here or has expired.

    A header sent twice counts as none. The detail says what is wrong, and how to make a key.

    Remedy: Send one as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`.

    Retry: with a key
    """

    code = "key_required"
    title = "An API key is needed"
    status = 401


class ScopeMissing(AccessError):
    """The key is known but is not for this; `scope` is what would be needed.

    Remedy: Use a key with the scope that the detail names.

    Retry: with another key
    """

    code = "scope_missing"
    title = "The API key is not for this"
    status = 403

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class ForeignPage(AccessError):
    """A browser asks on behalf of a page from elsewhere, where no key tells that its user means it.

    Only where no keys are demanded: the page was not served by this box, or was asked for by a name that is
    not the box's own.

    Remedy: Open the box's own page, or demand keys (`PASSLINE_AUTH=on`) and send one.
    """

    code = "foreign_page"
    title = "A page from elsewhere may not ask this"
    status = 403


class RateLimited(AccessError):
    """One caller has asked more often than allowed; `retry_after_s` is when there is room again.

    The limit is `PASSLINE_RATE_LIMIT_PER_MINUTE`, for each key or, without keys, each address.

    Remedy: Wait the seconds in `Retry-After`; send batches, or raise the setting.

    Retry: yes
    """

    code = "rate_limited"
    title = "There are too many requests from one caller"
    status = 429


class ServingError(ServiceError):
    """The service cannot serve it now."""


class NotReady(ServingError):
    """No picture is judged; `cause` is the error that prevents it, where there is one.

    No bundle is served, recipes in force do not fit it, or its execution provider is lost.

    Remedy: Correct the cause, restart (not for recipes changed over HTTP, nor for a
    [lost provider](deployment.md#faults) that comes back), and watch `/readyz`.

    Retry: when `/readyz` is 200
    """

    code = "not_ready"
    title = "The service is not ready"
    status = 503

    def __init__(self, message: str, cause: PasslineError | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class Overloaded(ServingError):
    """Every place is taken; `retry_after_s` is a fair guess at when one will be free.

    The places are those of the queue (`PASSLINE_QUEUE_SIZE`) and the memory for uploads.

    Remedy: Wait the seconds in `Retry-After`; slow down, or add a box.

    Retry: yes
    """

    code = "overloaded"
    title = "The service is overloaded"
    status = 429


class DeadlineExceeded(ServingError):
    """The answer was not there by the request's deadline.

    The image was not inspected.

    Remedy: Allow more time with `X-Deadline-Ms`, or send fewer images at once.

    Retry: yes
    """

    code = "deadline_exceeded"
    title = "The deadline has passed"
    status = 504


class Unexpected(ServingError):
    """An error that nobody foresaw; its traceback is in the log, never in the answer.

    Always a fault of the service.

    Remedy: Report it with the log lines of its request id.

    Retry: perhaps
    """

    code = "internal_error"
    title = "The service met an unexpected error"
    status = 500


class RequestError(ServiceError):
    """The request itself is wrong."""


@dataclass(frozen=True, slots=True)
class WrongField:
    """One field of a request that cannot be taken, and what would be right."""

    field: str
    message: str


class RequestInvalid(RequestError):
    """The request breaks the documented shape; `fields` names each wrong one.

    It may be a query value, a header, a form field or the form's framing.

    Remedy: Compare with `/docs`. Unknown names are refused too, so a typo never passes for a default.
    """

    code = "request_invalid"
    title = "The request is invalid"
    status = 422

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


class HeadersTooLarge(RequestError):
    """The address and headers of the request have more bytes than are taken.

    The limit is 16 KiB.

    Remedy: Send long texts in the body, and fewer or shorter headers.
    """

    code = "headers_too_large"
    title = "The request's headers are too large"
    status = 431


class MediaTypeUnsupported(RequestError):
    """The body is of a media type that is not read here.

    Remedy: Send `multipart/form-data`, the image as `image/jpeg`, `image/png`, `image/bmp` or `image/tiff`,
    or a [camera's frame](api.md#a-cameras-frame) as `application/octet-stream`.
    """

    code = "media_type_unsupported"
    title = "The body's media type is not supported"
    status = 415


class BodyTooLarge(RequestError):
    """The body has more bytes than this endpoint takes.

    The limit is `PASSLINE_MAX_UPLOAD_BYTES`; for a batch, or a part of several images, it is
    `PASSLINE_MAX_BATCH_BYTES`.

    Remedy: Compress without loss, send fewer images, or raise the setting.
    """

    code = "body_too_large"
    title = "The body is too large"
    status = 413


class BatchTooLarge(RequestError):
    """The batch holds more pictures than one request may.

    The limit is `PASSLINE_MAX_BATCH_IMAGES`, or 64 images of one part.

    Remedy: Send several batches.
    """

    code = "batch_too_large"
    title = "The batch has too many pictures"
    status = 413


class UploadTimeout(RequestError):
    """The body did not arrive in the time an upload may take.

    The limit is `PASSLINE_UPLOAD_TIMEOUT_MS`.

    Remedy: Look at the network.

    Retry: yes
    """

    code = "upload_timeout"
    title = "The body did not arrive in time"
    status = 408


class NotFound(RequestError):
    """Nothing is served at the address asked for.

    Remedy: Compare with `/docs`.
    """

    code = "not_found"
    title = "There is nothing at this address"
    status = 404


class MethodNotAllowed(RequestError):
    """The address is served, but not with this method.

    The `Allow` header names those it is served with.

    Remedy: Compare with `/docs`.
    """

    code = "method_not_allowed"
    title = "The method is not allowed here"
    status = 405

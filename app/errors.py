"""The service's branch of the error tree; the core's own branches are in `app/inspection/errors.py`.

PasslineError
 └─ ServiceError
     ├─ AccessError        the caller is not allowed, in app/access_errors.py
     ├─ ServingError       the service cannot serve the request now
     ├─ RequestError       the request itself is wrong
     ├─ StoredRecipeError  a stored recipe cannot be changed } app/change_errors.py
     └─ SwapError          a bundle cannot be swapped        }

Each class defines its `code`, `title` and HTTP `status`. Its docstring says what it means, the remedy, and
when a retry can help (never, if it says nothing). docs/errors.md is generated from these.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from app.inspection.errors import PasslineError

MOST_FIELDS = 20  # wrong fields that one answer lists


class ServiceError(PasslineError):
    """The request, not its image, cannot be served; `retry_after_s` says when it can be, if known."""

    status: ClassVar[int]

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServingError(ServiceError):
    """The service cannot serve the request now."""


class NotReady(ServingError):
    """No image can be inspected; `cause` is the error that prevents it, if there is one.

    No bundle is served, recipes in force do not fit it, or its execution provider is lost.

    Remedy: Correct the cause, restart (not needed for recipes changed over HTTP, or for a
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
    """The service is at its limit; `retry_after_s` estimates when it can take more.

    The limits are the queue (`PASSLINE_QUEUE_SIZE`), the memory for uploads (`PASSLINE_UPLOAD_MEMORY_BYTES`)
    and the connections (`PASSLINE_MAX_CONNECTIONS`).

    Remedy: Wait for the seconds in `Retry-After`; send more slowly, or add a machine.

    Retry: yes
    """

    code = "overloaded"
    title = "The service is overloaded"
    status = 429


class OutOfMemory(ServingError):
    """The machine had not enough memory for the request; nothing was inspected.

    Remedy: Send smaller or fewer images at once, lower `PASSLINE_MAX_PIXELS` or `PASSLINE_WORKERS`, or add
    memory.

    Retry: yes
    """

    code = "out_of_memory"
    title = "Not enough memory"
    status = 503


class DeadlineExceeded(ServingError):
    """The answer was not ready by the request's deadline.

    The image was not inspected.

    Remedy: Allow more time with `X-Deadline-Ms`, or send fewer images at once.

    Retry: yes
    """

    code = "deadline_exceeded"
    title = "The deadline has passed"
    status = 504


class Unexpected(ServingError):
    """An unexpected error; its traceback is in the log, never in the answer.

    It is always a fault of the service.

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
    """One invalid field of a request, and what would be valid."""

    field: str
    message: str


class RequestInvalid(RequestError):
    """The request does not match the documented schema; `fields` names each invalid field.

    It may be a query value, a header, a form field or the form's framing.

    Remedy: Compare with `/docs`. Unknown names are refused too, so that a misspelt one is not ignored.
    """

    code = "request_invalid"
    title = "The request is invalid"
    status = 422

    def __init__(self, message: str, fields: tuple[WrongField, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields

    @classmethod
    def of_validation(cls, wrong: Iterable[Mapping[str, Any]]) -> Self:
        """Make it from pydantic's errors, the first MOST_FIELDS, without the values sent."""
        every = tuple(wrong)
        fields = tuple(
            WrongField(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))
            for each in every[:MOST_FIELDS]
        )
        more = f"; and {len(every) - MOST_FIELDS} more" if len(every) > MOST_FIELDS else ""
        return cls("; ".join(f"{each.field}: {each.message}" for each in fields) + more, fields)


class HeadersTooLarge(RequestError):
    """The address and headers of the request are too large.

    The limit is 16 KiB.

    Remedy: Send long texts in the body, and fewer or shorter headers.
    """

    code = "headers_too_large"
    title = "The request's headers are too large"
    status = 431


class MediaTypeUnsupported(RequestError):
    """The body's media type is not supported.

    Remedy: Send `multipart/form-data`, the image as `image/jpeg`, `image/png`, `image/bmp` or `image/tiff`,
    a [camera's frame](api.md#a-cameras-frame) as `application/octet-stream`, or
    [JSON](api.md#json) as `application/json`.
    """

    code = "media_type_unsupported"
    title = "The body's media type is not supported"
    status = 415


class ContentEncodingUnsupported(RequestError):
    """The body is compressed (`Content-Encoding`), which is not supported.

    Remedy: Send the body as it is: image files are compressed already.
    """

    code = "content_encoding_unsupported"
    title = "The body's content encoding is not supported"
    status = 415


class HttpInvalid(RequestError):
    """The data received is not a valid HTTP request; the connection is closed.

    Remedy: Compare with RFC 9112, or use an HTTP library. In the address, percent-encode every byte that is
    not printable ASCII, as UTF-8.
    """

    code = "http_invalid"
    title = "This is not a valid HTTP request"
    status = 400


class BodyTooLarge(RequestError):
    """The body is larger than this endpoint accepts.

    The limit is `PASSLINE_MAX_UPLOAD_BYTES`; for a batch, or a part of several images, it is
    `PASSLINE_MAX_BATCH_BYTES`, except as JSON.

    Remedy: Compress without loss, send fewer images, or raise the setting.
    """

    code = "body_too_large"
    title = "The body is too large"
    status = 413


class BatchTooLarge(RequestError):
    """The batch has more images than a request may have.

    The limit is `PASSLINE_MAX_BATCH_IMAGES`; for the images of one part it is at most 64.

    Remedy: Send several batches.
    """

    code = "batch_too_large"
    title = "The batch has too many images"
    status = 413


class UploadTimeout(RequestError):
    """The body did not arrive within the time limit for uploads.

    The limit is `PASSLINE_UPLOAD_TIMEOUT_MS`.

    Remedy: Check the network.

    Retry: yes
    """

    code = "upload_timeout"
    title = "The body did not arrive in time"
    status = 408


class NotFound(RequestError):
    """Nothing is served at this address.

    Remedy: Compare with `/docs`.
    """

    code = "not_found"
    title = "There is nothing at this address"
    status = 404


class MethodNotAllowed(RequestError):
    """The address is served, but not with this method.

    The `Allow` header lists the methods of this address.

    Remedy: Compare with `/docs`.
    """

    code = "method_not_allowed"
    title = "The method is not allowed here"
    status = 405

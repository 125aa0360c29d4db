"""The service's branch of the error tree; the core's own branches are drawn in `app/inspection/errors.py`.

PasslineError
 └─ ServiceError                  the request, not the picture, cannot be served
     ├─ KeyRequired                 no API key was sent, or one that is not known or has expired
     ├─ ScopeMissing                the key is known, and is not for this
     ├─ ForeignPage                 a browser asks for a page from elsewhere, where no key is demanded
     ├─ RateLimited                 this caller has asked too often
     ├─ NotReady                    no bundle is served, or a recipe in force does not fit it
     ├─ Overloaded                  every place in the queue, or all memory for uploads, is taken
     ├─ DeadlineExceeded            the answer would come too late to be of use
     ├─ RequestInvalid              a field, a query value or the body's framing is wrong
     ├─ HeadersTooLarge             the address and headers of the request have too many bytes
     ├─ MediaTypeUnsupported        the body is of a type that is not read
     ├─ BodyTooLarge                more bytes than the limit for this endpoint
     ├─ BatchTooLarge               more pictures than one batch may hold
     ├─ UploadTimeout               the body did not arrive in time
     ├─ NotFound                    nothing is served at the address
     ├─ RecipeNotFound              no recipe, or no such version of it, is at the address
     ├─ RecipeInUse                 an active recipe cannot be deleted, nor the bundle's own changed
     ├─ VersionStale                somebody else has changed it since it was read
     ├─ RecipesNotWritable          there is no folder that changes can be written to
     ├─ SwappingOff                 there is no folder of bundles to swap
     ├─ BundleNotFound              no bundle of that name and version is in the folder
     ├─ BundleInUse                 the bundle that judges cannot be its own candidate
     ├─ CandidateNotFound           no bundle is loaded aside
     ├─ CandidateNotReady           the candidate is still loading, or failed
     ├─ NoPreviousBundle            there is no bundle in memory to go back to
     ├─ StateNotWritable            a promotion cannot be kept
     ├─ StateInvalid                what was kept of promotions cannot be read
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


class KeyRequired(ServiceError):
    """No API key was sent, or one that is not known here or has expired."""

    code = "key_required"


class ScopeMissing(ServiceError):
    """The key is known but is not for this; `scope` is what would be needed."""

    code = "scope_missing"

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class ForeignPage(ServiceError):
    """A browser asks on behalf of a page from elsewhere, where no key tells that its user means it."""

    code = "foreign_page"


class RateLimited(ServiceError):
    """One caller has asked more often than allowed; `retry_after_s` is when there is room again."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """No picture is judged; `cause` is the error that prevents it, where there is one."""

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


class HeadersTooLarge(ServiceError):
    """The address and headers of the request have more bytes than are taken."""

    code = "headers_too_large"


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


class RecipeNotFound(ServiceError):
    """There is no recipe of the name in the address, or no such version of it."""

    code = "recipe_not_found"


class RecipeInUse(ServiceError):
    """A recipe that is active or the settings' default cannot be deleted, the bundle's own never changed."""

    code = "recipe_in_use"


class VersionStale(ServiceError):
    """The version that `If-Match` asks for is no longer the one in force."""

    code = "version_stale"


class RecipesNotWritable(ServiceError):
    """There is no folder for recipes, or it cannot be written to."""

    code = "recipes_not_writable"


class SwappingOff(ServiceError):
    """There is no folder of bundles, so none can be loaded aside."""

    code = "swapping_off"


class BundleNotFound(ServiceError):
    """No bundle of that name and version is in the folder of bundles."""

    code = "bundle_not_found"


class BundleInUse(ServiceError):
    """The bundle that judges cannot be its own candidate."""

    code = "bundle_in_use"


class CandidateNotFound(ServiceError):
    """No bundle is loaded aside."""

    code = "candidate_not_found"


class CandidateNotReady(ServiceError):
    """The candidate is still loading, or failed."""

    code = "candidate_not_ready"


class NoPreviousBundle(ServiceError):
    """There is no bundle in memory to go back to."""

    code = "no_previous_bundle"


class StateNotWritable(ServiceError):
    """A promotion cannot be kept: there is no folder for it, or it cannot be written to."""

    code = "state_not_writable"


class StateInvalid(ServiceError):
    """What was kept of promotions cannot be read, so that nobody knows which bundle to serve."""

    code = "state_invalid"


class MethodNotAllowed(ServiceError):
    """The address is served, but not with this method."""

    code = "method_not_allowed"


class Unexpected(ServiceError):
    """An error that nobody foresaw; its traceback is in the log, never in the answer."""

    code = "internal_error"

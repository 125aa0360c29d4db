"""Why a caller may not ask: a branch of the tree in `app/errors.py`."""

from app.errors import ServiceError


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

    Remedy: Open the box's own page, name the page's origin in `PASSLINE_ALLOWED_ORIGINS`, or demand keys
    (`PASSLINE_AUTH=on`) and send one.
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

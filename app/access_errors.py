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


class NotLocal(AccessError):
    """The request comes from elsewhere, where no key is demanded and only this machine may ask.

    A reverse proxy passed it on (`Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`), or its `Host` is neither
    `localhost` nor a loopback address nor one of `PASSLINE_ALLOWED_HOSTS`.

    Remedy: Demand keys (`PASSLINE_AUTH=on`) and send one, or name the host in `PASSLINE_ALLOWED_HOSTS`.
    """

    code = "not_local"
    title = "Without API keys only this machine may ask"
    status = 403

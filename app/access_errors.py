"""Errors of access control: a branch of the tree in `app/errors.py`."""

from app.errors import ServiceError


class AccessError(ServiceError):
    """The caller is not allowed to make the request."""


class KeyRequired(AccessError):
    """No API key was sent, or an unknown or expired one.

    A header sent twice counts as none. The detail says what is wrong, and how to create a key.

    Remedy: Send a key as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`.

    Retry: with a key
    """

    code = "key_required"
    title = "An API key is needed"
    status = 401


class ScopeMissing(AccessError):
    """The key is valid, but lacks the scope that this request needs.

    Remedy: Use a key with the scope that the detail names.

    Retry: with another key
    """

    code = "scope_missing"
    title = "The API key lacks the scope"
    status = 403

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class NameNotAllowed(AccessError):
    """The request names a camera or a recipe that is not in its key's list.

    A key with the scope `inspect` may name only the cameras and recipes of its lists, by default none:
    otherwise any camera's key could choose a lenient recipe.

    Remedy: Leave the field out, or create a key that may name it (`passline keys add --camera`, `--recipe`).

    Retry: with another key
    """

    code = "name_not_allowed"
    title = "The API key may not name this camera or recipe"
    status = 403


class ForeignPage(AccessError):
    """A browser sent the request for a page of another origin, and no key shows that the user wants it.

    Only if no keys are required: the service did not serve the page, or it was opened under a host name that
    is not the service's own.

    Remedy: Open the service's own page, add the page's origin to `PASSLINE_ALLOWED_ORIGINS`, or require keys
    (`PASSLINE_AUTH=on`) and send one.
    """

    code = "foreign_page"
    title = "A page of another origin may not send this request"
    status = 403


class NotLocal(AccessError):
    """Without API keys the service answers only this machine, and the request may come from another one.

    A reverse proxy forwarded it (`Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`), or its `Host` is neither
    `localhost` nor a loopback address nor one of `PASSLINE_ALLOWED_HOSTS`.

    Remedy: Require keys (`PASSLINE_AUTH=on`) and send one, or add the host to `PASSLINE_ALLOWED_HOSTS`.
    """

    code = "not_local"
    title = "Without API keys only local requests are allowed"
    status = 403

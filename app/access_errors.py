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


class LoginFailed(AccessError):
    """The name and the password do not belong together, or the user is disabled.

    The answer does not say which, so that names cannot be found out.

    Remedy: Check both; an admin sets a new password on the System page or with `passline users passwd NAME`.

    Retry: with another password
    """

    code = "login_failed"
    title = "The name or the password is wrong"
    status = 401


class LoginThrottled(AccessError):
    """Too many attempts to log in as this user from this address.

    The delay doubles with each further attempt, up to five minutes. Other addresses are not delayed.

    Remedy: Wait for the seconds in `Retry-After`.

    Retry: yes
    """

    code = "login_throttled"
    title = "Too many attempts to log in"
    status = 429


class CsrfTokenMissing(AccessError):
    """A change was sent with the cookie of a session, but without its token, or with another one.

    Only the service's own pages can read the token, so a page from elsewhere cannot change anything.

    Remedy: Send the `csrf` of `GET /v1/session` as `X-CSRF-Token`.

    Retry: with the token
    """

    code = "csrf_token_missing"
    title = "The token of the session is missing"
    status = 403


class UserNotFound(AccessError):
    """There is no user of this name.

    Remedy: Compare with `GET /v1/users`, or `passline users list`.
    """

    code = "user_not_found"
    title = "There is no such user"
    status = 404


class PasswordUnfit(AccessError):
    """The new password, or the new user's name, does not satisfy the rules; the detail names the rule.

    A password has 12 to 256 characters, at least five different ones, and does not hold the user's name.

    Remedy: Choose another one, such as four words.
    """

    code = "password_unfit"
    title = "The password does not satisfy the rules"
    status = 422


class LastAdmin(AccessError):
    """After the change nobody could log in as admin; nothing was changed.

    The first user must be an admin, too.

    Remedy: Add another admin first.
    """

    code = "last_admin"
    title = "An admin must remain"
    status = 409

"""Outermost layer of every request: target, request id, log line, metrics, handler of unexpected errors."""

import asyncio
import logging
import re
import time
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from opentelemetry.trace import get_current_span
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.cors import CrossOrigin
from app.api.error_handlers import respond
from app.errors import HeadersTooLarge, HttpInvalid, Overloaded, RequestInvalid, WrongField
from app.telemetry.metrics import KEY_NAME, REQUEST_ID, Metrics

HEADER = "X-Request-ID"
CLIENT_LEFT = 499  # nginx's status for a client that closed the connection; only in logs and metrics
SURPLUS = "surplus"  # key in the state of a request whose connection exceeds the limit
MAX_HEADER_BYTES = 16 * 1024
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
MAX_LOGGED = 256  # characters of a path in a log line
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_S = 5.0
DRAIN_IDLE_S = 0.5  # a client that sends nothing for this long has stopped writing
_ABSOLUTE = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)  # a target in absolute form
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger(__name__)
NOTHING = "default-src 'none'; frame-ancestors 'none'"  # an answer that is not a page may load nothing
KEPT = "/static/"  # files that may be cached, the same for every service; nothing else may be cached


class RequestMiddleware:
    """ASGI middleware for `add_middleware`; pages of `origins` may call the service (CORS)."""

    def __init__(self, app: ASGIApp, metrics: Metrics, origins: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._metrics = metrics
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is passed on unchanged."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope = _in_origin_form(scope)
        exchange = _Exchange(scope, receive, send, CrossOrigin(self._origins, Headers(scope=scope)))
        token = REQUEST_ID.set(exchange.request_id)
        self._metrics.arrived()
        KEY_NAME.set(None)  # requests of one connection may share a context: forget the last one's key
        started = time.perf_counter()
        get_current_span().set_attribute("passline.request_id", exchange.request_id)
        try:
            await self._serve(scope, exchange)
        finally:
            self._report(scope, exchange, time.perf_counter() - started)
            REQUEST_ID.reset(token)

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        served = _as_get(scope)
        try:
            _check_header(scope)
            if exchange.has_two_lengths:
                raise HttpInvalid("Content-Length and Transfer-Encoding are both given; send one of them")
            if exchange.is_surplus and scope["path"] not in QUIET:
                raise Overloaded("no more connections for this address (PASSLINE_MAX_CONNECTIONS)", 1)
            _check_utf8(scope)
            if (preflight := exchange.origin.preflight(scope["method"])) is not None:
                return await preflight(scope, exchange.receive, exchange.send)
            await self._app(served, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_LEFT  # no client is left to answer
        except Exception as error:  # noqa: BLE001  # the web edge: whatever happens, the client gets a problem
            response = respond(error, self._metrics)
            if exchange.status is None:
                await response(scope, exchange.receive, exchange.send)
        finally:
            exchange.route = getattr(served.get("route"), "path", "none")

    def _report(self, scope: Scope, exchange: "_Exchange", seconds: float) -> None:
        """Log and count a request."""
        status = exchange.status or CLIENT_LEFT
        self._metrics.answered(exchange.route, status, seconds, exchange.received)
        level = logging.DEBUG if scope["path"] in QUIET and status < 500 else logging.INFO
        about = {
            "method": scope["method"],
            "path": scope["path"][:MAX_LOGGED],
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        log.log(level, "request", extra=about | {"bytes": exchange.received})


def _check_header(scope: Scope) -> None:
    """Refuse headers that are too large: the parser limits only those that arrive in several pieces."""
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(
            f"the request's address and headers have {size} bytes; the limit is {MAX_HEADER_BYTES}"
        )


class _Exchange:
    """One request's receive and send channels; records the bytes received and the status sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, origin: CrossOrigin) -> None:
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        # An invalid id could garble the log, so it is replaced; refusing the image would help nobody.
        self.request_id = given if _VALID_ID.fullmatch(given) else uuid4().hex
        self.is_surplus: bool = scope.get("state", {}).get(SURPLUS, False)
        # Two servers on the path may disagree about where such a body ends (request smuggling).
        self.has_two_lengths = "content-length" in headers and "transfer-encoding" in headers
        self.status: int | None = None
        self.route = "none"
        self.origin = origin
        self._scope = scope
        self.received = 0
        self._receive = receive
        self._send = send
        self._awaits_consent = headers.get("expect", "").lower() == "100-continue"
        self._body_over: bool = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._body_over = self._body_over or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._drain()
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[HEADER] = self.request_id
            protect(headers, self._scope)
            self.origin.complete(headers)
            if self.is_surplus or self.has_two_lengths:
                headers["Connection"] = "close"
        elif self._scope["method"] == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def _drain(self) -> None:
        """Read the rest of the body, within bounds, before sending an early refusal.

        A client still writing when the connection closes would see a reset instead of the problem. One that
        waits for `100 Continue` has not started to write, and is answered at once.
        """
        if self._awaits_consent and not self.received:
            return
        limit = self.received + DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_S):
                while not (self._body_over or self.received > limit):
                    await asyncio.wait_for(self.receive(), DRAIN_IDLE_S)
        except TimeoutError:
            log.debug("the rest of a refused body did not arrive")


def protect(headers: MutableHeaders, scope: Scope) -> None:
    """Add security and cache headers that the response does not set itself."""
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", NOTHING)
    if not scope["path"].startswith(KEPT):
        headers.setdefault("Cache-Control", "no-store")


def _in_origin_form(scope: Scope) -> Scope:
    """Convert a target in absolute form, as clients send it to proxies, to origin form.

    The host of the target replaces the header `Host` (RFC 9112, section 3.2.2).
    """
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    host, path = found[1], found[2] or b"/"
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "raw_path": path,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "headers": [(b"host", host), *others],
    }


def _as_get(scope: Scope) -> Scope:
    """Serve `HEAD` as `GET`; the caller drops the body. So every address with `GET` has `HEAD` too."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _check_utf8(scope: Scope) -> None:
    """Raise RequestInvalid for an address that is not UTF-8: its text would be read wrongly."""
    for place, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode("utf-8")
        except UnicodeDecodeError as error:
            message = "is not UTF-8 after percent-decoding; encode text as UTF-8 first"
            raise RequestInvalid(f"the {place} {message}", (WrongField(place, message),)) from error

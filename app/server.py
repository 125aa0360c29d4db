"""Uvicorn set up for a factory box, and the words it greets with once it really serves."""

import contextlib
import ipaddress
import logging
import os
import resource
import shlex
import socket
import sys
from pathlib import Path

import uvicorn

from app.access.auth import Auth, is_loopback
from app.api.middleware import MAX_HEADER_BYTES
from app.connections import SPARE, protocol
from app.errors import NotReady
from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.threads import share_the_process
from app.main import create_app
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import configure_logging

log = logging.getLogger(__name__)


# How many connections may wait to be accepted, and how many asyncio accepts at once before one is counted.
BACKLOG = 64
OTHER_FILES = 128  # that the process may have open beside its connections


class SocketUnusable(ValueError):
    """The Unix socket that the settings name cannot be listened on."""


class Server(uvicorn.Server):
    """Greets after its sockets listen, so that whatever it prints works at once."""

    def __init__(self, config: uvicorn.Config, service: Service, auth: Auth) -> None:
        super().__init__(config)
        self._service = service
        self._doors = auth

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then greet on stderr: stdout is for JSON lines alone."""
        await super().startup(sockets=sockets or _sockets(self._service.settings))
        if self.started and sys.stderr is not None:
            with contextlib.suppress(OSError):  # a full disk is no reason to stop the line
                print(greeting(self._service, self._doors, self._url()), file=sys.stderr, flush=True)

    def _url(self) -> str:
        listener = self.servers[0].sockets[0]
        if listener.family == socket.AF_UNIX:
            return "http://localhost"
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # everywhere is no address to call
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _sockets(settings: Settings) -> list[socket.socket] | None:
    """The sockets that uvicorn does not make as needed; None where it makes them from host and port.

    For the host `::` asyncio would listen on IPv6 alone. Raises SocketUnusable.
    """
    if settings.socket is not None:
        return [_unix_socket(settings.socket)]
    host, port = settings.host, settings.port
    try:
        is_every_address = ipaddress.ip_address(host) == ipaddress.IPv6Address("::")
    except ValueError:  # a name
        is_every_address = False
    if not is_every_address or not socket.has_dualstack_ipv6():
        return None
    try:
        return [socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)]
    except OSError:
        return None


def _unix_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket, open to the user and group of the process; replaces one that nobody uses."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
                if trial.connect_ex(os.fspath(path)) == 0:
                    raise OSError("another process listens there")
            path.unlink()
        listener.bind(os.fspath(path))
        path.chmod(0o660)
    except OSError as error:
        listener.close()
        raise SocketUnusable(f"PASSLINE_SOCKET ({path}) cannot be listened on: {error}") from error
    return listener


def affordable_connections(wanted: int) -> int:
    """How many connections the limit of open files allows; the soft limit is raised for them if it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE + BACKLOG + OTHER_FILES
    if soft < needed:
        soft = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= needed:
        return wanted
    fewer = max(1, soft - (needed - wanted))
    log.warning(
        "%d open files allow %d connections, not %d; raise the limit (ulimit -n, LimitNOFILE)",
        soft,
        fewer,
        wanted,
    )
    return fewer


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests in progress are then finished within the grace time.

    Raises SocketUnusable.
    """
    configure_logging(settings.log_level)
    share_the_process()
    if settings.auth == "off" and settings.socket is None and not is_loopback(settings.host):
        log.warning("no API key is demanded: anyone who reaches this address may change recipes")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        backlog=BACKLOG,
        lifespan="on",
        http=protocol(settings, affordable_connections(settings.max_connections), app.state.uploads.memory),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        log_config=None,  # the lines go to our own handler
        access_log=False,  # the edge logs each request, with its id
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    try:
        Server(config, app.state.service, app.state.auth).run()
    except KeyboardInterrupt:
        log.info("interrupted")  # uvicorn has shut down in order before it raises


def greeting(service: Service, auth: Auth, url: str) -> str:
    """What to try, on images whose verdict is known; or why nothing can be tried."""
    try:
        loaded = service.loaded
    except NotReady as error:
        return f"Passline listens at {url} but inspects nothing: {error}"
    model = service.readiness().model
    what = f"{model.name} {model.version}, {model.artifact} on {model.execution_provider}"
    lines = [f"Passline is ready at {url}: {what}"]
    bundle = loaded.inspector.bundle
    own = bundle.default_recipe.name  # what the samples' verdicts are by
    chosen = "" if own == loaded.recipes.default_name else f" -F recipe={shlex.quote(own)}"
    if (path := service.settings.socket) is not None:
        chosen += f" --unix-socket {shlex.quote(str(path))}"
    chosen += ' -H "Authorization: Bearer $TOKEN"' if auth.demand_keys else ""
    if (obstacle := auth.obstacle()) is not None:
        lines.append(f"But nobody gets in: {obstacle}")
    for verdict, picture in examples(bundle).items():
        lines.append(f"A sample whose verdict is {verdict}:")
        lines.append(f"  curl -sS -F image=@{shlex.quote(str(picture))}{chosen} {url}/v1/inspections")
    return "\n".join([*lines, f"Every request and answer: {url}/docs"])


def examples(bundle: Bundle) -> dict[str, Path]:
    """One golden image for each verdict there is, `fail` first."""
    found: dict[str, Path] = {}
    for sample in sorted(bundle.golden, key=lambda each: each.verdict):
        found.setdefault(sample.verdict, bundle.directory / sample.image)
    return found

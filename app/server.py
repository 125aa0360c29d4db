"""Uvicorn set up for a factory box, and the words it greets with once it really serves."""

import contextlib
import ipaddress
import logging
import shlex
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import uvicorn

from app.access.auth import Auth, is_loopback
from app.api.middleware import MAX_HEADER_BYTES
from app.connections import protocol
from app.errors import NotReady
from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.threads import share_the_process
from app.main import create_app
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import configure_logging

log = logging.getLogger(__name__)


class TlsUnusable(ValueError):
    """The files that the settings name are no certificate with its key, or no authority."""


class Server(uvicorn.Server):
    """Greets after its sockets listen, so that whatever it prints works at once."""

    def __init__(self, config: uvicorn.Config, service: Service, auth: Auth) -> None:
        super().__init__(config)
        self._service = service
        self._doors = auth

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then greet on stderr: stdout is for JSON lines alone."""
        await super().startup(sockets=sockets or _of_both_families(self.config.host, self.config.port))
        if self.started and sys.stderr is not None:
            with contextlib.suppress(OSError):  # a full disk is no reason to stop the line
                print(greeting(self._service, self._doors, self._url()), file=sys.stderr, flush=True)

    def _url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # everywhere is no address to call
        scheme = "https" if self.config.is_ssl else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _of_both_families(host: str, port: int) -> list[socket.socket] | None:
    """One socket for IPv6 and IPv4 where the host is `::`: asyncio makes one for IPv6 alone of that.

    None for any other host, and where the address cannot be had: uvicorn makes that one, or says why not.
    """
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


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests in progress are then finished within the grace time.

    Raises TlsUnusable.
    """
    configure_logging(settings.log_level)
    share_the_process()
    tls = tls_options(settings)
    if settings.auth == "off" and not is_loopback(settings.host):
        log.warning("no API key is demanded: anyone who reaches this address may change recipes")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="on",
        http=protocol(settings),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        log_config=None,  # the lines go to our own handler
        access_log=False,  # the edge logs each request, with its id
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
        **tls,
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
        return f"Passline listens at {url} but judges nothing: {error}"
    model = service.readiness().model
    what = f"{model.name} {model.version}, {model.artifact} on {model.execution_provider}"
    lines = [f"Passline is ready at {url}: {what}"]
    bundle = loaded.inspector.bundle
    own = bundle.default_recipe.name  # what the samples' verdicts are by
    chosen = "" if own == loaded.recipes.default_name else f" -F recipe={shlex.quote(own)}"
    # The certificate is for the name that the plant knows the box by, and this line is for the box itself.
    chosen += " --insecure" if url.startswith("https") else ""
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


def tls_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn needs to serve TLS, nothing where no certificate is set; raises TlsUnusable."""
    if settings.tls_cert is None or settings.tls_key is None:
        return {}
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: OpenSSL would ask for one at a terminal that a service does not have.
        trial.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        raise TlsUnusable(
            f"PASSLINE_TLS_CERT and PASSLINE_TLS_KEY ({settings.tls_cert}, {settings.tls_key}) are no"
            f" certificate with its key, unencrypted, as PEM that can be read: {error}"
        ) from error
    options: dict[str, Any] = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    return options | _clients(trial, settings.tls_client_ca)


def _clients(trial: ssl.SSLContext, authority: Path | None) -> dict[str, Any]:
    if authority is None:
        return {}
    try:
        trial.load_verify_locations(authority)
    except OSError as error:
        raise TlsUnusable(f"PASSLINE_TLS_CLIENT_CA ({authority}) holds no certificate: {error}") from error
    return {"ssl_ca_certs": str(authority), "ssl_cert_reqs": ssl.CERT_REQUIRED}

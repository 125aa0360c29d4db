"""Uvicorn set up for a factory box, and the words it greets with once it really serves."""

import logging
import shlex
import socket
import sys
from pathlib import Path

import uvicorn

from app.errors import NotReady
from app.inspection.bundle import Bundle
from app.main import create_app
from app.service import Service
from app.settings import Settings
from app.telemetry import configure_logging


class Server(uvicorn.Server):
    """Greets after its sockets listen, so that whatever it prints works at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then greet on stderr: stdout is for JSON lines alone."""
        await super().startup(sockets=sockets)
        if self.started:
            print(greeting(self._service, self._url()), file=sys.stderr, flush=True)

    def _url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # everywhere is no address to call
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests in progress are then finished within the grace time."""
    configure_logging(settings.log_level)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="on",
        ws="none",
        log_config=None,  # the lines go to our own handler
        access_log=False,  # the edge logs each request, with its id
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    try:
        Server(config, app.state.service).run()
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("interrupted")  # uvicorn has shut down in order before it raises


def greeting(service: Service, url: str) -> str:
    """What to try, on pictures whose verdict is known; or why nothing can be tried."""
    try:
        loaded = service.loaded
    except NotReady as error:
        return f"Passline listens at {url} but judges nothing: {error}"
    model = service.readiness().model
    what = f"{model.name} {model.version}, {model.artifact} on {model.execution_provider}"
    lines = [f"Passline is ready at {url}: {what}"]
    bundle = loaded.inspector.bundle
    own = bundle.default_recipe.name  # what the samples' verdicts are by
    chosen = "" if own == loaded.recipes.default.name else f" -F recipe={shlex.quote(own)}"
    for verdict, picture in examples(bundle).items():
        lines.append(f"A sample whose verdict is {verdict}:")
        lines.append(f"  curl -sS -F image=@{shlex.quote(str(picture))}{chosen} {url}/v1/inspections")
    return "\n".join([*lines, f"Every request and answer: {url}/docs"])


def examples(bundle: Bundle) -> dict[str, Path]:
    """One golden picture for each verdict there is, `fail` first."""
    found: dict[str, Path] = {}
    for sample in sorted(bundle.golden, key=lambda each: each.verdict):
        found.setdefault(sample.verdict, bundle.directory / sample.image)
    return found

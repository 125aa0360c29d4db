"""The application: `create_app` ties settings, service, endpoints and middleware together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from app.access.auth import Auth, check_all_closed
from app.access.people import People
from app.api.bundles import router as bundle_router
from app.api.docs import DocumentedApp
from app.api.error_handlers import install
from app.api.export import router as export_router
from app.api.history import router as history_router
from app.api.inspections import open_router, router
from app.api.middleware import QUIET, RequestMiddleware
from app.api.openapi import STATIC
from app.api.recipes import router as recipe_router
from app.api.reviews import router as review_router
from app.api.session import open_router as session_open_router
from app.api.session import router as session_router
from app.api.station import DIST, Assets
from app.api.station import router as station_router
from app.api.statistics import router as statistics_router
from app.api.uploads import Uploads
from app.api.users import audit_router
from app.api.users import router as users_router
from app.service import Service
from app.settings import Settings
from app.telemetry.tracing import Traces

DESCRIPTION = """Images of manufactured surfaces in, verdicts out.

Every error is an RFC 9457 problem with a stable `code`; docs/errors.md documents each. An image that cannot
be inspected is a problem or a `review`, never a `pass`."""


def create_app(settings: Settings | None = None, traces: Traces | None = None) -> FastAPI:
    """Create the application; `settings` and `traces` are by default those of the environment.

    Its bundle is loaded, self-tested and warmed up at startup. If that fails, the application starts all the
    same and `/readyz` says why: this is easier to repair than a service that restarts in a loop.
    """
    service = Service(settings or Settings.from_environment(), traces)
    app = DocumentedApp(
        title="Passline",
        version="1",
        summary="Surface inspection",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # the built-in pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the address behind a proxy, and lose the image
        lifespan=_lifespan,
        telemetry={
            "tracer_provider": service.traces.provider,
            "metrics": False,  # /metrics has them
            "logs": False,
            "operation_spans": False,  # an inspection's own steps say more
            "auto_configure": False,  # only PASSLINE_OTLP_ENDPOINT decides whether anything is sent
            "exclude": lambda scope: scope.get("path") in QUIET,
        },
    )
    app.state.service = service
    app.state.uploads = _uploads(service)
    app.state.people = People(service.settings, lambda: service.database)
    app.state.auth = Auth(service.settings, app.state.people)
    app.include_router(open_router)
    app.include_router(router)
    app.include_router(export_router)  # before the next, where `export` would be an id
    app.include_router(history_router)
    app.include_router(review_router)
    app.include_router(statistics_router)
    app.include_router(recipe_router)
    app.include_router(session_open_router)
    app.include_router(session_router)
    app.include_router(users_router)
    app.include_router(audit_router)
    app.include_router(bundle_router)
    app.include_router(station_router)
    app.mount("/assets", Assets(directory=DIST / "assets"), name="assets")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    check_all_closed(app.routes)
    install(app, service.metrics)
    origins = service.settings.allowed_origins or frozenset()
    app.add_middleware(RequestMiddleware, metrics=service.metrics, origins=origins)
    return app


def _uploads(service: Service) -> Uploads:
    """The reader of request bodies, with a metric of the memory that it holds."""
    uploads = Uploads(service.settings)
    what = "Bytes held by request bodies and by answers not received yet."
    service.metrics.watch("upload_bytes", what, lambda: uploads.memory.held)
    return uploads


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    try:
        await service.start()
    except Exception as error:  # noqa: BLE001  # whatever it is, /readyz must report it
        service.refuse(error)
    yield
    await service.stop()

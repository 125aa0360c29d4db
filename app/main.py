"""The application: `create_app` ties settings, service, routes and edge together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from app import problems
from app.edge import Edge
from app.openapi import STATIC, DocumentedApp
from app.routes import router
from app.service import Service
from app.settings import Settings

DESCRIPTION = """Pictures of manufactured surfaces in, verdicts out.

Every error is an RFC 9457 problem with a stable `code`; docs/errors.md tells of each. A picture that cannot
be inspected is a problem or a `review`, never a `pass`."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; without `settings` the environment's are taken.

    Its bundle is loaded, self-tested and warmed up when it starts. Where that fails it starts all the same
    and `/readyz` says why: a box that tells its reason is easier to mend than one that restarts for ever.
    """
    service = Service(settings or Settings.from_environment())
    app = DocumentedApp(
        title="Passline",
        version="1",
        summary="Surface inspection",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # the built-in pages load their scripts from outside
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the address behind a proxy, and lose the picture
        lifespan=_lifespan,
    )
    app.state.service = service
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    problems.install(app, service.metrics)
    app.add_middleware(Edge, metrics=service.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    try:
        await service.start()
    except Exception as error:  # noqa: BLE001  # the web edge: whatever it is, /readyz must be there to tell
        service.refuse(error)
    yield
    await service.stop()

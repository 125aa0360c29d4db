"""The operator's station: one page for all its addresses, and the built files; they hold no data."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

DIST = Path(__file__).parents[1] / "station" / "dist"
PAGES = ("/", "/live", "/review", "/history", "/statistics")
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'"
A_YEAR = "public, max-age=31536000, immutable"  # the names of the built files contain their hashes

router = APIRouter(include_in_schema=False)


async def index() -> FileResponse:
    """The station's page; its script shows what the address asks for."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(DIST / "index.html", headers=headers)


for _page in PAGES:
    router.add_api_route(_page, index, methods=["GET"])


class Assets(StaticFiles):
    """The station's scripts and styles, which a browser may keep."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404; only a file that is there may be kept."""
        answer = await super().get_response(path, scope)
        if answer.status_code in (200, 304):
            answer.headers["Cache-Control"] = A_YEAR
        return answer

"""Documentation pages: the OpenAPI document and Swagger UI; they need no API key."""

import base64
import hashlib
import json
import re
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.requests import Request
from starlette.responses import Response

from app.api.openapi import EXAMPLES


class DocumentedApp(FastAPI):
    """FastAPI with example answers in its document: it drops nulls from examples, and ours need them."""

    def setup(self) -> None:
        """Serve the document as bytes encoded once; FastAPI would encode it for each request."""

        async def document(_: Request) -> Response:
            return Response(self._encoded, media_type="application/json")

        self.add_route("/openapi.json", document, include_in_schema=False)

    @cached_property
    def _encoded(self) -> bytes:
        return json.dumps(self.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    def openapi(self) -> dict[str, Any]:
        """Build the OpenAPI document, with the example answers."""
        document = super().openapi()
        for path, example in EXAMPLES.items():
            content = document["paths"][path]["post"]["responses"]["200"]["content"]
            content["application/json"]["example"] = example
        return document


def docs_page() -> HTMLResponse:
    """Swagger UI without external resources: no scripts of a CDN and no validator badge."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # relative, so that it also works behind a proxy that adds a path
        title="Passline",
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="static/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    # Allow the page's one inline script by its hash: no other runs, whatever a displayed answer contains.
    (script,) = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    known = base64.b64encode(hashlib.sha256(script).digest()).decode()
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' 'sha256-{known}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'"
    )
    return page

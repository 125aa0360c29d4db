"""The pages that document the service: the OpenAPI document and Swagger UI, open to everyone."""

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
    """FastAPI with worked answers in its document: it drops nulls from examples, and ours need theirs."""

    def setup(self) -> None:
        """Serve the document as bytes that are made once; FastAPI would make them for each request."""

        async def document(_: Request) -> Response:
            return Response(self._encoded, media_type="application/json")

        self.add_route("/openapi.json", document, include_in_schema=False)

    @cached_property
    def _encoded(self) -> bytes:
        return json.dumps(self.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        document = super().openapi()
        for path, example in EXAMPLES.items():
            content = document["paths"][path]["post"]["responses"]["200"]["content"]
            content["application/json"]["example"] = example
        return document


def docs_page() -> HTMLResponse:
    """Swagger UI with nothing from outside: neither its scripts nor its validator badge."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # relative, so that it works below a proxy's path too
        title="Passline",
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="static/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    # Its one script on the page is known by its hash, so that no other runs, whatever an answer shown holds.
    (script,) = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    known = base64.b64encode(hashlib.sha256(script).digest()).decode()
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' 'sha256-{known}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'"
    )
    return page

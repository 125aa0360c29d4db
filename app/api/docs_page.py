"""The OpenAPI document as a page that needs nothing from outside."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

STATIC = Path(__file__).parents[1] / "static"


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

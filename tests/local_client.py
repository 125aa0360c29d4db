"""A client in this process that calls the app by a loopback address, as the box itself does."""

from typing import Any

from starlette.testclient import TestClient
from starlette.types import ASGIApp


class LocalClient(TestClient):
    """Without keys the app refuses every other `Host`."""

    def __init__(self, app: ASGIApp, base_url: str = "http://127.0.0.1", **options: Any) -> None:
        super().__init__(app, base_url, **options)

"""What every answer tells a browser, and that the page's own script is the only one that runs."""

import base64
import hashlib
import re

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/model", "/nowhere"]
)
def test_every_answer_is_protected(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Strict-Transport-Security" not in headers, "over HTTP it would mean nothing"


def test_an_inspection_is_never_kept_by_a_cache(client: TestClient, dark: bytes) -> None:
    for form, kind in (("json", "application/json"), ("certificate", "text/html")):
        response = client.post(f"/v1/inspections?format={form}", files={"image": dark})
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Type"].startswith(kind)


def test_what_is_the_same_on_every_box_may_be_kept(client: TestClient) -> None:
    response = client.get("/static/swagger-ui.css")
    assert "Cache-Control" not in response.headers
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_pages_policy_knows_its_script_by_hash_and_no_other(client: TestClient) -> None:
    response = client.get("/docs")
    policy = response.headers["Content-Security-Policy"]
    inline = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in inline]
    scripts = re.findall(r"script-src ([^;]*)", policy)
    assert scripts == [f"'self' 'sha256-{hashes[0]}'"]
    assert len(inline) == 1

"""The station's page and files: open, small, without inline scripts, and built from the sources here."""

import gzip
import hashlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api.station import DIST, PAGES
from app.main import create_app

ROOT = DIST.parent
FIXED = ("index.html", "package-lock.json", "package.json", "vite.config.ts")


@pytest.mark.parametrize("page", PAGES)
def test_each_address_has_the_page(page: str) -> None:
    answer = TestClient(create_app()).get(page)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "<script>" not in answer.text


def test_a_browser_keeps_the_files_but_no_missing_one() -> None:
    client = TestClient(create_app())
    for file in (DIST / "assets").iterdir():
        assert "immutable" in client.get(f"/assets/{file.name}").headers["cache-control"]
    missing = client.get("/assets/none.js")
    assert missing.status_code == 404
    assert "immutable" not in missing.headers.get("cache-control", "")


def test_the_files_are_under_400_kb_together() -> None:
    files = [path for path in DIST.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 400_000


def test_the_committed_files_are_built_from_these_sources() -> None:
    names = [*FIXED, *(str(p.relative_to(ROOT)) for p in Path(ROOT / "src").rglob("*") if p.is_file())]
    found = hashlib.sha256()
    for name in sorted(names):
        found.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    assert found.hexdigest() == (DIST / "sources.sha256").read_text().strip(), "run `make station`"

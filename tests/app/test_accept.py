"""`Accept` is read as RFC 9110 has it."""

import pytest
from starlette.testclient import TestClient

from app.api.dependencies import wants


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        ([], False),
        ([""], False),
        (["*/*"], False),
        (["application/json"], False),
        (["text/html"], True),
        (["Text/HTML; charset=utf-8"], True),
        (["text/*"], True),
        (["text/html;q=0"], False),
        (["application/json, text/html;q=0"], False),
        (["application/json, text/html;q=0.9"], False),
        (["application/json;q=0.2, text/html;q=0.3"], True),
        (["application/json;q=0.2", "text/html; q=0.3"], True),
        (["application/json, text/html"], False),
        (["text/html, */*;q=0.8"], True),
        (["text/html;q=0.5, */*"], False),
        (["text/*, text/html;q=0"], False),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"], True),
        (["text/html;q=nan"], False),
        (["text/html;q=2, application/json;q=0.1"], False),
        (["x-text/htmlish, application/text/html"], False),
        ([",;,"], False),
    ],
)
def test_html_is_for_those_who_like_it_better(accept: list[str], is_html: bool) -> None:
    assert wants(accept, "text/html", "application/json") is is_html


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",  # Java's HttpURLConnection, up to version 17
        "text/html, image/gif, image/jpeg, */*; q=0.2",  # and later
        "application/xhtml+xml, text/*",
        "image/png",
    ],
)
def test_an_inspection_is_json_whatever_a_client_accepts(
    client: TestClient, clean: bytes, accept: str
) -> None:
    asked = client.post("/v1/inspections", files={"image": clean}, headers={"Accept": accept})
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.json()["verdict"] == "pass"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/yaml", "application/yaml"),
        ("application/json, application/yaml;q=0", "application/json"),
    ],
)
def test_a_recipes_text_is_answered_only_where_it_is_wanted(
    client: TestClient, accept: str, kind: str
) -> None:
    asked = client.get("/v1/recipes/strict", headers={"Accept": accept})
    assert asked.headers["Content-Type"] == kind

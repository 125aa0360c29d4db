"""Access: closed unless open on purpose, decided before a body is read, and told of in log and history."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from app.access.auth import OPEN, Auth, check_all_closed, is_loopback, needs
from app.access.keys import SCOPES, Scope, add_key, revoke_key
from app.api.station import DIST
from app.main import create_app
from app.settings import Settings
from app.telemetry.metrics import JsonLines
from tests.app.test_inspections import refused
from tests.local_client import LocalClient

MakeClient = Callable[..., TestClient]
FILES = {  # one of each folder
    "/static": "/static/swagger-ui.css",
    "/assets": f"/assets/{next(iter((DIST / 'assets').iterdir())).name}",
}
METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH"}
LEAST: dict[str, Scope] = {
    "/v1/inspections": "inspect",
    "/v1/model": "inspect",
    "/metrics": "inspect",
    "/v1/recipes": "operate",
}


class Box:
    """A service that demands keys, and one of each scope."""

    def __init__(self, make: MakeClient, folder: Path, **changes: Any) -> None:
        self.file = folder / "keys.jsonl"
        self.tokens: dict[str, str] = {
            scope: add_key(self.file, f"{scope}-key", scope, None) for scope in SCOPES
        }
        self.client = make(host="0.0.0.0", keys_file=self.file, **changes)

    def headers(self, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[scope]}"}


@pytest.fixture(scope="module")
def box(make_client: MakeClient, tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("box")
    (folder / "recipes").mkdir()
    return Box(make_client, folder, recipes_dir=folder / "recipes")


def operations() -> list[tuple[str, str]]:
    """Every method and address that is served."""
    found = []
    for route in iter_route_contexts(create_app(Settings()).routes):
        for method in sorted((route.methods or {"GET"}) & METHODS):
            found.append((method, route.path or ""))
    return found


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_address_but_the_open_ones_demands_a_key(box: Box, method: str, path: str) -> None:
    asked = FILES.get(path, path.replace("{name}", "strict"))
    response = box.client.request(method, asked)
    if path in OPEN:  # anybody may log in and out; a log-in without a body is refused for that
        log_in_and_out = {("POST", "/v1/session"): 415, ("DELETE", "/v1/session"): 204}
        assert response.status_code == log_in_and_out.get((method, path), 200)
        return
    problem = refused(response, 401, "key_required")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "passline keys add" in problem["detail"]


def test_the_walk_over_the_addresses_meets_them_all() -> None:
    paths = {path for _, path in operations()}
    assert OPEN | {"/v1/inspections", "/v1/recipes/{name}", "/v1/activations", "/metrics"} <= paths


@pytest.mark.parametrize("path", sorted(LEAST))
@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_lets_in_where_it_is_enough(box: Box, dark: bytes, path: str, scope: Scope) -> None:
    if path == "/v1/inspections":
        response = box.client.post(path, files={"image": dark}, headers=box.headers(scope))
    else:
        response = box.client.get(path, headers=box.headers(scope))
    if SCOPES.index(scope) < SCOPES.index(LEAST[path]):
        problem = refused(response, 403, "scope_missing")
        assert "operate" in problem["detail"]
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
    else:
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/v1/inspections", "/v1/inspections/batch", "/v1/parts"])
def test_a_key_to_inspect_names_no_camera_or_recipe_but_its_own(box: Box, dark: bytes, path: str) -> None:
    field = "images" if path.endswith("batch") else "image"
    count = 1 if path == "/v1/inspections" else 2
    images = [(field, ("x.png", dark, "image/png"))] * count
    token = add_key(box.file, f"list-{path.count('/')}{field}{count}", "inspect", cameras=["mine"])
    own, none = {"X-API-Key": token}, box.headers("inspect")

    def status(headers: dict[str, str], *, query: dict[str, str], form: dict[str, str]) -> int:
        form = {"part_id": "p"} | form
        response = box.client.post(path, files=images, data=form, params=query, headers=headers)
        if response.status_code == 403:
            problem = refused(response, 403, "name_not_allowed")
            assert "passline keys add --" in problem["detail"]
        return response.status_code

    for where in ("query", "form"):
        as_sent: dict[str, dict[str, str]] = {"query": {}, "form": {}}
        for name, headers, expected in (
            ({"camera_id": "mine"}, own, 200),
            ({"camera_id": "other"}, own, 403),
            ({"recipe": "default"}, own, 403),
            ({"camera_id": "mine"}, none, 403),
            ({"camera_id": "other"}, box.headers("operate"), 200),
        ):
            assert status(headers, **(as_sent | {where: name})) == expected, (where, name)
    assert status(none, query={}, form={}) == 200


def test_a_camera_sends_its_own_name_with_a_frame(box: Box, dark: bytes) -> None:
    headers = box.headers("inspect") | {"Content-Type": "image/png"}
    answer = box.client.post("/v1/inspections?camera_id=other", content=dark, headers=headers)
    refused(answer, 403, "name_not_allowed")


def test_either_header_will_do_and_another_kind_of_authorization_is_none(box: Box) -> None:
    token = box.tokens["inspect"]
    for headers in (
        {"X-API-Key": token},
        {"authorization": f"bearer {token}"},
        {"Authorization": "Basic eDp5", "X-API-Key": token},
    ):
        assert box.client.get("/v1/model", headers=headers).status_code == 200
    for wrong in ("", "x", token[:-1], token + "x", token.upper()):
        refused(box.client.get("/v1/model", headers={"X-API-Key": wrong}), 401, "key_required")
    refused(box.client.get("/v1/model", headers={"Authorization": token}), 401, "key_required")


def test_a_key_is_sent_once(box: Box, client: TestClient) -> None:
    """One of two would win, and which one would be ours to choose."""
    token = box.tokens["inspect"]
    for name, value in (("X-API-Key", token), ("Authorization", f"Bearer {token}")):
        for values in ((value, value), (value, "x"), ("x", value)):
            headers: Any = [(name, each) for each in values]
            problem = refused(box.client.get("/v1/model", headers=headers), 401, "key_required")
            assert f"{name} is given more than once" in problem["detail"]
            assert client.get("/v1/model", headers=headers).status_code == 200, "no key is asked for there"


def test_it_is_decided_before_the_body_is_read(box: Box) -> None:
    """No byte of a stranger's form is parsed: else this one would be a 422, and the deadline one, too."""
    asked = {
        "content": b"no form",
        "headers": {"Content-Type": "multipart/form-data; boundary=B", "X-Deadline-Ms": "x"},
    }
    refused(box.client.post("/v1/inspections?what=is-this", **asked), 401, "key_required")  # type: ignore[arg-type]


def test_an_expired_or_revoked_key_is_refused_at_once(make_client: MakeClient, tmp_path: Path) -> None:
    box = Box(make_client, tmp_path)
    assert box.client.get("/v1/model", headers=box.headers("admin")).status_code == 200
    revoke_key(box.file, "admin-key")
    refused(box.client.get("/v1/model", headers=box.headers("admin")), 401, "key_required")
    line = json.loads(box.file.read_text().splitlines()[0]) | {"expires": "2020-01-01T00:00:00Z"}
    box.file.write_text(json.dumps(line))
    problem = refused(box.client.get("/v1/model", headers=box.headers("inspect")), 401, "key_required")
    assert "expired" in problem["detail"]


def test_without_a_file_nobody_gets_in_and_is_told_why(make_client: MakeClient) -> None:
    client = make_client(host="192.0.2.7")
    problem = refused(client.get("/v1/model"), 401, "key_required")
    assert "PASSLINE_KEYS_FILE" in problem["detail"]
    assert client.get("/readyz").status_code == 200


def test_the_greeting_tells_that_nobody_gets_in_and_how_to_mend_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    assert "PASSLINE_KEYS_FILE" in (Auth(Settings(auth="on")).obstacle() or "")
    auth = Auth(Settings(auth="on", keys_file=file))
    assert "keys add" in (auth.obstacle() or "")
    add_key(file, "line-1", "inspect", None)
    assert auth.obstacle() is None
    assert Auth(Settings()).obstacle() is None


@pytest.mark.parametrize(
    ("auth", "host", "status"),
    [
        ("auto", "127.0.0.1", 200),
        ("auto", "::1", 200),
        ("auto", "localhost", 200),
        ("auto", "0.0.0.0", 401),
        ("auto", "::", 401),
        ("auto", "box.plant", 401),
        ("auto", "::ffff:127.0.0.1", 401),
        ("on", "127.0.0.1", 401),
        ("off", "0.0.0.0", 200),
    ],
)
def test_when_keys_are_demanded(auth: str, host: str, status: int) -> None:
    app = create_app(Settings.model_validate({"auth": auth, "host": host}))
    assert LocalClient(app).get("/metrics").status_code == status
    assert is_loopback(host) == (host in {"127.0.0.1", "::1", "localhost"})


def test_an_app_with_an_address_that_nobody_thought_of_is_refused() -> None:
    app = create_app(Settings())
    forgotten = APIRouter()
    forgotten.add_api_route("/v1/forgotten", lambda: None)
    app.include_router(forgotten)
    with pytest.raises(RuntimeError, match="/v1/forgotten"):
        check_all_closed(app.routes)


@contextmanager
def written() -> Iterator[io.StringIO]:
    """What the service logs in the meantime, as it would write it."""
    out, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(out), root.level
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield out
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_log_and_history_name_the_key_and_hold_no_token(box: Box, dark: bytes) -> None:
    with written() as out:
        box.client.post("/v1/inspections", files={"image": dark}, headers=box.headers("inspect"))
        put = box.client.put(
            "/v1/recipes/mine?who=Ada",
            content="name: mine\n",
            headers=box.headers("operate") | {"Content-Type": "application/yaml"},
        )
        box.client.get("/healthz")
        box.client.get("/v1/model", headers={"X-API-Key": "passline_guess"})
    assert put.status_code == 200
    assert (put.json()["who"], put.json()["key"]) == ("Ada", "operate-key")
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    requests = {line["path"]: line.get("key") for line in told if line["message"] == "request"}
    assert requests == {
        "/v1/inspections": "inspect-key",
        "/v1/recipes/mine": "operate-key",
        "/healthz": None,
        "/v1/model": None,
    }
    assert [line["key"] for line in told if line["message"] == "inspected"] == ["inspect-key"]
    assert not re.search("|".join([*box.tokens.values(), "passline_guess"]), out.getvalue())
    assert box.client.get("/v1/recipes/mine/versions", headers=box.headers("operate")).json()["versions"][0][
        "key"
    ] == ("operate-key")


def test_an_endpoint_may_need_more_than_its_router(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    tokens: dict[str, str] = {scope: add_key(file, scope, scope, None) for scope in SCOPES}
    app = create_app(Settings(auth="on", keys_file=file))
    router = APIRouter(dependencies=[needs("inspect")])
    router.add_api_route("/v1/bundle", lambda: "swapped", methods=["POST"], dependencies=[needs("admin")])
    app.include_router(router)
    check_all_closed(app.routes)
    client = LocalClient(app)
    codes = {
        scope: client.post("/v1/bundle", headers={"X-API-Key": tokens[scope]}).status_code for scope in SCOPES
    }
    assert codes == {"inspect": 403, "review": 403, "operate": 403, "admin": 200}


def test_the_document_tells_of_the_keys(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for path, operations_there in document["paths"].items():
        for method, operation in operations_there.items():
            scope = None if path in OPEN else "inspect"
            of_history = path.startswith("/v1/inspections") and (method == "get" or "{id}" in path)
            scope = "review" if of_history or path.startswith(("/v1/reviews", "/v1/statistics")) else scope
            scope = "operate" if path.startswith(("/v1/recipe", "/v1/activations")) else scope
            scope = "review" if path == "/v1/session/password" else scope
            scope = "operate" if path == "/v1/audit" else scope
            scope = "admin" if path.startswith(("/v1/bundles", "/v1/users", "/v1/keys")) else scope
            expected = None if scope is None else [{"bearer": [scope]}, {"api_key": [scope]}]
            assert operation.get("security") == expected, path
            is_log_in = (method, path) == ("post", "/v1/session")  # its 401 is a wrong password
            assert ("401" in operation["responses"]) == (scope is not None or is_log_in)


@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ({}, "127.0.0.1", 200),  # no browser
        ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, "127.0.0.1", 200),
        ({"Sec-Fetch-Site": "none"}, "localhost:8000", 200),
        ({"Origin": "http://localhost:8000"}, "localhost:8000", 200),
        ({"Origin": "http://evil.example"}, "127.0.0.1", 403),
        ({"Origin": "null"}, "127.0.0.1", 403),
        ({"Origin": "http://[::1"}, "127.0.0.1", 403),
        ({"Origin": "http://127.0.0.1:9"}, "127.0.0.1", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "127.0.0.1", 403),
    ],
)
def test_without_keys_a_page_from_elsewhere_asks_nothing(
    headers: dict[str, str], host: str, status: int
) -> None:
    client = LocalClient(create_app(Settings(host="127.0.0.1")))
    response = client.get("/metrics", headers={"Host": host, **headers})
    assert response.status_code == status
    if status == 403:
        refused(response, 403, "foreign_page")


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({}, "box.plant"),
        ({}, "evil.example"),  # whose name server answers 127.0.0.1
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, "evil.example"),
        ({}, ""),
        ({}, "[::1"),
        ({}, "evil@localhost"),
        ({}, "localhost:evil"),
        ({}, "localhost/x"),
        ({}, "localhost#evil"),
        ({"Forwarded": "for=192.0.2.1"}, "127.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.1"}, "127.0.0.1"),
        ({"X-Forwarded-Proto": "https"}, "localhost"),
        ({"X-Real-IP": "192.0.2.1"}, "127.0.0.1"),
        ({"Via": "1.1 proxy"}, "[::1]:8000"),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_without_keys_only_this_machine_is_let_in(headers: dict[str, str], host: str, address: str) -> None:
    client = LocalClient(create_app(Settings(host=address, auth="off")))
    refused(client.get("/metrics", headers={"Host": host, **headers}), 403, "not_local")
    assert client.get("/healthz", headers={"Host": host, **headers}).status_code == 200


def test_with_keys_any_host_and_any_proxy_will_do(box: Box) -> None:
    headers = box.headers("inspect") | {"Host": "box.plant", "X-Forwarded-For": "192.0.2.1"}
    assert box.client.get("/metrics", headers=headers).status_code == 200


def test_hosts_that_are_named_may_be_called_without_keys() -> None:
    client = LocalClient(
        create_app(Settings(auth="off", host="0.0.0.0", allowed_hosts=frozenset({"box.plant"})))
    )
    own = {"Host": "box.plant:8000", "Origin": "http://box.plant:8000", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/metrics", headers=own).status_code == 200
    assert client.get("/metrics", headers=own | {"Origin": "http://evil.example"}).status_code == 403


def test_behind_a_unix_socket_keys_are_demanded() -> None:
    assert Auth(Settings(socket=Path("passline.sock"))).demand_keys
    assert not Auth(Settings()).demand_keys

"""People: log-in, sessions, roles, the token against forged requests, users and the audit log."""

import io
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.__main__ import main
from app.access.auth import COOKIE
from app.access.keys import add_key
from app.access.throttle import FREE, MAX_DELAY_S, MAX_ENTRIES, Throttle
from app.access.users import Users
from app.access_errors import LoginThrottled
from tests.app.conftest import change_database, data_of
from tests.app.test_inspections import refused
from tests.local_client import LocalClient

MakeClient = Callable[..., TestClient]
PASSWORDS = {
    "root-1": "correct horse battery",
    "ina": "four quiet green hills",
    "olaf": "rain on the tin roof",
}
ROLES = {"root-1": "admin", "ina": "engineer", "olaf": "operator"}


def users_of(client: TestClient) -> Users:
    found: Users = client.app.state.people.users  # type: ignore[attr-defined]
    return found


def browser(client: TestClient) -> TestClient:
    """Another browser at the same service, which has been started already."""
    return LocalClient(client.app)


def log_in(client: TestClient, name: str, password: str | None = None) -> dict[str, Any]:
    """Log in and keep the cookie; the token against forged requests goes into the headers."""
    answer = client.post("/v1/session", json={"name": name, "password": password or PASSWORDS[name]})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf"]
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def box(make_client: MakeClient, tmp_path: Path) -> TestClient:
    """A service with keys demanded and one user of each role."""
    client = make_client(auth="on", keys_file=tmp_path / "keys.jsonl")
    for name, password in PASSWORDS.items():
        users_of(client).put("test", name, ROLES[name], password=password)  # type: ignore[arg-type]
    return client


def test_a_session_begins_and_ends(box: TestClient) -> None:
    assert box.get("/v1/session").json()["mode"] == "login"
    answer = box.post("/v1/session", json={"name": "ina", "password": PASSWORDS["ina"]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie
    assert answer.json()["user"] == {"name": "ina", "role": "engineer"}
    assert box.get("/v1/session").json() == answer.json()
    assert box.get("/v1/recipes").status_code == 200
    refused(box.get("/v1/users"), 403, "scope_missing")
    token = box.cookies[COOKIE]
    refused(box.delete("/v1/session"), 403, "csrf_token_missing")
    assert box.delete("/v1/session", headers={"X-CSRF-Token": answer.json()["csrf"]}).status_code == 204
    box.cookies.set(COOKIE, token)
    refused(box.get("/v1/recipes"), 401, "key_required")


def test_the_cookie_is_for_tls_alone_behind_tls(box: TestClient) -> None:
    asked = {"name": "ina", "password": PASSWORDS["ina"]}
    answer = box.post("/v1/session", json=asked, headers={"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_wrong_names_and_passwords_look_the_same_and_slow_down(box: TestClient) -> None:
    answers = [
        box.post("/v1/session", json={"name": name, "password": "wrong " * 3}) for name in ("ina", "nobody")
    ]
    problems = [refused(each, 401, "login_failed")["detail"] for each in answers]
    assert problems[0] == problems[1]
    for _ in range(FREE):
        last = box.post("/v1/session", json={"name": "ina", "password": "wrong " * 3})
    last = box.post("/v1/session", json={"name": "ina", "password": PASSWORDS["ina"]})
    refused(last, 429, "login_throttled")
    assert int(last.headers["Retry-After"]) >= 1
    log_in(box, "olaf")


def test_an_unknown_name_takes_as_long_as_a_known_one(box: TestClient) -> None:
    table = users_of(box)

    def took(name: str) -> float:
        started = time.perf_counter()
        assert table.check(name, "certainly wrong") is None
        return time.perf_counter() - started

    took("nobody")  # makes the hash that stands in for a user's
    known = sorted(took("ina") for _ in range(7))[3]
    unknown = sorted(took("nobody") for _ in range(7))[3]
    assert 1 / 3 < unknown / known < 3


def test_a_change_by_cookie_needs_the_token(box: TestClient) -> None:
    log_in(box, "ina")
    token = box.headers.pop("X-CSRF-Token")
    for sent in ({}, {"X-CSRF-Token": "guessed"}):
        refused(box.post("/v1/reviews/claims", json={"count": 1}, headers=sent), 403, "csrf_token_missing")
    answer = box.post("/v1/reviews/claims", json={"count": 1}, headers={"X-CSRF-Token": token})
    assert answer.status_code != 403


def test_a_form_or_a_page_from_elsewhere_cannot_log_anybody_in(box: TestClient) -> None:
    text = '{"name": "ina", "password": "four quiet green hills"}'
    form = box.post("/v1/session", content=text, headers={"Content-Type": "text/plain"})
    refused(form, 415, "media_type_unsupported")
    asked = {"name": "ina", "password": PASSWORDS["ina"]}
    refused(box.post("/v1/session", json=asked, headers={"Origin": "http://evil"}), 403, "foreign_page")
    assert COOKIE not in box.cookies


def test_a_cookie_planted_before_the_log_in_is_worth_nothing_after_it(box: TestClient) -> None:
    box.cookies.set(COOKIE, "planted")
    other = browser(box)
    log_in(other, "ina")
    refused(box.get("/v1/recipes"), 401, "key_required")
    assert other.cookies[COOKIE] != "planted"


def test_only_an_admin_changes_users(box: TestClient) -> None:
    for name in ("olaf", "ina"):
        other = browser(box)
        log_in(other, name)
        refused(other.put(f"/v1/users/{name}", json={"role": "admin"}), 403, "scope_missing")
    log_in(box, "root-1")
    new = {"role": "operator", "password": "a bicycle in the snow"}
    assert box.put("/v1/users/nora", json=new).json()["role"] == "operator"
    assert "nora" in [each["name"] for each in box.get("/v1/users").json()["users"]]
    assert "hash" not in box.get("/v1/users").text
    refused(box.put("/v1/users/x", json={"role": "operator"}), 422, "password_unfit")
    refused(box.delete("/v1/users/nobody"), 404, "user_not_found")


@pytest.mark.parametrize("password", ["short", "i am nora the great", "aaaaaaaaaaaaaaaa"])
def test_a_weak_password_is_refused(box: TestClient, password: str) -> None:
    log_in(box, "root-1")
    refused(box.put("/v1/users/nora", json={"role": "operator", "password": password}), 422, "password_unfit")


def test_the_last_admin_stays(box: TestClient) -> None:
    log_in(box, "root-1")
    for change in ({"role": "engineer"}, {"role": "admin", "disabled": True}):
        refused(box.put("/v1/users/root-1", json=change), 409, "last_admin")
    refused(box.delete("/v1/users/root-1"), 409, "last_admin")
    assert box.get("/v1/users").status_code == 200


@pytest.mark.parametrize("how", ["remove", "disable", "role", "password"])
def test_a_change_of_a_user_ends_the_sessions_at_once(box: TestClient, how: str) -> None:
    log_in(box, "root-1")
    other = browser(box)
    log_in(other, "ina")
    assert other.get("/v1/recipes").status_code == 200
    if how == "remove":
        assert box.delete("/v1/users/ina").status_code == 204
    else:
        changes: dict[str, Any] = {
            "disable": {"role": "engineer", "disabled": True},
            "role": {"role": "operator"},
            "password": {"role": "engineer", "password": "a bicycle in the snow"},
        }
        assert box.put("/v1/users/ina", json=changes[how]).status_code == 200
    refused(other.get("/v1/recipes"), 401, "key_required")
    if how in ("remove", "disable"):
        asked = {"name": "ina", "password": PASSWORDS["ina"]}
        refused(other.post("/v1/session", json=asked), 401, "login_failed")


@pytest.mark.parametrize("column", ["expires_us", "seen_us"])
def test_a_session_ends_by_itself(box: TestClient, column: str) -> None:
    log_in(box, "ina")
    change_database(data_of(box), f"UPDATE sessions SET {column} = 1")
    refused(box.get("/v1/recipes"), 401, "key_required")


def test_a_stolen_database_holds_no_token(box: TestClient) -> None:
    log_in(box, "ina")
    token = box.cookies[COOKIE].encode()
    files = [path for path in data_of(box).iterdir() if path.name.startswith("passline.db")]
    assert files
    assert all(token not in path.read_bytes() for path in files)
    assert all(PASSWORDS["ina"].encode() not in path.read_bytes() for path in files)


def test_people_change_their_own_password(box: TestClient) -> None:
    log_in(box, "olaf")
    new = "a lamp above the door"
    wrong = {"old": "not the old one", "new": new}
    refused(box.put("/v1/session/password", json=wrong), 401, "login_failed")
    right = {"old": PASSWORDS["olaf"], "new": new}
    assert box.put("/v1/session/password", json=right).status_code == 204
    assert box.get("/v1/session").json()["mode"] == "login"
    log_in(box, "olaf", new)


def test_without_users_the_box_itself_is_open_and_then_it_is_not(
    make_client: MakeClient, dark: bytes
) -> None:
    client = make_client()
    assert client.get("/v1/session").json()["mode"] == "local"
    operator = {"role": "operator", "password": PASSWORDS["olaf"]}
    refused(client.put("/v1/users/olaf", json=operator), 409, "last_admin")
    admin = {"role": "admin", "password": PASSWORDS["root-1"]}
    assert client.put("/v1/users/root-1", json=admin).status_code == 200
    assert client.get("/v1/session").json()["mode"] == "login"
    refused(client.get("/v1/recipes"), 401, "key_required")
    assert client.post("/v1/inspections", files={"image": dark}).status_code == 200
    log_in(client, "root-1")
    assert client.get("/v1/recipes").status_code == 200
    entry = client.get("/v1/audit").json()["entries"][0]
    assert (entry["who"], entry["action"], entry["object"]) == ("local", "user.add", "root-1")


def test_elsewhere_the_first_admin_is_made_by_command(make_client: MakeClient) -> None:
    client = make_client(auth="on")
    answer = client.get("/v1/session").json()
    assert answer["mode"] == "setup"
    assert answer["setup"].startswith("passline users add")
    refused(client.put("/v1/users/eve", json={"role": "admin", "password": "x" * 20}), 401, "key_required")


def test_the_audit_log_and_the_keys_are_read_in_pages(box: TestClient, tmp_path: Path) -> None:
    token = add_key(tmp_path / "keys.jsonl", "line-1", "inspect", None, cameras=["top"])
    log_in(box, "root-1")
    keys = box.get("/v1/keys")
    assert [(each["name"], each["cameras"]) for each in keys.json()["keys"]] == [("line-1", ["top"])]
    assert token not in keys.text
    first = box.get("/v1/audit?limit=2").json()
    second = box.get(f"/v1/audit?before={first['next']}").json()
    entries = first["entries"] + second["entries"]
    assert [each["object"] for each in entries if each["who"] == "test"] == ["olaf", "ina", "root-1"]
    assert "file" in [each["who"] for each in entries]  # recipes made by hand
    assert second["next"] is None


def test_recipes_and_activations_are_in_the_audit_log_under_the_users_name(box: TestClient) -> None:
    log_in(box, "ina")
    recipe = {"content": "name: soft\n", "headers": {"Content-Type": "application/yaml"}}
    url = "/v1/recipes/soft?who=somebody&why=new+lamp"
    assert box.request("PUT", url, **recipe).status_code == 200  # type: ignore[arg-type]
    active = {"default": "soft", "cameras": {}, "parts": {}}
    assert box.put("/v1/activations", json=active).status_code == 200
    activation, entry = box.get("/v1/audit?limit=2").json()["entries"]
    assert (entry["who"], entry["action"], entry["object"]) == ("ina", "recipe.put", "soft")
    assert entry["after"] == {"version": 1, "said_by": "somebody"}
    assert (entry["before"], entry["why"]) == (None, "new lamp")
    assert activation["action"] == "activations.put"
    assert activation["after"]["activations"]["default"] == "soft"


def test_the_command_manages_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(tmp_path))

    def run(*arguments: str, typed: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return main(["users", *arguments])

    assert run("add", "boss", "--role", "admin", typed=PASSWORDS["root-1"] + "\n") == 0
    assert run("add", "olaf", "--role", "operator", typed=PASSWORDS["olaf"] + "\n") == 0
    assert run("add", "nora", "--role", "operator", typed="short\n") == 2
    assert run("add", "no name", "--role", "operator", typed=PASSWORDS["ina"] + "\n") == 2
    assert run("passwd", "olaf", typed=PASSWORDS["ina"] + "\n") == 0
    assert run("disable", "olaf") == 0
    assert run("remove", "boss") == 2
    capsys.readouterr()
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("olaf") and "disabled" in line for line in lines)
    assert run("remove", "olaf") == 0


def test_the_throttle_grows_is_bounded_and_leaves_other_addresses_alone() -> None:
    now = itertools.count()
    clock = [0.0]
    throttle = Throttle(lambda: clock[0])
    waits = []
    for _ in range(FREE + 12):
        throttle.begin("ina", "10.0.0.1")
        with_delay = next(now) >= FREE
        if with_delay:
            with pytest.raises(LoginThrottled) as caught:
                throttle.begin("INA", "10.0.0.1")
            waits.append(caught.value.retry_after_s or 0)
            clock[0] += waits[-1]
    assert waits == sorted(waits)
    assert waits[0] < 4 < waits[-1] <= MAX_DELAY_S + 1
    throttle.begin("ina", "10.0.0.2")
    for number in range(MAX_ENTRIES + 100):
        throttle.begin(f"name-{number}", "10.0.0.3")
    assert len(throttle) == MAX_ENTRIES

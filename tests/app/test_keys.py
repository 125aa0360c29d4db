"""API keys: made, listed, revoked, read again when they change, and of no use to who steals the file."""

import json
import os
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.__main__ import main
from app.access.keys import SCOPES, KeyRing, KeysUnusable, add_key, read_keys, revoke_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@contextmanager
def no_open_files_left() -> Iterator[None]:
    """The process may open nothing, as if it held too many files already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_key_is_known_by_its_token_alone(file: Path) -> None:
    tokens = {name: add_key(file, name, "inspect", None) for name in ("line-1", "line-2")}
    ring = KeyRing(file)
    for name, token in tokens.items():
        found = ring.find(token)
        assert found is not None
        assert found.name == name
        assert token not in file.read_text()
    assert ring.find(tokens["line-1"][:-1]) is None
    assert ring.find("") is None
    assert ring.find("\u20ac" * 9000) is None


def test_scopes_include_those_below(file: Path) -> None:
    for scope in SCOPES:
        add_key(file, scope, scope, None)
    allowed = {key.name: [key.allows(scope) for scope in SCOPES] for key in read_keys(file)}
    assert allowed == {
        "inspect": [True, False, False, False],
        "review": [True, True, False, False],
        "operate": [True, True, True, False],
        "admin": [True, True, True, True],
    }


def test_a_key_to_inspect_names_only_what_its_lists_hold(file: Path) -> None:
    add_key(file, "none", "inspect")
    add_key(file, "some", "inspect", cameras=["cam-1", "cam 2"], recipes=["flange"])
    add_key(file, "all", "inspect", cameras=["*"], recipes=["*"])
    add_key(file, "people", "operate")
    may = {
        key.name: [
            key.may_name(*each) for each in (("camera", "cam-1"), ("camera", "x"), ("recipe", "flange"))
        ]
        for key in read_keys(file)
    }
    assert may == {
        "none": [False, False, False],
        "some": [True, False, True],
        "all": [True, True, True],
        "people": [True, True, True],
    }
    with pytest.raises(KeysUnusable, match="leave the lists out"):
        add_key(file, "confused", "operate", cameras=["cam-1"])


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o604, 0o601, 0o666])
def test_a_file_open_to_others_is_refused(file: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    token = add_key(file, "line-1", "inspect")
    file.chmod(mode)
    with pytest.raises(KeysUnusable, match=f"mode {mode:04o}.*chmod 600"):
        read_keys(file)
    assert KeyRing(file).find(token) is None
    assert "chmod 600" in str(caplog.records[-1].__dict__["reason"])
    file.chmod(0o440)  # as secrets are mounted for a group
    assert KeyRing(file).find(token) is not None


def test_a_pipe_or_a_folder_in_its_place_does_not_block(file: Path) -> None:
    os.mkfifo(file, 0o600)
    with pytest.raises(KeysUnusable, match="not a regular file"):
        read_keys(file)
    assert len(KeyRing(file)) == 0
    file.unlink()
    file.mkdir()
    with pytest.raises(KeysUnusable):
        read_keys(file)


def test_a_huge_file_is_not_read(file: Path) -> None:
    add_key(file, "line-1", "inspect")
    os.truncate(file, 1 << 33)
    with pytest.raises(KeysUnusable, match="the limit is"):
        read_keys(file)


def test_the_file_is_its_owners_alone_and_replaced_at_once(file: Path) -> None:
    add_key(file, "a", "admin", None)
    first = file.stat()
    assert stat.S_IMODE(first.st_mode) == 0o600
    add_key(file, "b", "admin", None)
    assert file.stat().st_ino != first.st_ino
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_commands_at_the_same_time_lose_no_key(file: Path) -> None:
    names = [f"line-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: add_key(file, name, "inspect", None), names))
    assert sorted(key.name for key in read_keys(file)) == sorted(names)


def test_changes_are_seen_without_a_restart(file: Path) -> None:
    ring = KeyRing(file)
    assert len(ring) == 0
    old = add_key(file, "old", "inspect", None)
    assert ring.find(old) is not None
    new = add_key(file, "new", "inspect", None)
    revoke_key(file, "old")
    assert (ring.find(old), ring.find(new) is not None) == (None, True)


@pytest.mark.parametrize("broken", ["{", "[]", '{"name": "a"}', "\xff", "gone", "twice"])
def test_a_file_broken_later_keeps_the_keys_and_says_so(
    file: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = add_key(file, "line-1", "inspect", None)
    ring = KeyRing(file)
    assert ring.find(token) is not None
    if broken == "gone":
        file.unlink()
    else:
        file.write_text(file.read_text() * 2 if broken == "twice" else broken, encoding="latin-1")
    assert ring.find(token) is not None
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert str(file) in record.reason  # type: ignore[attr-defined]
    assert token not in caplog.text
    caplog.clear()
    assert ring.find(token) is not None
    assert not caplog.records, "it is said once, not with every request"
    assert len(KeyRing(file)) == 0, "at a start there are none before"


def test_a_key_revoked_while_the_file_is_out_of_reach_ends_once_it_can_be_read(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    revoked = add_key(file, "revoked", "admin", None)
    ring = KeyRing(file)
    assert ring.find(revoked) is not None
    revoke_key(file, "revoked")
    with no_open_files_left():
        assert ring.find(revoked) is not None
        assert ring.find(revoked) is not None
    assert ring.find(revoked) is None, "asked again, though the file has not changed since"
    assert [each.levelname for each in caplog.records].count("ERROR") == 1, "said once, not at every request"


def test_an_emptied_file_lets_nobody_in(file: Path) -> None:
    token = add_key(file, "line-1", "inspect", None)
    ring = KeyRing(file)
    assert ring.find(token) is not None
    file.write_text("\n")
    assert ring.find(token) is None


def test_a_key_ends_with_its_time(file: Path) -> None:
    add_key(file, "past", "inspect", datetime.now(UTC) - timedelta(seconds=1))
    add_key(file, "coming", "inspect", datetime.now(UTC) + timedelta(days=1))
    assert [key.has_expired for key in read_keys(file)] == [True, False]


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "a\nb"])
def test_names_that_could_garble_a_log_are_refused(file: Path, name: str) -> None:
    with pytest.raises(KeysUnusable):
        add_key(file, name, "inspect", None)
    assert not file.exists()


def test_a_name_stands_for_one_key(file: Path) -> None:
    add_key(file, "line-1", "inspect", None)
    with pytest.raises(KeysUnusable, match="already"):
        add_key(file, "line-1", "admin", None)
    with pytest.raises(KeysUnusable, match="line-1"):
        revoke_key(file, "line-2")


def test_where_it_cannot_write_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="cannot be written"):
        add_key(tmp_path / "nowhere" / "keys.jsonl", "a", "inspect", None)


def test_the_command_makes_lists_and_revokes(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSLINE_KEYS_FILE", str(file))
    assert main(["keys", "add", "--scope", "operate", "--name", "line-3", "--days", "30"]) == 0
    token = capsys.readouterr().out.strip()
    key = KeyRing(file).find(token)
    assert key is not None
    assert key.expires is not None
    assert abs(key.expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "line-3" in listed
    assert "operate" in listed
    assert json.loads(file.read_text())["sha256"] not in listed
    assert main(["keys", "revoke", "line-3"]) == 0
    assert read_keys(file) == ()
    assert main(["keys", "revoke", "line-3"]) == 2
    assert main(["keys", "add", "--scope", "inspect", "--name", "x", "--days", "0"]) == 2
    lists = ["--camera", "cam-1", "--camera", "cam-2", "--recipe", "flange"]
    assert main(["keys", "add", "--scope", "inspect", "--name", "line-4", *lists]) == 0
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    assert "cam-1, cam-2" in capsys.readouterr().out


def test_the_command_needs_to_know_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list"]) == 2
    assert "PASSLINE_KEYS_FILE" in capsys.readouterr().err

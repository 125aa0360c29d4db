"""Settings: what is set is used, what is misspelt is refused."""

import re

import pytest
from pydantic import ValidationError

from app.__main__ import main
from app.settings import NOT_OURS, Settings, UnknownSetting, variable
from tests.markdown import ROOT

PAGE = ROOT / "docs" / "settings.md"


def test_variables_are_read_and_empty_ones_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSLINE_PORT", "9000")
    monkeypatch.setenv("PASSLINE_DEVICE", "cpu")
    monkeypatch.setenv("PASSLINE_RECIPES_DIR", "")
    settings = Settings.from_environment()
    assert (settings.port, settings.device, settings.recipes_dir) == (9000, "cpu", None)


def test_origins_are_kept_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSLINE_ALLOWED_ORIGINS", "HTTP://HMI.plant:80, https://mes:8443,http://[::1]:3000")
    allowed = Settings.from_environment().allowed_origins
    assert allowed == frozenset({"http://hmi.plant", "https://mes:8443", "http://[::1]:3000"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PASSLINE_DEVCIE", "did you mean PASSLINE_DEVICE?"),
        ("PASSLINE_BUNDLE", "did you mean PASSLINE_BUNDLE_DIR?"),
        ("PASSLINE_SOMETHING_ELSE", "docs/settings.md"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(UnknownSetting, match=re.escape(hint)) as refusal:
        Settings.from_environment()
    assert name in str(refusal.value)


def test_the_tests_own_variable_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSLINE_DATA", "/pictures")
    assert Settings.from_environment() == Settings()
    assert all(f"`{name}`" in PAGE.read_text() for name in NOT_OURS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", "gpu"),
        ("port", "70000"),
        ("workers", "0"),
        ("queue_size", "-1"),
        ("max_pixels", "many"),
        ("log_level", "loud"),
        ("otlp_endpoint", "collector:4318"),
        ("upload_memory_bytes", "1000"),
        ("allowed_origins", "*"),
        ("allowed_origins", "null"),
        ("allowed_origins", '["http://hmi.plant"]'),
        ("allowed_origins", "hmi.plant"),
        ("allowed_origins", "http://hmi.plant/"),
        ("allowed_origins", "http://[::1"),
        ("allowed_origins", "http://hmi.plant:70000"),
        ("allowed_origins", "http://hmi.plant,"),
        ("allowed_origins", "ftp://hmi.plant"),
    ],
)
def test_values_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(ValidationError):
        Settings.from_environment()


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("x", "PASSLINE_CAMERA_PRIORITIES: is not a JSON object of integers"),
        ("[1]", "PASSLINE_CAMERA_PRIORITIES: is not a JSON object of integers"),
        ('{"a": "b"}', "PASSLINE_CAMERA_PRIORITIES, key a: Input should be a valid integer"),
    ],
)
def test_priorities_that_cannot_be_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, line: str
) -> None:
    monkeypatch.setenv("PASSLINE_CAMERA_PRIORITIES", value)
    assert main(["schema"]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_priorities_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSLINE_CAMERA_PRIORITIES", '{"press-2": 10}')
    assert Settings.from_environment().camera_priorities == {"press-2": 10}

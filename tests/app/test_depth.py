"""Significant bits, as a query, as a form field and in a recipe: the image is inspected as its 8-bit twin."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.commands.folder import inspect_folder
from app.jobs.loading import load
from app.settings import Settings
from tests.app.conftest import STRICT
from tests.app.test_frames import MONO8, send, without_own
from tests.app.test_inspections import refused
from tests.inspection.bad_input import encode
from tests.inspection.tiff_files import How, tiff
from tests.tiny_bundle import png, tiny_picture

DARK = tiny_picture(96, 80, dark=(20, 30, 12, 9))
FOURTEEN = (DARK.astype(np.uint16) << 6) | 5


def deep() -> bytes:
    """14 bits in a 16-bit PNG."""
    return encode(FOURTEEN, "PNG")


@pytest.fixture
def expected(client: TestClient) -> dict[str, Any]:
    answer = send(client, png(DARK), "image/png").json()
    assert answer["verdict"] == "fail"
    return without_own(answer)


def test_without_being_told_the_image_is_refused_with_the_parameter_to_send(client: TestClient) -> None:
    problem = refused(send(client, deep(), "image/png"), 415, "image_unsupported")
    assert "significant_bits=14" in problem["detail"]
    frame = send(client, FOURTEEN.astype("<u2").tobytes(), **MONO8 | {"pixel_format": "Mono16"})
    assert "significant_bits=14" in refused(frame, 415, "image_unsupported")["detail"]


def test_the_query_of_a_body_and_the_field_of_a_form_tell(
    client: TestClient, expected: dict[str, Any]
) -> None:
    bodies = [
        (deep(), "image/png", {}),
        (tiff(FOURTEEN[..., None], How(bits=16, order=">", big=True)), "image/tif", {}),
        (FOURTEEN.astype("<u2").tobytes(), "application/octet-stream", MONO8 | {"pixel_format": "Mono16"}),
    ]
    for data, media_type, query in bodies:
        answer = send(client, data, media_type, significant_bits=14, **query).json()
        assert without_own(answer) == expected
    files = {"image": ("a.png", deep(), "image/png")}
    form = client.post("/v1/inspections", files=files, data={"significant_bits": "14"}).json()
    assert without_own(form) == expected
    overlay: dict[str, Any] = {"overlay": True, "certificate": True}
    assert send(client, deep(), "image/png", significant_bits=14, **overlay).json()["overlay"]


@pytest.mark.parametrize("wrong", ["7", "17", "x", "12.5"])
def test_other_numbers_are_refused(client: TestClient, wrong: str) -> None:
    refused(send(client, deep(), "image/png", significant_bits=wrong), 422, "request_invalid")
    files = {"image": ("a.png", deep(), "image/png")}
    answer = client.post("/v1/inspections", files=files, data={"significant_bits": wrong})
    refused(answer, 422, "request_invalid")


def test_values_above_what_was_told_are_refused(client: TestClient) -> None:
    answer = send(client, deep(), "image/png", significant_bits=10)
    assert "10 bits go up to 1023" in refused(answer, 400, "frame_mismatch")["detail"]


def test_batches_parts_and_dry_runs_take_it_too(client: TestClient) -> None:
    file = ("a.png", deep(), "image/png")
    field = {"significant_bits": "14"}
    batch = client.post("/v1/inspections/batch", files=[("images", file)] * 2, data=field).json()
    assert [each["inspection"]["verdict"] for each in batch["results"]] == ["fail"] * 2
    part = client.post("/v1/parts", files=[("image", file)] * 2, data=field | {"part_id": "p"}).json()
    assert part["verdict"] == "fail"
    files = [("images", file), ("candidate", ("c.yaml", STRICT.encode(), "application/yaml"))]
    run = client.post("/v1/recipes/dry-run", files=files, data=field).json()
    assert run["results"][0]["now"]["verdict"] == run["results"][0]["then"]["verdict"] == "fail"


def test_a_recipe_tells_for_all_its_images(bundle_dir: Path, tmp_path: Path, make_client: Any) -> None:
    (tmp_path / "deep.yaml").write_text("name: deep\nsignificant_bits: 14\n")
    client = make_client(recipes_dir=tmp_path)
    assert send(client, deep(), "image/png", recipe="deep").json()["verdict"] == "fail"
    plain = encode(FOURTEEN >> 2, "PNG")  # the request comes first
    assert send(client, plain, "image/png", recipe="deep", significant_bits=12).json()["verdict"] == "fail"
    assert send(client, png(DARK), "image/png", recipe="deep").json()["verdict"] == "fail"  # 8 bits are 8
    (tmp_path / "images").mkdir()
    file = tmp_path / "images" / "a.png"
    file.write_bytes(deep())
    loaded = load(bundle_dir, Settings(bundle_dir=bundle_dir, recipes_dir=tmp_path, threads=1), None)
    (line,) = inspect_folder(loaded, [file], "deep")
    assert line.as_row()[1] == "fail"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[("image/jpg", "JPEG"), ("image/pjpeg", "JPEG"), ("image/x-png", "PNG")],
        *[("image/tif", "TIFF"), ("image/x-ms-bmp", "BMP")],
    ],
)
def test_other_names_of_the_image_types_are_taken(client: TestClient, name: str, kind: str) -> None:
    file = BytesIO()
    Image.fromarray(DARK).save(file, kind)
    answer = send(client, file.getvalue(), name)
    assert answer.json()["verdict"] == "fail", answer.text

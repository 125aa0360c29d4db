"""POST /v1/inspections, in process: the answer's shape and meaning, and what keeps it from being given."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.inspection.mask_formats import Polygon, RunLengths, from_png, from_polygons, from_rle
from app.inspection.measuring.findings import find
from app.inspection.rules.recipe import parse_recipe
from app.inspection.rules.verdict import doubts_about, judge
from tests.app.conftest import GENEROUS, STRICT
from tests.tiny_bundle import png, region_probability, tiny_picture, write_tiny_bundle

CLASSES = ("dark", "bright")
KEYS = {
    *("id", "verdict", "reasons", "defects", "mask", "dice", "image", "model", "timings_ms"),
    *("image_probability", "image_threshold", "recipe", "recipe_version"),
    *("head_probability", "unexplained_probability", "head_threshold"),
    *("part_id", "camera_id", "part", "overlay", "heatmap", "certificate"),
    "gate_scores",
}
MakeClient = Callable[..., TestClient]


def post(client: TestClient, picture: bytes, query: str = "", **fields: str) -> dict[str, Any]:
    """The answer to a form that must be accepted."""
    response = client.post(f"/v1/inspections{query}", files={"image": ("a.png", picture)}, data=fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refused(response: Any, status: int, code: str) -> dict[str, Any]:
    """The problem that a response must be."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert "verdict" not in problem
    return problem


def speckled(seed: int) -> NDArray[np.uint8]:
    """Middle grey with random dark and bright rectangles, some of one pixel, some with holes."""
    rng = np.random.default_rng(seed)
    picture = tiny_picture(150, 170)
    for _ in range(rng.integers(0, 12)):
        x, y, w, h = (int(rng.integers(0, most)) for most in (165, 145, 40, 40))
        picture[y : y + h + 1, x : x + w + 1] = rng.choice((10, 128, 250))
    return picture


def test_a_defect_fails_with_everything_the_answer_promises(client: TestClient, dark: bytes) -> None:
    answer = post(client, dark)
    assert answer.keys() == KEYS
    assert answer["verdict"] == "fail"
    reason = {"rule": "max_count", "defect_class": "dark", "measured": 1.0, "limit": 0.0, "unit": "count"}
    assert answer["reasons"] == [reason | {"zone": None, "defect": None, "verdict": "fail"}]
    (defect,) = answer["defects"]
    assert defect["defect_class"] == "dark"
    assert (defect["area_px"], defect["length_px"], defect["width_px"]) == (108, 12.0, 9.0)
    assert (defect["area_mm2"], defect["length_mm"], defect["width_mm"]) == (None, None, None)
    assert (defect["bbox"], defect["centroid"]) == ([20, 30, 12, 9], [25.5, 34.0])
    assert not defect["touches_border"]
    digest = hashlib.sha256(dark).hexdigest()
    assert answer["image"] == {"width": 80, "height": 96, "sha256": digest, "pixel_format": None}
    assert answer["model"] == {
        "name": "tiny",
        "version": "1",
        "artifact": "fp32",
        "execution_provider": "CPUExecutionProvider",
    }
    steps = {"queue", "decode", "preprocess", "inference", "mask", "measure", "verdict", "encode", "total"}
    assert answer["timings_ms"].keys() == steps
    assert answer["dice"]["measured"] is None
    assert 0 < answer["dice"]["estimated"]["any_defect"] <= 1


def test_a_clean_picture_passes_and_has_no_dice_to_estimate(client: TestClient, clean: bytes) -> None:
    answer = post(client, clean)
    assert (answer["verdict"], answer["reasons"], answer["defects"]) == ("pass", [], [])
    estimated = answer["dice"]["estimated"]
    assert estimated["any_defect"] is None
    assert estimated["reason"]


def test_the_interval_around_the_estimated_dice_is_answered_where_the_bundle_states_one(
    make_client: MakeClient, client: TestClient, dark: bytes, tmp_path: Path
) -> None:
    assert client.get("/v1/model").json()["operating_point"]["dice_interval"] is None
    estimated = post(client, dark)["dice"]["estimated"]
    assert (estimated["low"], estimated["high"]) == (None, None)
    interval = {
        "coverage": 0.9,
        "pictures": 30,
        "groups": 20,
        "splits": ["calibration", "validation"],
        "levels": [0.0, 0.6],
        "margins": [0.5, 0.2],
    }
    manifest = json.loads((write_tiny_bundle(tmp_path) / "bundle.json").read_text())
    manifest["artifacts"][0]["operating_point"]["dice_interval"] = interval
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    stating = make_client(bundle_dir=tmp_path)
    assert stating.get("/v1/model").json()["operating_point"]["dice_interval"] == interval
    found = post(stating, dark)["dice"]["estimated"]
    assert found["any_defect"] == estimated["any_defect"]
    margin = 0.5 if found["any_defect"] < 0.6 else 0.2
    assert found["low"] == pytest.approx(max(0, found["any_defect"] - margin))
    assert found["high"] == pytest.approx(min(1, found["any_defect"] + margin))


def test_a_head_without_a_mask_is_reviewed(client: TestClient) -> None:
    picture = tiny_picture(96, 80, dark=(40, 40, 1, 1))  # below the smallest area that counts
    answer = post(client, png(picture))
    assert answer["verdict"] == "review"
    assert answer["reasons"][0]["rule"] == "head_without_mask"
    assert answer["reasons"][0]["defect_class"] is None
    assert answer["reasons"][0]["measured"] == answer["head_probability"] >= answer["head_threshold"]
    assert answer["image_probability"] == 0


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "IMAGE/PNG; q=1"])
def test_a_raw_body_is_judged_as_the_form_is(client: TestClient, dark: bytes, media_type: str) -> None:
    response = client.post(
        "/v1/inspections?part_id=p&camera_id=c", content=dark, headers={"Content-Type": media_type}
    )
    raw, form = response.json(), post(client, dark, part_id="p", camera_id="c")
    for changing in ("id", "timings_ms"):
        assert raw.pop(changing) != form.pop(changing)
    assert raw == form
    assert (raw["part_id"], raw["camera_id"]) == ("p", "c")


@pytest.mark.parametrize("form", ["png", "rle", "polygons"])
@pytest.mark.parametrize("recipe", [STRICT, GENEROUS])
def test_the_verdict_follows_from_mask_and_recipe(client: TestClient, form: str, recipe: str) -> None:
    rules = parse_recipe(recipe, "test")
    severities = {each["name"]: each["severity"] for each in client.get("/v1/model").json()["classes"]}
    for seed in range(12):
        answer = post(client, png(speckled(seed)), f"?mask={form}", recipe=rules.name)
        assert answer["mask"]["format"] == form
        label_map = decoded(answer["mask"], (150, 170))
        found = find(label_map, None, CLASSES, rules)
        head = answer["unexplained_probability"], answer["head_threshold"]
        doubts = doubts_about(*head, answer["dice"]["estimated"]["any_defect"], rules)
        verdict, reasons = judge(found, rules, severities, doubts)
        assert verdict == answer["verdict"]
        assert [reason.measured for reason in reasons] == [each["measured"] for each in answer["reasons"]]
        assert [each.area_px for each in found.defects] == [each["area_px"] for each in answer["defects"]]


def decoded(mask: dict[str, Any], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The label map in an answer."""
    match mask["format"]:
        case "png":
            return from_png(mask["data"])
        case "rle":
            return from_rle([RunLengths.model_validate(each) for each in mask["data"]], shape, CLASSES)
        case _:
            return from_polygons([Polygon.model_validate(each) for each in mask["data"]], shape, CLASSES)


def test_a_defect_states_its_probability_and_the_class_it_might_have_been(
    make_client: MakeClient, tmp_path: Path
) -> None:
    path = write_tiny_bundle(tmp_path, ("a", "b", "c", "d")) / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["artifacts"][0]["operating_point"]["pixel_threshold"] = 0.3
    path.write_text(json.dumps(manifest))
    picture = tiny_picture(96, 80, dark=(20, 30, 12, 9))
    picture[36:39, 20:32] = 50  # a dark grey, nearest to `c`
    picture[60:70, 50:60] = 250
    first, second = post(make_client(bundle_dir=tmp_path), png(picture))["defects"]
    assert (first["defect_class"], first["runner_up"], first["area_px"]) == ("a", "c", 108)
    assert (second["defect_class"], second["runner_up"], second["area_px"]) == ("b", None, 100)
    assert first["probability"] == pytest.approx(region_probability(215 / 255))
    assert second["probability"] == pytest.approx(region_probability(235 / 255))


def test_no_mask_and_no_overlay_unless_asked_for(client: TestClient, dark: bytes) -> None:
    answer = post(client, dark, "?mask=none&overlay=false")
    assert answer["mask"] == {"format": "none", "data": None}
    assert (answer["overlay"], answer["heatmap"], answer["certificate"]) == (None, None, None)


def test_an_overlay_is_a_picture_of_the_same_size(client: TestClient, dark: bytes) -> None:
    overlay = base64.b64decode(post(client, dark, "?overlay=true")["overlay"])
    drawn = cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert drawn.shape == (96, 80, 3)


def test_a_reference_mask_gives_measured_dice(client: TestClient, dark: bytes) -> None:
    truth = np.zeros((96, 80), np.uint8)
    truth[30:39, 20:32] = 1
    for mask, per_class in ((truth, {"dark": 1.0, "bright": 1.0}), (truth * 255, None)):
        files = {"image": dark, "reference_mask": png(mask)}
        answer = client.post("/v1/inspections", files=files).json()
        assert answer["dice"]["measured"] == {"any_defect": 1.0, "per_class": per_class}
        assert answer["verdict"] == "fail"


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        (png(np.zeros((80, 96), np.uint8)), "reference_mask_size_mismatch"),
        (png(np.full((96, 80), 7, np.uint8)), "reference_mask_invalid"),
        (b"no mask", "reference_mask_unreadable"),
        (b"", "reference_mask_unreadable"),
    ],
)
def test_a_reference_mask_that_cannot_be_compared_with(
    client: TestClient, dark: bytes, mask: bytes, code: str
) -> None:
    response = client.post("/v1/inspections", files={"image": dark, "reference_mask": mask})
    refused(response, 422, code)


def test_recipes_of_the_folder_are_known_with_their_pixel_pitch(client: TestClient, dark: bytes) -> None:
    answer = post(client, dark, recipe="generous")
    assert (answer["verdict"], answer["recipe"]) == ("pass", "generous")
    assert answer["defects"][0]["area_mm2"] == pytest.approx(108 * 0.25)
    unknown = client.post("/v1/inspections?recipe=nope", files={"image": dark})
    assert "generous, strict, tiny" in refused(unknown, 422, "recipe_unknown")["detail"]


def test_the_default_recipe_can_be_chosen(make_client: MakeClient, dark: bytes) -> None:
    client = make_client(default_recipe="generous")
    assert post(client, dark)["recipe"] == "generous"
    assert client.get("/v1/model").json()["default_recipe"] == "generous"


def test_model_tells_what_is_served(client: TestClient, recipes_dir: Path) -> None:
    model = client.get("/v1/model").json()
    assert (model["name"], model["version"], model["artifact"]) == ("tiny", "1", "fp32")
    assert model["execution_provider"] == "CPUExecutionProvider"
    assert model["classes"] == [{"name": name, "severity": "major"} for name in CLASSES]
    assert model["input"]["tile_height"] == 64
    assert model["operating_point"]["image_threshold"] == 0.5
    assert model["operating_point"]["head_threshold"] == 0.5
    assert model["operating_point"]["regions"]["weights"] == {"peak_probability": 10.0}
    assert model["operating_point"]["expected"]["escape_interval"] == [0.0, 0.31]
    assert model["recipes"] == ["generous", "strict", "tiny"]
    assert model["training"]["note"] == "not trained"

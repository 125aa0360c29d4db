"""Heat map and certificate over HTTP: what they show, and that nothing sent in becomes a part of the page."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.errors import DeadlineExceeded
from app.inspection.bundle.bundle import Bundle
from app.inspection.cancellation import Cancellation
from app.inspection.inspector import Inspector
from app.inspection.mask_formats import from_png
from app.inspection.results import Rule
from app.inspection.rules.recipe import Recipe, Region
from app.jobs.answers import inspect_job
from app.jobs.explanations import PRINTED_PX, explain
from app.jobs.job import Job, Upload
from app.main import create_app
from app.report import overlay
from app.report.heatmap import CONTOUR, draw
from app.report.words import MEASURED, figures, number
from app.schemas.inspections import Options
from app.settings import Settings
from tests.app.test_inspections import post, refused
from tests.local_client import LocalClient
from tests.readme_figures import BUNDLE
from tests.tiny_bundle import png, tiny_picture

PAGE = "/v1/inspections?format=certificate"
HOSTILE = {"part_id": "<script>alert('p')</script>", "camera_id": '"><img src=x onerror=alert(1)>&amp;$id'}


class Page(HTMLParser):
    """A page's tags with their attributes, its images, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.pictures: list[NDArray[np.uint8]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        if tag not in ("meta", "img"):
            self._open.append(tag)
        for name, value in attrs:
            if name == "src":
                kind, _, data = (value or "").partition(",")
                assert kind == "data:image/png;base64"
                self.pictures.append(decoded(data))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def decoded(data: str) -> NDArray[np.uint8]:
    """A base64 PNG as BGR."""
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(data, validate=True), np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    return np.asarray(drawn, np.uint8)


def certificate(client: TestClient, picture: bytes, name: str = "a.png", **fields: str) -> Page:
    """The page that a form is answered with."""
    files = {"image": (name, picture)}
    response = client.post(PAGE, files=files, data=fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    return Page(response.text)


@pytest.fixture(scope="module")
def shipped() -> Iterator[TestClient]:
    with LocalClient(create_app(Settings(bundle_dir=BUNDLE, device="cpu"))) as client:
        yield client


@pytest.fixture(scope="module")
def broken(shipped: TestClient) -> dict[str, Any]:
    """Everything there is about the golden image of a break."""
    return post(shipped, golden("break"), "?overlay=true&heatmap=true&certificate=true", part_id="tile-17")


def in_groups(sha256: str) -> str:
    assert re.fullmatch("[0-9a-f]{64}", sha256)
    return " ".join(re.findall(".{8}", sha256))


def golden(name: str) -> bytes:
    return (BUNDLE / f"golden/{name}.png").read_bytes()


def test_the_heat_maps_line_lies_around_the_defects(broken: dict[str, Any]) -> None:
    label_map = from_png(broken["mask"]["data"])
    drawn = decoded(broken["heatmap"])
    assert drawn.shape[:2] == label_map.shape
    around = cv2.dilate((label_map > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) - (label_map > 0)
    assert around.any()
    line = (drawn == CONTOUR).all(axis=2)
    assert not (line & (label_map > 0)).any()
    # Beside the line only what reached the threshold, too, but was dropped as small: it is coloured.
    coloured = drawn.max(axis=2) > drawn.min(axis=2)
    assert (line | coloured)[around.astype(bool)].all()
    assert line[around.astype(bool)].mean() > 0.2


def test_a_picture_far_from_any_defect_is_left_as_it_is(client: TestClient, clean: bytes) -> None:
    drawn = decoded(post(client, clean, "?heatmap=true")["heatmap"])
    assert np.abs(drawn.astype(int) - 128).max() <= 12  # the tiny model gives the background 1 / 255


def test_the_more_probable_the_lighter_and_the_line_is_at_the_threshold() -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    drawn = draw(np.full_like(levels, 60), levels, 100)
    line = (drawn[20] == CONTOUR).all(axis=1)
    assert np.flatnonzero(line).tolist() == [99]
    lightness = cv2.cvtColor(drawn, cv2.COLOR_BGR2LAB)[20, :, 0].astype(int)
    assert lightness[255] > lightness[180] > lightness[120]
    assert (drawn[20, 0] == 60).all()


def test_a_heat_map_of_a_large_colour_picture_has_its_size(client: TestClient) -> None:
    picture = np.full((700, 300, 3), (200, 100, 84), np.uint8)
    drawn = decoded(post(client, png(picture), "?heatmap=true")["heatmap"])
    assert drawn.shape == picture.shape


def test_a_certificate_tells_everything(broken: dict[str, Any]) -> None:
    page, text = Page(broken["certificate"]), Page(broken["certificate"]).text
    artifacts = Bundle.load(BUNDLE).artifacts
    artifact = next(each for each in artifacts if "CPUExecutionProvider" in each.providers)
    for told in (
        *("FAIL", "tile-17", broken["id"], in_groups(artifact.sha256), "a.png"),
        in_groups(hashlib.sha256(golden("break")).hexdigest()),
        *(f"{broken['model']['name']} {broken['model']['version']}", broken["model"]["execution_provider"]),
        f"{broken['recipe']}, version {broken['recipe_version']}",
        number(artifact.operating_point.pixel_threshold),
        number(broken["image_threshold"]),
        number(broken["head_threshold"]),
        f"{broken['dice']['estimated']['any_defect']:.2f}",
        "not measured",
    ):
        assert told in text, told
    for reason in broken["reasons"]:
        assert f"{reason['defect_class']}: number of defects {reason['measured']:g}, above" in text
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    assert len([tag for tag, _ in page.tags if tag == "tr"]) > len(broken["defects"])
    assert [max(each.shape[:2]) for each in page.pictures] == [960, 960, 256]  # 320 px, three times


def test_a_certificate_has_measured_dice_and_the_request(shipped: TestClient) -> None:
    files = {"image": golden("good"), "reference_mask": golden("good.mask")}
    response = shipped.post(PAGE, files=files, headers={"X-Request-ID": "line-2.000117"})
    text = Page(response.text).text
    for told in ("PASS", "No limit is exceeded.", "None.", "Measured, any defect 1.000", "line-2.000117"):
        assert told in text, told
    assert "none, for the mask is empty" in text


def test_a_certificate_shows_what_the_gate_measured_and_allows(shipped: TestClient) -> None:
    """Also where it is why there is a review, and the mask is empty."""
    picture = cv2.imdecode(np.frombuffer(golden("good"), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    answer = post(shipped, png(np.asarray(picture // 8, np.uint8)), "?certificate=true")
    assert answer["verdict"] == "review"
    text = " ".join(Page(answer["certificate"]).text.split())
    artifacts = Bundle.load(BUNDLE).artifacts
    gate = next(each.gate for each in artifacts if "CPUExecutionProvider" in each.providers)
    assert gate is not None
    rows = text.partition("Measured Allowed It is")[2].partition("What inspected it")[0]
    assert rows.count("within") + rows.count("OUTSIDE") == len(gate.checks)
    (limits,) = (each for each in gate.checks if each.score == "brightness")
    measured = number(answer["gate_scores"]["brightness"])
    told = f"Brightness {measured} grey levels {limits.low:.9g} to {limits.high:.9g} grey levels OUTSIDE"
    assert told in rows
    assert "A review may also come from the input gate" in text


@pytest.mark.parametrize(("least", "told"), [("", "4"), ("min_area_px: 7", "7")])
def test_a_certificate_states_the_least_area_in_force(
    make_client: Callable[..., TestClient], tmp_path: Path, dark: bytes, least: str, told: str
) -> None:
    (tmp_path / "a.yaml").write_text(f"name: a\n{least}\n")
    page = certificate(make_client(recipes_dir=tmp_path), dark, recipe="a")
    assert f"least area {told} px²" in page.text
    assert "Head probability 0.922" in " ".join(page.text.split())


@pytest.mark.parametrize("asked", ["overlay", "heatmap", "certificate"])
def test_nothing_is_drawn_on_an_image_too_large_for_it(
    client: TestClient, dark: bytes, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by the header: what is drawn takes many times the image's memory."""
    height, width = tiny_picture(96, 80).shape
    monkeypatch.setattr("app.jobs.explanations.MAX_DRAWN_PIXELS", height * width - 1)
    address = f"/v1/inspections?{asked}=true"
    problem = refused(
        client.post(address, files={"image": png(tiny_picture(96, 80))}), 422, "request_invalid"
    )
    assert [each["field"] for each in problem["fields"]] == [f"query.{asked}"]
    assert "pixels" in problem["detail"]
    assert client.post("/v1/inspections", files={"image": png(tiny_picture(96, 80))}).status_code == 200
    monkeypatch.setattr("app.jobs.explanations.MAX_DRAWN_PIXELS", height * width)
    assert client.post(address, files={"image": png(tiny_picture(96, 80))}).status_code == 200


def test_nothing_that_is_sent_becomes_a_part_of_the_page(client: TestClient, dark: bytes) -> None:
    name = "<svg onload=alert(1)>.png"
    plain = certificate(client, dark, part_id="p", camera_id="c")
    page = certificate(client, dark, name, **HOSTILE)
    assert page.tags == plain.tags
    for sent in (name, *HOSTILE.values()):
        assert sent in page.text


def test_a_certificate_runs_nothing_and_loads_nothing(client: TestClient, dark: bytes) -> None:
    page = certificate(client, dark)
    tags, attributes = {tag for tag, _ in page.tags}, {each for _, those in page.tags for each in those}
    assert not tags & {"script", "link", "iframe", "object", "form", "a"}
    assert not {each for each in attributes if each.startswith("on")} | (attributes & {"href", "srcset"})


def test_a_certificate_stays_small_and_short(client: TestClient) -> None:
    picture = tiny_picture(1500, 2000)
    for row in range(6):
        for column in range(6):
            picture[200 * row : 200 * row + 12, 300 * column : 300 * column + 12] = 10
    page = certificate(client, png(picture))
    assert "And 16 more." in page.text
    assert [max(each.shape[:2]) for each in page.pictures[:2]] == [PRINTED_PX, PRINTED_PX]


@pytest.mark.parametrize("asked", ["overlay", "heatmap", "certificate"])
def test_nothing_is_drawn_after_the_deadline(bundle_dir: Path, dark: bytes, asked: str) -> None:
    inspector = Inspector.load(bundle_dir, "cpu")
    options = Options.model_validate({asked: True})
    job = Job(inspector, inspector.bundle.default_recipe, Upload(None, dark), options)
    answer = inspect_job(job)
    inspection = inspector.inspect(dark, keep=["probability"])
    explain(answer, inspection, job)
    with pytest.raises(DeadlineExceeded):
        explain(
            answer, inspection, replace(job, cancellation=Cancellation(0.0, lambda: DeadlineExceeded("late")))
        )


def test_drawing_many_regions_ends_when_told(bundle_dir: Path, dark: bytes) -> None:
    inspector = Inspector.load(bundle_dir, "cpu")
    region = Region(polygon_px=((0, 0), (20, 0), (20, 20)))
    recipe = Recipe(name="a", ignore=[region] * 100)
    seen = inspector.inspect_with_prediction(dark, recipe)
    calls = [None] * 10
    with pytest.raises(IndexError, match="pop from empty list"):
        overlay.draw(seen.pixels, seen.inspection, recipe, check=calls.pop)


def test_a_refusal_is_a_problem_whatever_is_asked_for(client: TestClient, dark: bytes) -> None:
    response = client.post(PAGE, files={"image": dark[:100]})
    assert response.headers["content-type"] == "application/problem+json"


def test_every_rule_has_words() -> None:
    assert set(get_args(Rule)) <= MEASURED.keys()


@pytest.mark.parametrize(
    ("measured", "limit", "told"),
    [
        (14.234, 10, ("14.2", "10")),
        (10.004, 10, ("10.004", "10")),
        (123456.7, 1000.5, ("123457", "1000.5")),
        (0.01234, 0.012, ("0.01234", "0.012")),
        (3, 0, ("3", "0")),
        (100, 99.5, ("100", "99.5")),
    ],
)
def test_measured_never_looks_like_the_limit(measured: float, limit: float, told: tuple[str, str]) -> None:
    assert figures(measured, limit) == told

"""Bodies: every bound holds while they stream in, and no framing is too odd to be answered."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.api.multipart import Form, FormReader
from app.errors import BatchTooLarge, RequestInvalid
from tests.app.test_inspections import post, refused

MakeClient = Callable[..., TestClient]
LIMIT = 10_000
FORM = "multipart/form-data; boundary=B"


@pytest.fixture(scope="module")
def small(make_client: MakeClient) -> TestClient:
    """A service that takes little."""
    return make_client(
        max_upload_bytes=LIMIT,
        max_batch_bytes=2 * LIMIT,
        upload_memory_bytes=4 * LIMIT,
        upload_timeout_ms=300,
    )


def pieces(total: int, of: int = 1000) -> Iterator[bytes]:
    """A body in pieces, so that its length is not declared."""
    for _ in range(total // of):
        yield bytes(of)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("path", ["/v1/inspections", "/v1/inspections/batch"])
def test_a_body_is_refused_at_its_limit(small: TestClient, clean: bytes, declared: bool, path: str) -> None:
    size = 30 * LIMIT
    content = bytes(size) if declared else pieces(size)
    response = small.post(path, content=content, headers={"Content-Type": FORM})
    refused(response, 413, "body_too_large")
    assert post(small, clean)["verdict"] == "pass"


def test_a_raw_body_is_refused_at_its_limit_however_it_comes(small: TestClient, clean: bytes) -> None:
    for content in (bytes(LIMIT + 1), pieces(2 * LIMIT)):
        response = small.post("/v1/inspections", content=content, headers={"Content-Type": "image/png"})
        refused(response, 413, "body_too_large")
    exactly = clean + bytes(LIMIT - len(clean))
    response = small.post("/v1/inspections", content=exactly, headers={"Content-Type": "image/png"})
    assert response.json()["verdict"] == "pass"


def test_memory_is_given_back_whatever_happened(small: TestClient, dark: bytes) -> None:
    post(small, dark)
    small.post("/v1/inspections", content=bytes(LIMIT), headers={"Content-Type": "image/png"})
    small.post("/v1/inspections", content=pieces(2 * LIMIT), headers={"Content-Type": "image/png"})
    assert "passline_upload_bytes 0.0" in small.get("/metrics").text


def body(*parts: str, end: str = "--B--\r\n") -> bytes:
    return "".join(f"--B\r\n{part}\r\n" for part in parts).encode("latin-1") + end.encode()


def part(name: str, content: str = "x", filename: str | None = "a.png") -> str:
    file = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}'


def read(data: bytes, step: int = 10**6, content_type: str = FORM, images: int = 1) -> Form:
    reader = FormReader(content_type, {"image": 1, "images": images}, frozenset({"recipe"}))
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    return reader.finish()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 10**6])
def test_a_form_is_read_however_it_is_cut(step: int) -> None:
    form = read(body(part("image", "\r\n--B\r\r\n-", "\u00e4.png"), part("recipe", "strict", None)), step)
    assert form.files["image"][0].data == b"\r\n--B\r\r\n-"
    assert form.files["image"][0].filename == "\u00e4.png"
    assert form.texts == {"recipe": "strict"}


@pytest.mark.parametrize("step", [1, 2, 5, 10**6])
def test_nothing_but_blanks_may_follow_a_forms_end(step: int) -> None:
    form = body(part("image", "holds --B-- and \r\n--C--"))
    assert read(form + b"\r\n \r\n", step).files["image"][0].data == b"holds --B-- and \r\n--C--"
    for more in (b"x", body(part("image"))):
        with pytest.raises(RequestInvalid, match="after its closing boundary"):
            read(form + more, step)


def test_a_picture_may_come_without_a_file_name() -> None:
    form = read(body(part("image", "data", filename=None)))
    assert (form.files["image"][0].filename, form.files["image"][0].data) == (None, b"data")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no form at all",
        b"--B",
        b"--B--",
        b"--B\r\n\r\nno headers\r\n--B--\r\n",
        body(part("image"), end=""),
        body(part("image"))[:-8],
        body(part("image"), part("image")),
        body(part("recipe", "a", None), part("recipe", "b", None)),
        body(part("other")),
        body(part("")),
        body("Content-Disposition: form-data\r\n\r\nx"),
        body("Content-Disposition: attachment; filename=a\r\n\r\nx"),
        body("X: " + "y" * 9000 + "\r\n\r\nx"),
        body("".join(f"X-{number}: y\r\n" for number in range(20)) + "\r\nx"),
        body("Bad Header\r\n\r\nx"),
        body(part("recipe", "r" * 1025, None)),
    ],
)
def test_forms_that_cannot_be_taken(client: TestClient, data: bytes) -> None:
    if data != b"--B--":
        with pytest.raises(RequestInvalid):
            read(data)
    for path in ("/v1/inspections", "/v1/inspections/batch"):
        refused(client.post(path, content=data, headers={"Content-Type": FORM}), 422, "request_invalid")


@pytest.mark.parametrize("header", ["Content-Disposition", "Content-Type"])
def test_a_part_with_thousands_of_parameters_is_refused(header: str) -> None:
    reader = FormReader(FORM, {"images": 3}, frozenset())
    head = 'Content-Disposition: form-data; name="images"; filename="a"'
    lines = head + ";" * 3000 if header == "Content-Disposition" else f"{head}\r\n{header}: a/b" + ";" * 3000
    with pytest.raises(RequestInvalid, match="more than 64 parameters"):
        reader.feed(f"--B\r\n{lines}\r\n\r\nx\r\n--B--".encode())


def test_a_type_with_thousands_of_parameters_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="more than 64 parameters"):
        FormReader(FORM + ";" * 3000, {"images": 3}, frozenset())


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 300}", "; boundary=%%"])
def test_a_form_needs_a_boundary(client: TestClient, clean: bytes, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    refused(client.post("/v1/inspections", content=clean, headers=headers), 422, "request_invalid")


def test_parts_are_refused_as_soon_as_there_are_too_many() -> None:
    reader = FormReader(FORM, {"images": 3}, frozenset())
    with pytest.raises(BatchTooLarge):
        reader.feed(body(*[part("images")] * 4, end=""))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), cut=st.integers(1, 50), around=st.booleans())
def test_no_bytes_break_the_reader(data: bytes, cut: int, around: bool) -> None:
    content = (
        b"--B\r\nContent-Disposition: form-data; name=image" + data + b"\r\n--B--\r\n" if around else data
    )
    with contextlib.suppress(RequestInvalid):
        read(content, cut)


MANY = 1_000_000
ATTACKS = {
    "nearly_the_boundary": (body(part("image"), end="") + b"\r\n--C" * (MANY // 5) + b"\r\n--B--\r\n", True),
    "line_ends_before_it_begins": (b"\r\n" * MANY, False),
    "after_its_end": (b"--B--\r\n" + b"\r\n--B" * (MANY // 5), None),
    "parts_without_end": (body(*[part("images")] * 20_000, end=""), False),
    "texts_without_end": (body(*[part("recipe", "", None)] * 20_000, end=""), False),
    "a_header_without_end": (b"--B\r\nX: " + b"y" * MANY, False),
    "headers_without_end": (b"--B\r\n" + b"X: y\r\n" * (MANY // 6), False),
    "quotes_in_a_header": (body("Content-Disposition: form-data; " + 'a="\\"";' * 500 + "\r\n\r\n"), False),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("step", [1000, 10**7])
def test_no_form_takes_long_to_refuse_or_to_read(name: str, step: int) -> None:
    data, is_read = ATTACKS[name]
    begun = time.process_time()
    try:
        read(data, step, images=3)
        outcome = True
    except (RequestInvalid, BatchTooLarge):
        outcome = False
    assert time.process_time() - begun < 0.5
    assert is_read in (outcome, None)

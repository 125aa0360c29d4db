"""Clients of other kinds over real HTTP: each is read as the RFC says, or refused by name."""

import base64
import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.markdown import ROOT
from tests.serving import Serving, serving

HMI = "http://hmi.plant:3000"
QUERY = "/v1/inspections?mask=none"
FORM = "multipart/form-data; boundary=B"
IMAGE = 'Content-Disposition: form-data; name="image"; filename="a.png"'
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture(scope="module")
def box(bundle_dir: Path) -> Iterator[Serving]:
    """A service for both families of addresses and one foreign origin, that takes 100 kB."""
    settings: dict[str, Any] = {
        "threads": 1,
        "max_upload_bytes": 100_000,
        "max_batch_bytes": 200_000,
        "max_batch_images": 2,
    }
    with serving(
        bundle_dir,
        host="::",
        auth="off",
        header_timeout_s=1,
        allowed_origins=HMI,
        allowed_hosts="box,other",
        **settings,
    ) as service:
        yield service


def ask(box: Serving, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """Status, headers in lower case and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=60)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): each for name, each in headers.items()}
        )
        response = connection.getresponse()
        found = response.read()
        told = {name.lower(): value for name, value in response.getheaders()}
        is_json = found and "json" in told.get("content-type", "")
        return response.status, told, json.loads(found) if is_json else found
    finally:
        connection.close()


def post(box: Serving, body: bytes, kind: str = "image/png", path: str = QUERY, **headers: str) -> Answer:
    return ask(box, "POST", path, body, Content_Type=kind, **headers)


def raw(box: Serving, *pieces: bytes | float, host: str = "127.0.0.1") -> list[bytes]:
    """Status lines of what comes back for bytes on one connection; a number waits so many seconds for it."""
    got = b""
    with socket.create_connection((host, box.port), timeout=60) as client:
        for piece in (*pieces, 1.0):
            if isinstance(piece, bytes):
                client.sendall(piece)
                continue
            client.settimeout(piece)
            try:
                while more := client.recv(65536):
                    got += more
                got += b"HTTP/1.1 closed"
            except TimeoutError:
                pass
    return re.findall(rb"HTTP/1\.1 (\d+|closed)", got)


def request(image: bytes, target: str = QUERY, host: str = "box") -> bytes:
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: {len(image)}"
    )
    return f"{head}\r\n\r\n".encode() + image


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(b"--B\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return body + b"--B--\r\n"


# Methods


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/model", "/docs", "/openapi.json"])
def test_head_is_answered_where_get_is(box: Serving, path: str) -> None:
    status, headers, _ = ask(box, "GET", path)
    head, same, body = ask(box, "HEAD", path)
    assert (head, body) == (status, b"")
    assert same["content-type"] == headers["content-type"]
    assert "content-length" in same


def test_head_is_answered_for_files_recipes_and_what_is_not_there(box: Serving) -> None:
    assert ask(box, "HEAD", "/static/swagger-ui.css")[0] == 200
    assert ask(box, "HEAD", "/v1/recipes")[0] == 200
    assert ask(box, "HEAD", "/nowhere")[0] == 404


def test_a_method_that_is_not_served_names_those_that_are(box: Serving) -> None:
    assert ask(box, "HEAD", "/v1/parts")[:1] == (405,)
    assert ask(box, "HEAD", "/v1/parts")[1]["allow"] == "POST"
    assert ask(box, "POST", "/healthz")[1]["allow"] == "GET, HEAD"


def test_requests_after_head_on_one_connection_are_answered(box: Serving, clean: bytes) -> None:
    head = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(box, head, 0.2, head, request(clean)) == [b"200", b"200", b"200"]


# Origins


def test_a_page_of_an_allowed_origin_may_ask_and_read(box: Serving, clean: bytes) -> None:
    status, headers, _ = ask(
        box,
        "OPTIONS",
        "/v1/inspections",
        Origin=HMI,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, content-type",
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == HMI
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    status, headers, answer = post(box, clean, Origin=HMI, Sec_Fetch_Site="cross-site")
    assert (status, answer["verdict"]) == (200, "pass")
    assert headers["access-control-allow-origin"] == HMI
    assert "X-Request-ID" in headers["access-control-expose-headers"]
    for refused in (post(box, b""), ask(box, "GET", "/nowhere", Origin=HMI)):
        assert refused[1]["vary"] == "Origin"
    assert post(box, b"", Origin=HMI)[1]["access-control-allow-origin"] == HMI, "problems are for it too"


@pytest.mark.parametrize(
    "origin", ["http://[::1", "http://]", "http://hmi.plant", "http://hmi.plant:3000.evil", "null", "x", "//"]
)
def test_a_page_of_another_or_of_a_malformed_origin_may_not(box: Serving, origin: str) -> None:
    status, headers, problem = ask(box, "GET", "/v1/model", Origin=origin)
    assert (status, problem["code"]) == (403, "foreign_page")
    assert "access-control-allow-origin" not in headers
    preflight = ask(box, "OPTIONS", "/v1/model", Origin=origin, Access_Control_Request_Method="GET")
    assert preflight[0] == 405
    assert "access-control-allow-origin" not in preflight[1]


@pytest.mark.parametrize("host", ["[::1", "]", ""])
def test_a_malformed_host_is_not_the_pages_own(box: Serving, host: str) -> None:
    for origin in ("http://a", f"http://{host}", "null"):
        assert ask(box, "GET", "/v1/model", Host=host, Origin=origin)[0] == 403


# The HTTP parser


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\n"])
def test_empty_lines_behind_a_body_lose_nothing(box: Serving, clean: bytes, empty: bytes) -> None:
    one = request(clean)
    assert raw(box, one + empty, 0.3, one) == [b"200", b"200"]
    assert raw(box, one, 0.3, empty, 0.3, one) == [b"200", b"200"]
    assert raw(box, one + empty + one + empty) == [b"200", b"200"]
    assert raw(box, empty + one) == [b"200"]
    assert raw(box, one + b"\r", 0.2, b"\n", 0.2, one) == [b"200", b"200"]


def test_empty_lines_behind_a_refused_body_lose_nothing(box: Serving, clean: bytes) -> None:
    refused = request(clean).replace(b"image/png", b"text/html")
    assert raw(box, refused[:-10], 0.2, refused[-10:] + b"\r\n", 0.2, request(clean)) == [b"415", b"200"]


def test_after_an_empty_line_a_connection_stays_idle(box: Serving, clean: bytes) -> None:
    """The line does not start the time for a header, which is 1 s here."""
    assert raw(box, request(clean), 0.2, b"\r\n", 2.0, request(clean)) == [b"200", b"200"]


@pytest.mark.parametrize("target", ["http://box", "HTTP://box:80", "https://other"])
def test_a_target_may_be_a_whole_address(box: Serving, clean: bytes, target: str) -> None:
    assert raw(box, request(clean, target + QUERY)) == [b"200"]
    assert raw(box, f"GET {target}/healthz HTTP/1.1\r\nHost: box\r\n\r\n".encode()) == [b"200"]
    assert raw(box, f"GET {target} HTTP/1.1\r\nHost: box\r\n\r\n".encode()) == [b"200"]  # /


def test_the_host_of_a_whole_address_counts_and_not_the_header(box: Serving) -> None:
    for host, header, status in (("box", "evil", b"200"), ("evil", "box", b"403")):
        head = f"GET http://{host}/v1/model HTTP/1.1\r\nHost: {header}\r\nOrigin: http://box\r\n\r\n"
        assert raw(box, head.encode()) == [status]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz?a=\xe4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nBad Header\r\n\r\n",
        b"POST /v1/inspections HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_by_name(box: Serving, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", box.port), timeout=60) as client:
        client.sendall(sent)
        got = b""
        while more := client.recv(65536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["code"] == "http_invalid"


# Texts


@pytest.mark.parametrize("label", ["Geh%E4use", "%ff", "a%C3", "%ED%A0%80"])
def test_a_query_that_is_no_utf8_is_refused(box: Serving, clean: bytes, label: str) -> None:
    status, _, problem = post(box, clean, path=f"{QUERY}&part_id={label}")
    assert (status, problem["code"], problem["fields"][0]["field"]) == (422, "request_invalid", "query")
    status, _, problem = ask(box, "GET", f"/v1/recipes/{label}")
    assert (status, problem["fields"][0]["field"]) == (422, "path")


def test_a_query_in_utf8_is_read(box: Serving, clean: bytes) -> None:
    assert post(box, clean, path=f"{QUERY}&part_id=Geh%C3%A4use+1%2B")[2]["part_id"] == "Geh\u00e4use 1+"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "GZIP"])
def test_a_compressed_body_is_refused_by_name(box: Serving, clean: bytes, encoding: str) -> None:
    for body, kind in ((clean, "image/png"), (form((IMAGE, clean)), FORM), (b"{}", "application/json")):
        sent = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
        status, headers, problem = post(box, sent, kind, Content_Encoding=encoding)
        assert (status, problem["code"]) == (415, "content_encoding_unsupported")
        assert encoding in problem["detail"]
        assert headers["accept-encoding"] == "identity"
    assert post(box, clean, Content_Encoding="identity")[0] == 200


# Forms


@pytest.mark.parametrize("encoding", ["base64", "BASE64", "quoted-printable", "binary", "8bit"])
def test_an_encoded_part_is_decoded(box: Serving, clean: bytes, encoding: str) -> None:
    sent = base64.encodebytes(clean) if encoding.lower() == "base64" else clean
    if encoding == "quoted-printable":
        sent = b"".join(b"=%02X" % byte for byte in clean)
    head = f"{IMAGE}\r\nContent-Transfer-Encoding: {encoding}"
    assert post(box, form((head, sent)), FORM)[2]["verdict"] == "pass"


LABEL = 'Content-Disposition: form-data; name="camera_id"'
QP, B64 = "Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: base64"


@pytest.mark.parametrize(
    ("head", "data", "label"),
    [
        (QP, b"line=3D3", "line=3"),
        (B64, base64.b64encode(b"line 3"), "line 3"),
        (f"Content-Type: text/plain; charset=utf-8\r\n{QP}", b"Geh=C3=A4use", "Geh\u00e4use"),
        ("Content-Type: text/plain; charset=iso-8859-1", b"Geh\xe4use", "Geh\u00e4use"),
        ("Content-Type: text/plain; charset=windows-1252", b"\x80", "\u20ac"),
        ("X-Any: x", b"line=3D3", "line=3D3"),
        ("Content-Transfer-Encoding: x-uuencode", b"x", None),
        (B64, b"a=b", None),
        ("Content-Type: text/plain; charset=utf-16", b"a\0", None),
        ("Content-Type: text/plain; charset=zip", b"a", None),
        ("Content-Type: text/plain; charset=utf-8", b"\xe4", None),
        ("Content-Encoding: gzip", b"a", None),
    ],
)
def test_a_label_is_read_as_its_part_says(
    box: Serving, clean: bytes, head: str, data: bytes, label: str | None
) -> None:
    status, _, answer = post(box, form((IMAGE, clean), (f"{LABEL}\r\n{head}", data)), FORM)
    if label is None:
        assert (status, answer["fields"][0]["field"]) == (422, "form.camera_id")
    else:
        assert (status, answer["camera_id"]) == (200, label)


@pytest.mark.parametrize(
    "preamble",
    [b"\r\n", b"This is a message in MIME format.\r\n", b"x\r\n--Bx\r\n --B\r\n" + b"y" * 50_000 + b"\r\n"],
)
def test_what_is_in_front_of_a_form_is_ignored(box: Serving, clean: bytes, preamble: bytes) -> None:
    assert post(box, preamble + form((IMAGE, clean)), FORM)[2]["verdict"] == "pass"


@pytest.mark.parametrize("boundary", [b"--B  \r\n", b"--B\n", b"x\n--B\r\n--B \r\n"])
def test_no_image_is_lost_with_what_is_in_front(box: Serving, clean: bytes, boundary: bytes) -> None:
    image = IMAGE.replace('"image"', '"images"')
    sent = boundary + form((image, clean), (image, clean)).removeprefix(b"--B\r\n")
    status, _, answer = post(box, sent, FORM, path="/v1/inspections/batch?mask=none")
    assert (status, answer["code"]) == (422, "request_invalid")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('filename="=?utf-8?B?UHLDvGZsaW5nLnBuZw==?="', "Pr\u00fcfling.png"),
        ('filename="=?iso-8859-1?q?Pr=FCfling=5F1?= =?utf-8?q?.png?="', "Pr\u00fcfling_1.png"),
        ("filename=\"x.png\"; filename*=utf-8''Pr%C3%BCfling.png", "Pr\u00fcfling.png"),
        ("filename*=UTF-8'de'Pr%C3%BCfling.png", "Pr\u00fcfling.png"),
        ("filename*=iso-8859-1''Pr%FCfling.png; filename=x.png", "Pr\u00fcfling.png"),
        ("filename=\"a; filename*=utf-8''b\"", "a; filename*=utf-8''b"),
        ('filename="a =?utf-8?B?UHI=?="', "a =?utf-8?B?UHI=?="),
        ('filename="=?nothing?B?UHI=?="', "=?nothing?B?UHI=?="),
        ('filename="Pr\u00fcfling.png"', "Pr\u00fcfling.png"),
        ("filename*=utf-8''%FF", None),
        ("filename*=shift_jis''a", None),
    ],
)
def test_a_files_name_is_read_in_every_form(box: Serving, clean: bytes, name: str, shown: str | None) -> None:
    body = form((f"Content-Disposition: form-data; name=images; {name}", clean))
    status, _, answer = post(box, body, FORM, path="/v1/inspections/batch?mask=none")
    if shown is None:
        assert (status, answer["fields"][0]["field"]) == (422, "form.images")
    else:
        assert answer["results"][0]["filename"] == shown


# JSON


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "before", ["", "data:image/png;base64,", "data:;base64,", "DATA:image/png;x=y;Base64,"]
)
def test_an_image_may_come_in_json(box: Serving, dark: bytes, before: str) -> None:
    nothing = {"camera_id": None, "reference_mask": None}
    body = as_json(image=before + b64(dark), part_id="tile-1", significant_bits=12, **nothing)
    status, _, answer = post(box, body, "application/json; charset=utf-8")
    assert (status, answer["verdict"], answer["part_id"]) == (200, "fail", "tile-1")
    assert answer["image"] == post(box, dark)[2]["image"]


def test_base64_may_be_in_lines_and_a_data_url_percent_encoded(box: Serving, clean: bytes) -> None:
    lines = base64.encodebytes(clean).decode()
    url = "data:image/png;base64," + b64(clean).replace("+", "%2B").replace("=", "%3d")
    for image in (lines, lines.replace("\n", "\r\n"), url):
        assert post(box, as_json(image=image), "application/json")[2]["verdict"] == "pass"


def test_batches_parts_and_frames_may_come_in_json(box: Serving, clean: bytes, dark: bytes) -> None:
    images = [b64(clean), "data:image/png;base64," + b64(dark)]
    batch = post(box, as_json(images=images), "application/json", "/v1/inspections/batch?mask=none")[2]
    assert (batch["counts"]["passed"], batch["counts"]["failed"]) == (1, 1)
    part = post(box, as_json(image=images, part_id="p"), "application/json", "/v1/parts?mask=none")[2]
    assert (part["part_id"], part["verdict"], len(part["images"])) == ("p", "fail", 2)
    frame = f"{QUERY}&width=96&height=80&pixel_format=Mono8"
    body = as_json(image=b64(bytes([128]) * 96 * 80))
    assert post(box, body, "application/json", frame)[2]["image"]["pixel_format"] == "Mono8"
    assert (
        post(box, as_json(images=[*images, images[0]]), "application/json", "/v1/inspections/batch")[0] == 413
    )


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 422, None),
        (b"\xff", 422, None),
        (b"[]", 422, None),
        (b"{", 422, None),
        (b'{"image": "", "image": ""}', 422, None),
        (b"[" * 2000, 422, None),
        (b'{"image": [' + b"{}," * 20_000 + b"{}]}", 422, None),
        (b'{"part_id": "x"}', 422, "body.image"),
        (as_json(image=None), 422, "body.image"),
        (as_json(image=7), 422, "body.image"),
        (as_json(image={"type": "Buffer", "data": [1, 2]}), 422, "body.image"),
        (as_json(image=["", ""]), 422, "body.image"),
        (as_json(image="data:image/png,x"), 422, "body.image"),
        (as_json(image="data:image/png;base64"), 422, "body.image"),
        (as_json(image="a+/b c=="), 422, "body.image"),
        (as_json(image="abc"), 422, "body.image"),
        (as_json(image="ab-_"), 422, "body.image"),
        (as_json(image="\u00e4\u00e4\u00e4\u00e4"), 422, "body.image"),
        (as_json(image="", part_id=7), 422, "body.part_id"),
        (as_json(image="", part_id=""), 422, "body.part_id"),
        (as_json(image="", part_id=True), 422, "body.part_id"),
        (as_json(image="", part_id=["x"]), 422, "body.part_id"),
        (as_json(image="", significant_bits=1000), 422, "body.significant_bits"),
        (as_json(image="", significant_bits=12.5), 422, "body.significant_bits"),
        (as_json(image="", mask="none"), 422, "body.mask"),
        (as_json(image=""), 400, None),
        (as_json(image="A" * 120_000), 413, None),
    ],
)
def test_other_json_is_refused_by_name(box: Serving, body: bytes, status: int, field: str | None) -> None:
    found, _, problem = post(box, body, "application/json")
    assert found == status
    assert [each["field"] for each in problem.get("fields", [])] == ([] if field is None else [field])


def test_json_has_the_limit_of_one_image_in_a_batch_too(box: Serving) -> None:
    body = as_json(images=["A" * 120_000])
    assert post(box, body, "application/json", "/v1/inspections/batch")[2]["code"] == "body_too_large"


# Addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families_are_served(box: Serving, host: str) -> None:
    assert raw(box, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", host=host) == [b"200"]


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0", "127.0.0.1", ""])
def test_the_health_check_asks_where_the_service_listens(box: Serving, host: str) -> None:
    told = {"PASSLINE_HOST": host, "PASSLINE_PORT": str(box.port)}
    check = [sys.executable, str(ROOT / "docker/healthcheck.py")]
    subprocess.run(check, check=True, capture_output=True, timeout=60, env=told)

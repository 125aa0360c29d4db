"""Images in an S3-compatible store: a small one of the tests' own, over real HTTP."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from starlette.testclient import TestClient

from app.history import retention
from app.history.objects import ImageStoreUnusable, files_of
from app.history.retention import Limits, Retention
from app.history.verify import Checked, verify
from app.settings import Settings
from tests.app.conftest import data_of
from tests.app.test_inspections import post, refused


class Bucket(ThreadingHTTPServer):
    """Keeps what is put; `broken` refuses everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.objects: dict[str, bytes] = {}
        self.broken = False


class _Answers(BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.broken:
            self.server.objects[self.path] = content
        self._answer(403 if self.server.broken else 200)

    def do_GET(self) -> None:
        content = self.server.objects.get(self.path)
        if self.server.broken:
            self._answer(403)
        elif content is None:
            self._answer(404)
        else:
            self._answer(200, content)

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(204)

    def do_POST(self) -> None:
        """Of several objects at once: an XML list of keys."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = [piece.partition("</Key>")[0] for piece in text.split("<Key>")[1:]]
        for key in keys:
            self.server.objects.pop(f"/parts/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Tue, 01 Dec 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "plant",
        }.items():
            monkeypatch.setenv(name, value)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def box(make_client: Callable[..., TestClient], bucket: Bucket) -> TestClient:
    return make_client(history="sync", keep_images="all", image_store="s3://parts/line-1")


def test_images_and_masks_go_into_the_bucket_and_come_back(
    box: TestClient, bucket: Bucket, dark: bytes
) -> None:
    id = post(box, dark)["id"]
    kinds = sorted(path.split("/")[3] for path in bucket.objects)
    assert kinds == ["images", "masks"]
    assert all(path.startswith("/parts/line-1/") for path in bucket.objects)
    assert box.get(f"/v1/inspections/{id}/image").content == dark
    assert box.get(f"/v1/inspections/{id}/mask").status_code == 200
    assert not (data_of(box) / "images").exists()
    history = box.app.state.service.history  # type: ignore[attr-defined]
    assert list(verify(history.database, history.files, Checked())) == []
    bucket.objects = dict.fromkeys(bucket.objects, b"another")
    assert len(list(verify(history.database, history.files, Checked()))) == 2


def test_without_its_image_no_verdict_leaves(box: TestClient, bucket: Bucket, dark: bytes) -> None:
    id = post(box, dark)["id"]
    bucket.broken = True
    refused(box.post("/v1/inspections", files={"image": dark}), 503, "image_not_stored")
    refused(box.get(f"/v1/inspections/{id}/image"), 503, "image_store_unusable")
    bucket.broken = False
    assert len(box.get("/v1/inspections").json()["items"]) == 1
    bucket.objects.clear()
    refused(box.get(f"/v1/inspections/{id}/image"), 404, "image_not_kept")


def test_retention_deletes_from_the_bucket(
    box: TestClient, bucket: Bucket, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(box, dark)
    history = box.app.state.service.history  # type: ignore[attr-defined]
    monkeypatch.setattr(retention, "REUSABLE_BYTES", 0)  # rows need no room
    for most, least_free, gone in ((None, 1 << 60, 0), (1, 0, 1)):  # the disk here is not the bucket's
        limits = Limits(None, None, None, most, least_free)
        pruning = Retention(history.database, history.files, data_of(box), limits)
        assert pruning.run(None).images == gone
    assert bucket.objects == {}


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ImageStoreUnusable, match="PASSLINE_IMAGE_STORE"):
        files_of(Settings(image_store="s3://bucket:port:x/"))

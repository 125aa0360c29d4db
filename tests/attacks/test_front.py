"""The recommended front for real: nginx as configured in docker/, before the service on a Unix socket."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.access.keys import add_key
from tests.attacks.callers import ATTACKER, CAMERA, connected, is_open, many
from tests.attacks.certificates import Pair, pair
from tests.markdown import ROOT
from tests.serving import Serving, serving

CONFIGURATION = ROOT / "docker/nginx/nginx.conf"
MODULES = Path("/etc/nginx/modules-enabled")
PROMPT_S = 5.0
HEADER_S = 2  # instead of 10 s, so that the tests need not wait
SILENT = 500

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None or not list(MODULES.glob("*stream*")),
    reason="nginx with its stream module is not installed (apt install nginx libnginx-mod-stream)",
)


@dataclass(frozen=True)
class Front:
    """nginx, the service behind it, and a key's token."""

    port: int
    service: Serving
    nginx: subprocess.Popen[bytes]
    errors: Path
    token: str
    box: Pair
    client: Pair

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        own: Pair | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case and body of an answer over TLS."""
        context = ssl.create_default_context(cafile=self.box.cert)
        if own is not None:
            context.load_cert_chain(own.cert, own.key)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context, source_address=(CAMERA, 0)
        )
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        got = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, got

    def inspect(self, image: bytes, **options: Any) -> tuple[int, dict[str, str], Any]:
        """One inspection with the key."""
        headers = {"Content-Type": "image/png", "Authorization": f"Bearer {self.token}"}
        status, answered, body = self.ask("POST", "/v1/inspections", image, headers, **options)
        return status, answered, json.loads(body)


def rendered(folder: Path, port: int, box: Pair, client: Pair, mutual: bool) -> str:
    """The shipped configuration with another port, other folders, and a shorter time for headers."""
    changes = {
        "/run/nginx": str(folder),
        "/etc/nginx/upstream.conf": str(folder / "upstream.conf"),
        "/etc/passline/tls/cert.pem": str(box.cert),
        "/etc/passline/tls/key.pem": str(box.key),
        "/etc/passline/tls/clients.pem": str(client.cert),
        "listen 8443": f"listen 127.0.0.1:{port}",
        "client_header_timeout 10s": f"client_header_timeout {HEADER_S}s",
    }
    if mutual:
        changes |= {
            "# ssl_client_certificate": "ssl_client_certificate",
            "# ssl_verify_client": "ssl_verify_client",
        }
    text = CONFIGURATION.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def front(bundle_dir: Path, folder: Path, mutual: bool = False, **settings: Any) -> Iterator[Front]:
    box, client = pair(folder, "box"), pair(folder, "client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = folder / "s.sock"
    upstream = (ROOT / "docker/nginx/upstream-socket.conf").read_text()
    assert "/run/passline/passline.sock" in upstream
    (folder / "upstream.conf").write_text(upstream.replace("/run/passline/passline.sock", str(path)))
    (folder / "nginx.conf").write_text(rendered(folder, port, box, client, mutual))
    keys = folder / "keys.jsonl"
    token = add_key(keys, "line-1", "inspect", None)
    with serving(bundle_dir, threads=1, socket=path, keys_file=keys, **settings) as service:
        with (folder / "errors.log").open("wb") as errors:
            nginx = subprocess.Popen(
                ["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off; user root;"], stderr=errors
            )
        try:
            _wait_for(port, nginx, folder / "errors.log")
            yield Front(port, service, nginx, folder / "errors.log", token, box, client)
        finally:
            nginx.terminate()
            nginx.wait(timeout=20)


def _wait_for(port: int, nginx: subprocess.Popen[bytes], errors: Path) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            connected(port, CAMERA).close()
            return
        except OSError:
            if nginx.poll() is not None or time.monotonic() > until:
                raise RuntimeError(errors.read_text()) from None
            time.sleep(0.05)


@pytest.fixture(scope="module")
def box(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(bundle_dir, tmp_path_factory.mktemp("front")) as found:
        yield found


def test_an_inspection_over_tls_with_a_key(box: Front, clean: bytes) -> None:
    status, headers, answer = box.inspect(clean)
    assert (status, answer["verdict"]) == (200, "pass")
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["server"] == "nginx", "no version"
    assert box.ask("GET", "/v1/model")[0] == 401
    assert box.ask("GET", "/readyz")[0] == 200


def test_a_certificate_that_is_not_trusted_is_no_connection(box: Front) -> None:
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection("127.0.0.1", box.port, timeout=20, context=context)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/readyz")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a handshake"])
def test_handshakes_that_never_end_are_counted_and_cut_off(box: Front, clean: bytes, sent: bytes) -> None:
    with ExitStack() as stack:
        held = many(stack, SILENT, box.port, sent)
        begun = time.monotonic()
        assert box.inspect(clean)[0] == 200
        assert time.monotonic() - begun < PROMPT_S
        assert sum(map(is_open, held)) <= 64
        time.sleep(HEADER_S + 1)
        assert sum(map(is_open, held)) == 0
    assert box.errors.stat().st_size < 10_000


def test_headers_that_drip_are_cut_off(box: Front) -> None:
    context = ssl.create_default_context(cafile=box.box.cert)
    begun = time.monotonic()
    with context.wrap_socket(connected(box.port, ATTACKER), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\n")
        try:
            while time.monotonic() - begun < 4 * HEADER_S:
                client.sendall(b"X: y\r\n")
                time.sleep(0.2)
        except OSError:
            pass
    assert time.monotonic() - begun < 3 * HEADER_S


def test_what_the_front_refuses_is_a_problem(box: Front) -> None:
    context = ssl.create_default_context(cafile=box.box.cert)
    with context.wrap_socket(connected(box.port, CAMERA), server_hostname="127.0.0.1") as client:
        client.sendall(
            b"POST /v1/inspections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 999999999\r\n\r\n"
        )
        got = b""
        while piece := client.recv(65536):
            got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in head
    assert json.loads(body) == {
        "type": "about:blank", "code": "body_too_large", "title": "The body is too large", "status": 413
    }  # fmt: skip


def test_two_lengths_and_plain_http_are_refused(box: Front) -> None:
    context = ssl.create_default_context(cafile=box.box.cert)
    both = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with context.wrap_socket(connected(box.port, CAMERA), server_hostname="127.0.0.1") as client:
        client.sendall(both)
        assert client.recv(65536).startswith(b"HTTP/1.1 400")
    with connected(box.port, CAMERA) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400")


def test_one_address_has_a_rate_and_others_are_served(box: Front, clean: bytes) -> None:
    context = ssl.create_default_context(cafile=box.box.cert)
    count = 600
    with context.wrap_socket(connected(box.port, "127.0.0.4"), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        got = b""
        while got.count(b"HTTP/1.1 ") < count:
            piece = client.recv(65536)
            if not piece:
                break
            got += piece
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", got)
    assert statuses.count(b"429") > 100
    assert b'"code":"overloaded"' in got
    assert b"Retry-After: 1" in got
    assert box.inspect(clean)[0] == 200


def test_without_keys_the_service_lets_nothing_in_that_a_front_passes_on(
    bundle_dir: Path, tmp_path: Path, clean: bytes
) -> None:
    with front(bundle_dir, tmp_path, auth="off") as opened:
        status, _, problem = opened.inspect(clean)
        assert (status, problem["code"]) == (403, "not_local")


def test_with_mutual_tls_only_clients_with_a_certificate_connect(
    bundle_dir: Path, tmp_path: Path, clean: bytes
) -> None:
    with front(bundle_dir, tmp_path, mutual=True) as closed:
        assert closed.inspect(clean, own=closed.client)[0] == 200
        status, _, body = closed.ask("GET", "/readyz")
        assert (status, json.loads(body)["code"]) == (400, "http_invalid")


def test_a_service_that_is_gone_is_told_and_one_that_returns_is_used(
    bundle_dir: Path, tmp_path: Path, clean: bytes
) -> None:
    with front(bundle_dir, tmp_path) as found:
        found.service.stop()
        status, headers, problem = found.inspect(clean)
        assert (status, problem["code"]) == (502, "not_ready")
        assert headers["retry-after"] == "1"
        keys = tmp_path / "keys.jsonl"
        with serving(bundle_dir, threads=1, socket=tmp_path / "s.sock", keys_file=keys):
            assert found.inspect(clean)[0] == 200

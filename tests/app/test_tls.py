"""HTTPS with a certificate made here: served, greeted with, and for known clients alone if so set."""

import http.client
import json
import re
import shlex
import ssl
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.__main__ import main
from app.access.keys import add_key
from app.server import TlsUnusable, tls_options
from app.settings import Settings
from tests.markdown import ROOT
from tests.serving import Serving, serving


@dataclass(frozen=True)
class Pair:
    """A self-signed certificate and its key, as files."""

    cert: Path
    key: Path


def pair(folder: Path, name: str, password: bytes | None = None) -> Pair:
    """A certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    made = Pair(folder / f"{name}.pem", folder / f"{name}.key.pem")
    made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return made


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: pair(folder, name) for name in ("box", "client", "stranger")}


def asked(server: Serving, context: ssl.SSLContext, path: str, token: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def trusting(box: Pair, own: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=box.cert)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def test_a_box_on_the_network_serves_https_and_demands_keys(
    bundle_dir: Path, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    """As deployed: TLS, keys and a loopback address only because tests may open no other."""
    box, file = pairs["box"], tmp_path / "keys.jsonl"
    token = add_key(file, "line-1", "inspect", None)
    settings: dict[str, Any] = {"tls_cert": box.cert, "tls_key": box.key, "auth": "on", "keys_file": file}
    with serving(bundle_dir, threads=1, **settings) as server:
        assert server.url.startswith("https://")
        response = asked(server, trusting(box), "/v1/model", token)
        assert response.status == 200
        assert response.getheader("Strict-Transport-Security")
        assert asked(server, trusting(box), "/v1/model").status == 401
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(server, ssl.create_default_context(), "/healthz")
        line = re.findall(r"whose verdict is fail:\n +(curl .*)", server.greeting)[0]
        words = [word.replace("$TOKEN", token) for word in shlex.split(line)]
        done = subprocess.run(words, check=True, capture_output=True, timeout=20, cwd=ROOT)
        assert json.loads(done.stdout)["verdict"] == "fail"
        check = [sys.executable, str(ROOT / "docker/healthcheck.py")]
        told = {"PASSLINE_PORT": str(server.port), "PASSLINE_TLS_CERT": str(box.cert)}
        subprocess.run(check, check=True, capture_output=True, timeout=20, env=told)
        _, err = server.stop()
    assert err == ""


def test_with_an_authority_only_its_clients_connect(bundle_dir: Path, pairs: dict[str, Pair]) -> None:
    box, client = pairs["box"], pairs["client"]
    settings: dict[str, Any] = {"tls_cert": box.cert, "tls_key": box.key, "tls_client_ca": client.cert}
    with serving(bundle_dir, threads=1, **settings) as server:
        assert asked(server, trusting(box, client), "/healthz").status == 200
        for own in (None, pairs["stranger"]):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                asked(server, trusting(box, own), "/healthz")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["tls_cert"], "tls_key"),
        (["tls_key"], "tls_cert"),
        (["tls_client_ca"], "tls_cert"),
    ],
)
def test_one_half_is_refused_at_start(
    names: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        monkeypatch.setenv(f"PASSLINE_{name.upper()}", "x.pem")
    assert main(["serve"]) == 2
    assert says in capsys.readouterr().err


def test_files_that_are_no_certificate_with_its_key_are_named(pairs: dict[str, Pair], tmp_path: Path) -> None:
    box, other = pairs["box"], pairs["stranger"]
    locked = pair(tmp_path, "locked", b"secret")
    missing = tmp_path / "nowhere.pem"
    wrong = [(box.cert, other.key), (box.cert, missing), (box.key, box.key), (locked.cert, locked.key)]
    for cert, key in wrong:
        with pytest.raises(TlsUnusable, match="PASSLINE_TLS_CERT"):
            tls_options(Settings(tls_cert=cert, tls_key=key))
    with pytest.raises(TlsUnusable, match="PASSLINE_TLS_CLIENT_CA"):
        tls_options(Settings(tls_cert=box.cert, tls_key=box.key, tls_client_ca=missing))
    assert tls_options(Settings()) == {}

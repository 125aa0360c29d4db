"""TLS by settings: certificate, key and the authority of clients, tried before anything listens."""

import ssl
from pathlib import Path
from typing import Any

from app.settings import Settings


class TlsUnusable(ValueError):
    """The files that the settings name are no certificate with its key, or no authority."""


def tls_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn needs to serve TLS, nothing where no certificate is set; raises TlsUnusable."""
    if settings.tls_cert is None or settings.tls_key is None:
        return {}
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: OpenSSL would ask for one at a terminal that a service does not have.
        trial.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        raise TlsUnusable(
            f"PASSLINE_TLS_CERT and PASSLINE_TLS_KEY ({settings.tls_cert}, {settings.tls_key}) are no"
            f" certificate with its key, unencrypted, as PEM that can be read: {error}"
        ) from error
    options: dict[str, Any] = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    return options | _clients(trial, settings.tls_client_ca)


def _clients(trial: ssl.SSLContext, authority: Path | None) -> dict[str, Any]:
    if authority is None:
        return {}
    try:
        trial.load_verify_locations(authority)
    except OSError as error:
        raise TlsUnusable(f"PASSLINE_TLS_CLIENT_CA ({authority}) holds no certificate: {error}") from error
    return {"ssl_ca_certs": str(authority), "ssl_cert_reqs": ssl.CERT_REQUIRED}

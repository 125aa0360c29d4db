"""Images and masks in an S3-compatible store instead of a folder."""

import logging
import os
from typing import Any

from app.errors import ServingError
from app.history.files import FolderFiles, ImageFiles, ImageNotStored
from app.settings import Settings

TIMEOUT_S = 10  # of one request; an inspection waits for it
RETRIES = 2
log = logging.getLogger(__name__)


class ImageStoreUnusable(ServingError):
    """The store of images cannot be reached, or refuses the access.

    Remedy: Correct `PASSLINE_IMAGE_STORE`, the credentials in `AWS_*`, or the store.

    Retry: when the cause is corrected
    """

    code = "image_store_unusable"
    title = "The store of images cannot be used"
    status = 503


class ObjectFiles:
    """Files as objects below the prefix of a bucket, by the same names as in a folder."""

    def __init__(self, store: Any) -> None:
        """`store` is one of obstore's."""
        import obstore
        from obstore import exceptions

        self._store, self._obstore, self._errors = store, obstore, exceptions

    def put(self, name: str, data: bytes) -> None:
        """Store a whole file or nothing; raises ImageNotStored."""
        try:
            self._obstore.put(self._store, name, data)
        except self._errors.BaseError as error:
            raise ImageNotStored(f"the store of images refused {name}: {_first_line(error)}") from error

    def get(self, name: str) -> bytes | None:
        """The file's content; None if there is none any more. Raises ImageStoreUnusable."""
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except self._errors.BaseError as error:
            raise ImageStoreUnusable(f"{name} cannot be read: {_first_line(error)}") from error

    def delete(self, name: str) -> None:
        """Delete a file; one that cannot be deleted now stays, and the log says so."""
        try:
            self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except self._errors.BaseError as error:
            log.error("a file is not deleted", extra={"file": name, "reason": _first_line(error)})


def files_of(settings: Settings) -> ImageFiles:
    """Where images are kept by the settings; raises ImageStoreUnusable."""
    if settings.image_store is None:
        return FolderFiles(settings.data_dir)
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise ImageStoreUnusable(
            "PASSLINE_IMAGE_STORE needs the package obstore; install the extra `s3`"
        ) from error
    # A plant's own store often has no certificate; http is only used where its address says so.
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    try:
        store = from_url(
            settings.image_store,
            client_options={"timeout": f"{TIMEOUT_S}s", "allow_http": plain},
            retry_config={"max_retries": RETRIES},
        )
    except ValueError as error:
        raise ImageStoreUnusable(f"PASSLINE_IMAGE_STORE: {_first_line(error)}") from error
    return ObjectFiles(store)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

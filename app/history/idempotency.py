"""First answers by `Idempotency-Key`: a client that asks again gets what it would have got the first time."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.database.connection import Database
from app.database.tables import IDEMPOTENCY
from app.database.times import SECOND_US, now_us
from app.errors import RequestError

FAST = 1  # of gzip


class IdempotencyKeyReused(RequestError):
    """The `Idempotency-Key` was used for another request.

    A key stands for one request with one body and query; the first answer is given only to the same request.

    Remedy: Make a new key for each image.
    """

    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used for another request"
    status = 422


class FirstAnswers:
    """Answers kept for `kept_s` seconds; use it from one event loop only."""

    def __init__(self, database: Database, kept_s: int) -> None:
        self._database = database
        self._kept_us = kept_s * SECOND_US
        self._in_work: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def answer(
        self, caller: str, key: str, fingerprint: str, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The first answer to this request of this caller, else what `make` gives, which is kept.

        While a request is in work, the same one waits for it. An error is not kept: the next request tries
        again. Raises IdempotencyKeyReused, DatabaseUnusable, or the errors of `make`.
        """
        place = (caller, key)
        while (other := self._in_work.get(place)) is not None:
            await asyncio.shield(other)
        self._in_work[place] = done = asyncio.get_running_loop().create_future()
        try:
            found = await asyncio.to_thread(self._find, caller, key, fingerprint)
            if found is not None:
                return found
            made = await make()
            await asyncio.to_thread(self._keep, caller, key, fingerprint, made)
            return made
        finally:
            del self._in_work[place]
            done.set_result(None)

    def _find(self, caller: str, key: str, fingerprint: str) -> bytes | None:
        of_key = (IDEMPOTENCY.c.caller == caller) & (IDEMPOTENCY.c.key == key)
        with self._database.reading() as connection:
            found = connection.execute(select(IDEMPOTENCY).where(of_key)).first()
        if found is None or found.time_us < now_us() - self._kept_us:
            return None
        if found.fingerprint != fingerprint:
            raise IdempotencyKeyReused(f"the Idempotency-Key {key!r} was used for another request")
        return gzip.decompress(found.answer)

    def _keep(self, caller: str, key: str, fingerprint: str, answer: bytes) -> None:
        time_us = now_us()
        old = IDEMPOTENCY.c.time_us < time_us - self._kept_us
        packed = gzip.compress(answer, FAST)
        with self._database.transaction() as connection:
            connection.execute(IDEMPOTENCY.delete().where(old))
            try:
                connection.execute(
                    IDEMPOTENCY.insert().values(
                        caller=caller, key=key, fingerprint=fingerprint, time_us=time_us, answer=packed
                    )
                )
            except IntegrityError:  # another service on the same database was faster
                connection.rollback()


def fingerprint_of(*parts: bytes) -> str:
    """What tells requests apart: the SHA-256 of the lengths and contents of their parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()

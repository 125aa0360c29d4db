"""Limits on connections: how many, by address too; time for headers; time and memory for answers.

uvicorn limits only the time between two requests. A client that connects and sends nothing, sends a header
byte by byte, or never reads its answer would hold its connection for good. Only the protocol can see that.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from app.api.middleware import MAX_HEADER_BYTES, SURPLUS
from app.errors import HttpInvalid
from app.fair_share import PROXY, FairShare, caller_of
from app.problems import MEDIA_TYPE, problem_of
from app.settings import Settings

SPARE = 16  # beyond the places: for probes, and to tell others why they are refused; later ones are cut off
LEAST_PROGRESS = 16 * 1024  # bytes of an answer that a client must take in each period
FREE_CHUNKS = 1024  # of a request's body; more must have LEAST_CHUNK bytes on average
LEAST_CHUNK = 128  # each chunk takes time, whatever its size: chunks of one byte would stop everything else
_LINE_END = b"\r\n"


def protocol(settings: Settings, most: int, memory: FairShare) -> type[H11Protocol]:
    """The class that uvicorn instantiates for each connection, of which there may be `most`.

    `memory` counts the bytes of answers that are not taken yet.
    """

    class Bounded(_Bounded):
        places = FairShare(most)
        answers = memory
        seconds = settings.header_timeout_s

    return Bounded


class _Bounded(H11Protocol):
    """One connection; `seconds` is what a client's next step may take.

    Its caller is an address, or the reverse proxy behind a Unix socket, which limits the addresses itself.
    """

    places: FairShare
    answers: FairShare
    seconds: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn: _Parser = _Parser(
            h11.SERVER, self.config.h11_max_incomplete_event_size or MAX_HEADER_BYTES
        )
        self._asking: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._caller = PROXY
        self._has_place = False
        self._waiting_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:
            self._caller = caller_of(self.client[0])
            self._has_place = self.places.take(self._caller, 1)
        surplus = len(self.connections) - (self.places.held if self.client else self.places.total)
        if surplus > 0 and not self._has_place:
            self.app_state = {**self.app_state, SURPLUS: True}
            if surplus > SPARE:
                transport.abort()
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting_header()
        self._stop_awaiting_taking()
        self._give_back_answer()
        if self._has_place:
            self.places.give_back(self._caller, 1)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.conn.is_between_requests(data):  # an empty line there starts and stops no time
            super().data_received(data)
            self._await_header()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, where no answer has begun yet."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers, body = _refusal()
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE:  # the rest of a refused body may still come, or its end
            self._await_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        size = self.transport.get_write_buffer_size()
        if self.answers.take(self._caller, size):
            self._waiting_bytes = size
            self._await_taking()
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_awaiting_taking()
        self._give_back_answer()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_taking()  # it closes once the last answer is taken, and not before

    def _await_header(self) -> None:
        """Give the next header its time, from when it may begin; while a request is served there is none."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle is not None and not cycle.response_complete:
            self._stop_awaiting_header()
        elif self._asking is None:
            self._asking = self.loop.call_later(self.seconds, self._header_is_late)

    def _header_is_late(self) -> None:
        self._asking = None
        if self.transport.get_write_buffer_size():
            self._await_taking()
        else:
            self.transport.abort()

    def _stop_awaiting_header(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = None

    def _give_back_answer(self) -> None:
        if self._waiting_bytes:
            self.answers.give_back(self._caller, self._waiting_bytes)
        self._waiting_bytes = 0

    def _await_taking(self) -> None:
        if self._taking is None:
            left = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(self.seconds, self._check_taking, left)

    def _check_taking(self, before: int) -> None:
        self._taking = None
        left = self.transport.get_write_buffer_size()
        if left > max(0, before - LEAST_PROGRESS):
            self.transport.abort()
        elif left:
            self._await_taking()

    def _stop_awaiting_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
        self._taking = None


class _Parser(h11.Connection):
    """Reads one connection's requests; docs/decisions/0021-http-parser.md says why it is h11."""

    _chunks = 0  # of this request's body
    _in_chunks = 0  # bytes

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's, without the empty lines that some clients send behind a body (RFC 9112, section 2.2).

        Raises RemoteProtocolError for a body in too many small chunks, as for any that is no HTTP.
        """
        if self.their_state is h11.IDLE:
            waiting, _ = self.trailing_data
            empty = len(waiting) - len(waiting.lstrip(_LINE_END))
            if empty:
                self._receive_buffer.maybe_extract_at_most(empty)
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._in_chunks = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._in_chunks += len(event.data)
            if self._chunks > FREE_CHUNKS and self._in_chunks < self._chunks * LEAST_CHUNK:
                raise h11.RemoteProtocolError("the body comes in too many small chunks")
        return event

    def is_between_requests(self, data: bytes) -> bool:
        """Whether nothing of the next request has come, not even with these bytes."""
        return self.their_state is h11.IDLE and not self.trailing_data[0] and not data.strip(_LINE_END)


def _refusal() -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the answer to what is no HTTP."""
    problem = problem_of(
        HttpInvalid("Invalid HTTP request received: its line or a header is malformed or too large")
    )
    body = problem.model_dump_json(exclude_none=True).encode()
    length = str(len(body)).encode()
    kind = MEDIA_TYPE.encode()
    return [(b"content-type", kind), (b"content-length", length), (b"connection", b"close")], body

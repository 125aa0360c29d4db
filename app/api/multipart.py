"""Multipart forms, read as they arrive and refused at the first part that should not be there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BatchTooLarge, RequestInvalid, WrongField

MAX_TEXT_BYTES = 1024
MAX_FILENAME_CHARS = 255


@dataclass(frozen=True, slots=True)
class File:
    """One uploaded file; the name is the client's, shown but never used as a path.

    `media_type` is what its part declares, empty where it declares none.
    """

    filename: str | None
    data: bytes
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A whole form: every field at most as often as it may be."""

    files: dict[str, list[File]]
    texts: dict[str, str]


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


class FormReader:
    """Takes a multipart body in pieces; holds it in memory, so its caller bounds the bytes.

    `most_files` says how often each file field may occur; every text field may occur once.
    """

    def __init__(self, content_type: str, most_files: Mapping[str, int], text_fields: frozenset[str]) -> None:
        self._most_files = most_files
        self._text_fields = text_fields
        self._form = Form(files={name: [] for name in most_files}, texts={})
        self._part = _Part()
        self._header_name, self._header_value = bytearray(), bytearray()
        self._ended = False
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise RequestInvalid("the multipart body's Content-Type names no boundary")
        self._closing = b"\r\n--" + boundary + b"--"
        self._tail = b""  # of what has been fed: the closing boundary may come in pieces
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next piece; raises RequestInvalid or BatchTooLarge as soon as something is wrong."""
        if self._ended:
            return _refuse_more(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(error) from error
        if self._ended:
            return _refuse_more((self._tail + chunk).partition(self._closing)[2])
        self._tail = (self._tail + chunk[-len(self._closing) :])[-len(self._closing) :]

    def finish(self) -> Form:
        """The form, once its closing boundary has come; a body cut off before it is refused as a whole."""
        if not self._ended:
            raise RequestInvalid("the multipart body ends before its closing boundary; send all of it")
        return self._form

    def _on_part_begin(self) -> None:
        self._part = _Part()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._part.headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition"))
        self._part.name = _text(options.get(b"name", b""))
        if b"filename" in options:
            self._part.filename = _text(options[b"filename"])[:MAX_FILENAME_CHARS]
        self._check_part()

    def _check_part(self) -> None:
        name = self._part.name
        if name in self._most_files:
            most = self._most_files[name]
            if len(self._form.files[name]) < most:
                return
            if most > 1:
                raise BatchTooLarge(f"a batch holds at most {most} pictures; send the others in another one")
            raise _wrong(name, "is given more than once; give it once")
        if name not in self._text_fields:
            known = ", ".join((*self._most_files, *sorted(self._text_fields)))
            raise _wrong(name, f"is no field of this form; its fields are {known}")
        if name in self._form.texts:
            raise _wrong(name, "is given more than once; give it once")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part.data += data[start:end]
        if self._part.name in self._text_fields and len(self._part.data) > MAX_TEXT_BYTES:
            raise _wrong(self._part.name, f"is longer than {MAX_TEXT_BYTES} bytes")

    def _on_part_end(self) -> None:
        part = self._part
        if part.name in self._text_fields:
            self._form.texts[part.name] = _text(bytes(part.data))
        else:
            media_type, _ = parse_options_header(part.headers.get(b"content-type"))
            file = File(part.filename, bytes(part.data), _text(media_type))
            self._form.files[part.name].append(file)
        self._part = _Part()

    def _on_end(self) -> None:
        self._ended = True


def _refuse_more(behind: bytes) -> None:
    """Raise RequestInvalid for what follows a form's end; the parser would ignore it, a picture too."""
    if behind.strip():
        raise RequestInvalid("the multipart body goes on behind its closing boundary")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _wrong(name: str, message: str) -> RequestInvalid:
    shown = name[:64]
    return RequestInvalid(f"the form field {shown!r} {message}", (WrongField(f"form.{shown}", message),))


def _malformed(error: FormParserError) -> RequestInvalid:
    return RequestInvalid(f"the multipart body is malformed: {error}")

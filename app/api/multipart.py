"""Multipart forms, parsed as they arrive and refused at the first part that is not allowed."""

import binascii
import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BatchTooLarge, RequestInvalid, WrongField

MAX_TEXT_BYTES = 1024
MAX_FILENAME_CHARS = 255
MAX_PARAMETERS = 64  # of a header: parsing thousands of empty ones takes milliseconds each time
CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"})  # names of Python's codecs
AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})  # transfer encodings that leave the bytes unchanged
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;"]*)')
_ENCODED_WORDS = re.compile(r"(=\?[^?\s]+\?[bq]\?[^?\s]*\?=\s*)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """One uploaded file; `filename` is the client's, shown but never used as a path.

    `media_type` is the Content-Type of its part; empty if it has none.
    """

    filename: str | None
    data: bytes
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A complete form, in which no field occurs too often; `place` is its name in error messages."""

    files: dict[str, list[File]]
    texts: dict[str, str | int]
    place: str = "form"


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    encoding: str = ""
    charset: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


class FormReader:
    """Parses a multipart body in pieces; all of it is kept in memory, so the caller limits its bytes.

    `most_files` is how often each file field may occur; a text field may occur once.
    """

    def __init__(self, content_type: str, most_files: Mapping[str, int], text_fields: frozenset[str]) -> None:
        self._most_files = most_files
        self._text_fields = text_fields
        self._form = Form(files={name: [] for name in most_files}, texts={})
        self._part = _Part()
        self._header_name, self._header_value = bytearray(), bytearray()
        self._ended = False
        _check_parameters(content_type.encode("latin-1", "replace"))
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise RequestInvalid("the multipart body's Content-Type names no boundary")
        self._closing = b"\r\n--" + boundary + b"--"
        # Matches any line that looks like the first boundary; the parser refuses it if it is not one.
        self._opening = re.compile(b"\n--" + re.escape(boundary) + rb"(?=[ \t\r\n-])")
        self._before: bytes | None = b"\n"  # last bytes before the first boundary; None once that is found
        self._tail = b""  # last bytes fed: the closing boundary may arrive in pieces
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
        """Parse the next piece; raises RequestInvalid or BatchTooLarge as soon as something is wrong."""
        if self._before is not None:
            chunk = self._without_preamble(self._before + chunk)
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
        """The complete form; raises RequestInvalid if the body ended before its closing boundary."""
        if self._before is not None:
            raise RequestInvalid("the multipart body does not contain the boundary of its Content-Type")
        if not self._ended:
            raise RequestInvalid("the multipart body ends before its closing boundary; send all of it")
        return self._form

    def _without_preamble(self, fed: bytes) -> bytes:
        """The data from the first boundary on: text before it is ignored (RFC 2046, section 5.1.1)."""
        found = self._opening.search(fed)
        if found is None:
            self._before = fed[-len(self._closing) :]
            return b""
        self._before = None
        return fed[found.start() + 1 :]

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
        part = self._part
        for value in part.headers.values():
            _check_parameters(value)
        disposition = part.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        part.name = _text(options.get(b"name", b""))
        self._check_part()
        name = _filename(part.name, disposition, options)
        part.filename = None if name is None else name[:MAX_FILENAME_CHARS]
        part.encoding = _text(part.headers.get(b"content-transfer-encoding", b"")).strip().lower()
        if part.encoding not in AS_IT_IS | {"base64", "quoted-printable"}:
            raise _wrong(part.name, "has a Content-Transfer-Encoding that is not known; send the bytes as is")
        if part.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise _wrong(part.name, "has a Content-Encoding; send the bytes as is")
        if part.name in self._text_fields:
            part.charset = _charset(part.name, part.headers.get(b"content-type"))

    def _check_part(self) -> None:
        name = self._part.name
        if name in self._most_files:
            most = self._most_files[name]
            if len(self._form.files[name]) < most:
                return
            if most > 1:
                raise BatchTooLarge(f"a batch holds at most {most} images; send the others in another one")
            raise _wrong(name, "is given more than once; give it once")
        if name not in self._text_fields:
            known = ", ".join((*self._most_files, *sorted(self._text_fields)))
            raise _wrong(name, f"is not a field of this form; its fields are {known}")
        if name in self._form.texts:
            raise _wrong(name, "is given more than once; give it once")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part.data += data[start:end]
        if self._part.name in self._text_fields and len(self._part.data) > MAX_TEXT_BYTES:
            raise _wrong(self._part.name, f"is longer than {MAX_TEXT_BYTES} bytes")

    def _on_part_end(self) -> None:
        part = self._part
        data = _decoded(part)
        if part.name in self._text_fields:
            self._form.texts[part.name] = _label(part, data)
        else:
            media_type, _ = parse_options_header(part.headers.get(b"content-type"))
            file = File(part.filename, data, _text(media_type))
            self._form.files[part.name].append(file)
        self._part = _Part()

    def _on_end(self) -> None:
        self._ended = True


def _refuse_more(behind: bytes) -> None:
    """Raise RequestInvalid for data after the form's end, where the parser would ignore even an image."""
    if behind.strip():
        raise RequestInvalid("the multipart body continues after its closing boundary")


def _check_parameters(header: bytes) -> None:
    if header.count(b";") > MAX_PARAMETERS:
        raise RequestInvalid(f"a header of the multipart body has more than {MAX_PARAMETERS} parameters")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _decoded(part: _Part) -> bytes:
    """A part's data without its Content-Transfer-Encoding, which clients built on mail libraries add."""
    if part.encoding in AS_IT_IS:
        return bytes(part.data)
    if part.encoding == "quoted-printable":
        return binascii.a2b_qp(part.data)
    try:
        return binascii.a2b_base64(part.data.translate(None, b"\r\n\t "), strict_mode=True)
    except binascii.Error as error:
        raise _wrong(
            part.name, f"is not the base64 that its Content-Transfer-Encoding says: {error}"
        ) from error


def _charset(name: str, content_type: bytes | None) -> str:
    """The declared charset of a text field, empty if none; raises RequestInvalid for unsupported ones."""
    declared = parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")
    try:
        found = codecs.lookup(declared).name if declared else ""
    except (LookupError, ValueError):
        found = declared
    if found and found not in CHARSETS:
        raise _wrong(name, f"is in the charset {declared[:64]}, which is not supported; send UTF-8")
    return found


def _label(part: _Part, data: bytes) -> str:
    try:
        return data.decode(part.charset) if part.charset else _text(data)
    except UnicodeDecodeError as error:
        raise _wrong(part.name, f"is not the {part.charset} that its Content-Type says") from error


def _filename(field_name: str, disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    """The file's name: from `filename*` (RFC 5987) if given, else from `filename`, maybe RFC 2047."""
    parameters = {key.lower(): value for key, value in _PARAMETER.findall(disposition.decode("latin-1"))}
    extended = parameters.get("filename*")
    if extended is not None:
        charset, _, rest = extended.strip().strip('"').partition("'")
        try:
            if charset.lower() in ("utf-8", "iso-8859-1"):
                return unquote_to_bytes(rest.partition("'")[2]).decode(charset)
        except UnicodeDecodeError:
            pass
        raise _wrong(field_name, "has a filename* that is not UTF-8'' or ISO-8859-1'' and encoded text")
    plain = options.get(b"filename")
    return None if plain is None else _without_encoded_words(_text(plain))


def _without_encoded_words(name: str) -> str:
    """Decode a name in the form of RFC 2047 (encoded words); a malformed one is returned unchanged."""
    if not _ENCODED_WORDS.fullmatch(name):
        return name
    try:
        return str(make_header(decode_header(name)))
    except (HeaderParseError, LookupError, ValueError):
        return name


def _wrong(name: str, message: str) -> RequestInvalid:
    shown = name[:64]
    return RequestInvalid(f"the form field {shown!r} {message}", (WrongField(f"form.{shown}", message),))


def _malformed(error: FormParserError) -> RequestInvalid:
    return RequestInvalid(f"the multipart body is malformed: {error}")

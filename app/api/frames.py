"""Which pictures of a request are raw frames, and what its query says of them."""

from app.api.multipart import File
from app.errors import RequestInvalid, WrongField
from app.inspection.decoding.raw import RawFrame
from app.schemas.inspections import FrameOptions

FRAME_TYPE = "application/octet-stream"
NEEDED = ("width", "height", "pixel_format")
FIELDS = (*NEEDED, "stride")


def of_form(file: File, query: FrameOptions) -> bytes | RawFrame:
    """A form's picture: a frame where the query says what frames are, whether or not its part says more."""
    if not _given(query):  # many clients call any file application/octet-stream
        return file.data
    media_type = file.media_type or FRAME_TYPE
    check_frame(media_type, query)
    return as_sent(file.data, media_type, query)


def _given(query: FrameOptions) -> list[str]:
    return [name for name in FIELDS if getattr(query, name) is not None]


def check_frame(media_type: str, query: FrameOptions) -> None:
    """Refuse a frame of which something is not told, and a file of which a frame's parameters are."""
    if media_type == FRAME_TYPE:
        wrong = [name for name in NEEDED if getattr(query, name) is None]
        message = f"missing; a frame needs {', '.join(NEEDED)}, and a file its own type, such as image/jpeg"
    else:
        wrong = _given(query)
        message = f"for frames sent as {FRAME_TYPE}; the picture is {media_type}"
    if wrong:
        fields = tuple(WrongField(f"query.{name}", f"is {message}") for name in wrong)
        verb = "is" if len(fields) == 1 else "are"
        names = ", ".join(each.field for each in fields)
        raise RequestInvalid(f"{names} {verb} {message}", fields)


def as_sent(data: bytes, media_type: str, query: FrameOptions) -> bytes | RawFrame:
    """A picture's bytes as the file or the frame that they are, once checked."""
    if media_type != FRAME_TYPE or query.width is None or query.height is None or query.pixel_format is None:
        return data
    return RawFrame(data, query.width, query.height, query.pixel_format, query.stride)

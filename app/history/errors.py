"""What can be wrong with a request about the history."""

from app.errors import RequestError


class InspectionNotFound(RequestError):
    """No inspection with this id is kept.

    It was made with `PASSLINE_HISTORY=off`, on another box, or has been deleted by retention.

    Remedy: Look for it with `GET /v1/inspections`.
    """

    code = "inspection_not_found"
    title = "There is no such inspection"
    status = 404

    def __init__(self, id: str) -> None:
        super().__init__(f"no inspection {id!r} is kept here")


class ImageNotKept(RequestError):
    """The image of this inspection is not kept, or no more.

    `PASSLINE_KEEP_IMAGES` and retention decide what is kept. Its thumbnail is.

    Remedy: Keep more images, for those to come.
    """

    code = "image_not_kept"
    title = "The image is not kept"
    status = 404


class HistoryOff(RequestError):
    """No inspections are kept here.

    Remedy: Set `PASSLINE_HISTORY=sync` and restart.
    """

    code = "history_off"
    title = "No history is kept"
    status = 409


class DataSetNotWritten(RequestError):
    """The reviewed inspections could not be written as a data set; the message says why.

    Remedy: Name a new folder that can be written; choose inspections of bundles with the same classes.
    """

    code = "data_set_not_written"
    title = "The data set could not be written"
    status = 409


class ParquetNotInstalled(RequestError):
    """This box cannot write Parquet: the package pyarrow is not installed.

    Remedy: Install the extra `parquet`, or export as CSV.
    """

    code = "parquet_not_installed"
    title = "Parquet is not installed"
    status = 501


class ReviewNotFound(RequestError):
    """The inspection has no such review, or it was taken back already.

    Remedy: Read the inspection again: `GET /v1/inspections/ID` lists its reviews.
    """

    code = "review_not_found"
    title = "There is no such review"
    status = 404


class ReviewConflict(RequestError):
    """Another person is looking at this inspection, or has reviewed it meanwhile.

    Remedy: Read it again; send the number of the review in force in `supersedes` to replace it.

    Retry: after reading it again
    """

    code = "review_conflict"
    title = "Somebody else reviews this inspection"
    status = 409

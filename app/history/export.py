"""Rows and data sets as files, made piece by piece, so that memory does not grow with their size."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from app.history.errors import ParquetNotInstalled
from app.schemas.history import Row

AT_ONCE = 500  # lines of a piece of CSV
OF_GROUP = 5000  # rows of a group of Parquet
PIECE_BYTES = 1 << 20  # of a file that is put into an archive
SAME = (
    *("id", "time", "camera_id", "part_id", "filename", "recipe", "recipe_version", "bundle"),
    *("bundle_version", "artifact", "execution_provider", "verdict", "defects", "classes"),
    *("image_probability", "image_threshold", "dice_estimated", "width", "height", "total_ms", "key"),
    *("has_image", "queue_reason"),
)
OF_REVIEW = ("verdict", "classes", "who", "time", "comment", "corrected")
COLUMNS = (*SAME, *(f"review_{name}" for name in OF_REVIEW))
# What spreadsheets take for a formula at the start of a cell.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def flat(row: Row) -> dict[str, Any]:
    """The columns of a row; times have a zone, classes are a list, columns of no review are None."""
    columns = {name: getattr(row, name) for name in SAME}
    columns |= {f"review_{name}": getattr(row.review, name, None) for name in OF_REVIEW}
    for name in ("classes", "review_classes"):
        columns[name] = None if columns[name] is None else list(columns[name])
    return columns


def csv_pieces(rows: Iterable[Row]) -> Iterator[bytes]:
    """CSV with a heading, UTF-8; classes are separated by semicolons, times are ISO 8601."""
    following = iter(rows)
    yield _lines([list(COLUMNS)])
    while some := list(islice(following, AT_ONCE)):
        yield _lines([[_cell(value) for value in flat(row).values()] for row in some])


def _lines(lines: Iterable[list[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue().encode()


def _cell(value: object) -> object:
    """A value as text; an apostrophe before what a spreadsheet would run as a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = ";".join(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return value.isoformat() if isinstance(value, datetime) else value


def parquet_pieces(rows: Iterable[Row]) -> Iterator[bytes]:
    """A Parquet file with the same columns; raises ParquetNotInstalled before the first piece."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ParquetNotInstalled("Parquet needs the package pyarrow, which is not installed") from error
    schema = pyarrow.schema(_types(pyarrow))
    return _parquet(rows, pyarrow, parquet, schema)


def _parquet(rows: Iterable[Row], pyarrow: Any, parquet: Any, schema: Any) -> Iterator[bytes]:
    following, out = iter(rows), _Pieces()
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while some := list(islice(following, OF_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist([flat(row) for row in some], schema=schema))
            yield out.taken()
    yield out.taken()


def _types(pyarrow: Any) -> list[tuple[str, Any]]:
    text, time = pyarrow.string(), pyarrow.timestamp("us", tz="UTC")
    special = {
        **dict.fromkeys(("time", "review_time"), time),
        **dict.fromkeys(("classes", "review_classes"), pyarrow.list_(text)),
        **dict.fromkeys(("recipe_version", "defects", "width", "height"), pyarrow.int32()),
        **dict.fromkeys(
            ("image_probability", "image_threshold", "dice_estimated", "total_ms"), pyarrow.float64()
        ),
        **dict.fromkeys(("has_image", "review_corrected"), pyarrow.bool_()),
    }
    return [(name, special.get(name, text)) for name in COLUMNS]


def zip_pieces(folder: Path) -> Iterator[bytes]:
    """The files below a folder as a zip archive, not compressed again; each is deleted once it is in it."""
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as source, archive.open(str(path.relative_to(folder)), "w") as target:
                while piece := source.read(PIECE_BYTES):
                    target.write(piece)
                    yield out.taken()
            path.unlink()
    yield out.taken()


class _Pieces(io.RawIOBase):
    """A file that is written from start to end, and read away meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def taken(self) -> bytes:
        """What was written since the last call."""
        waiting, self._waiting = bytes(self._waiting), bytearray()
        return waiting

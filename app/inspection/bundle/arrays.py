"""Arrays of a bundle's `.npz` file, read within bounds that `bundle.json` gives.

A `.npz` file is a ZIP archive of `.npy` files. Its directory and headers say how large they are; that is
compared with what is expected before anything is unpacked or allocated. No pickles.
"""

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

MAX_HEADER_BYTES = 1024  # of one .npy file
# As NumPy writes it; its own reader of headers evaluates them as Python.
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00.{2}"
    rb"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)
# What zipfile and zlib raise for a broken file.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
)


class ArraysInvalid(ValueError):
    """The file does not hold exactly the arrays that are expected."""


def read_arrays(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """The float32 arrays of a `.npz` file by name, which must be those of `shapes`; raises ArraysInvalid."""
    largest = sum(_bytes(each) + MAX_HEADER_BYTES for each in shapes.values())
    if len(data) > 2 * largest + 65_536:
        raise ArraysInvalid(f"it has {len(data)} bytes, more than its arrays of {dict(shapes)} can need")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = sorted(each.filename for each in archive.infolist())
            if names != sorted(f"{name}.npy" for name in shapes):
                raise ArraysInvalid(f"it holds {', '.join(names)[:200]}, not {', '.join(sorted(shapes))}")
            return {name: _array(archive, name, shape) for name, shape in shapes.items()}
    except BROKEN as error:
        raise error if isinstance(error, ArraysInvalid) else ArraysInvalid(str(error)) from error


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    member, size = archive.getinfo(f"{name}.npy"), _bytes(shape)
    if member.file_size > size + MAX_HEADER_BYTES:
        raise ArraysInvalid(f"{name} has {member.file_size} bytes; {size} and a header are expected")
    with archive.open(member) as file:
        content = file.read(size + MAX_HEADER_BYTES)
    header = HEADER.match(content)
    if header is None:
        raise ArraysInvalid(f"{name} has no header of a .npy file of version 1.0")
    kind, order, stated = (each.decode("ascii", "replace") for each in header.groups())
    if kind != "<f4" or stated.replace(" ", "").rstrip(",") != ",".join(map(str, shape)):
        raise ArraysInvalid(
            f"{name} is {kind:.20} of shape ({stated:.40}); <f4 (float32) of {shape} is expected"
        )
    length = len(content) - header.end()
    if length != size:
        raise ArraysInvalid(f"{name} has {length} bytes of values; {size} are expected")
    values = np.frombuffer(content, np.float32, offset=header.end())
    if not np.isfinite(values).all():
        raise ArraysInvalid(f"{name} has values that are not finite")
    return values.reshape(shape, order="F" if order == "True" else "C")


def _bytes(shape: tuple[int, ...]) -> int:
    return 4 * math.prod(shape)

"""Arrays of a bundle's `.npz` file, read within bounds that `bundle.json` gives.

A `.npz` file is a ZIP archive of `.npy` files. Its directory and headers say how large they are; that is
compared with what is expected before anything is unpacked or allocated. No pickles.
"""

import math
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_HEADER_BYTES = 1024  # of one .npy file
# What zipfile, zlib and NumPy raise for a broken file.
BROKEN = (ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError)


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
    except (zipfile.BadZipFile, zlib.error, *BROKEN) as error:
        raise error if isinstance(error, ArraysInvalid) else ArraysInvalid(str(error)) from error


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    member, size = archive.getinfo(f"{name}.npy"), _bytes(shape)
    if member.file_size > size + MAX_HEADER_BYTES:
        raise ArraysInvalid(f"{name} has {member.file_size} bytes; {size} and a header are expected")
    with archive.open(member) as file:
        content = BytesIO(file.read(size + MAX_HEADER_BYTES))
    version = npy.read_magic(content)
    if version != (1, 0):
        raise ArraysInvalid(f"{name} is of version {version} of the .npy format; 1.0 is expected")
    found, is_by_column, kind = npy.read_array_header_1_0(content, max_header_size=MAX_HEADER_BYTES)
    if found != shape or kind != np.float32:
        raise ArraysInvalid(f"{name} is {kind} of shape {found}; float32 of {shape} is expected")
    values = np.frombuffer(content.read(), np.float32)
    if values.nbytes != size:
        raise ArraysInvalid(f"{name} has {values.nbytes} bytes of values; {size} are expected")
    if not np.isfinite(values).all():
        raise ArraysInvalid(f"{name} has values that are not finite")
    return values.reshape(shape, order="F" if is_by_column else "C")


def _bytes(shape: tuple[int, ...]) -> int:
    return 4 * math.prod(shape)

"""The arrays of a `.npz` file: exactly those expected, and nothing is allocated on a file's word."""

import contextlib
import struct
import tracemalloc
import zipfile
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from app.inspection.bundle.arrays import ArraysInvalid, read_arrays
from tests.markdown import ROOT

SHAPES = {"mean": (3,), "whitening": (3, 3)}
MEAN = np.arange(3, dtype=np.float32)
WHITENING = np.arange(9, dtype=np.float32).reshape(3, 3)


def saved(**arrays: Any) -> bytes:
    """The sound file, some arrays replaced."""
    file = BytesIO()
    np.savez(file, **({"mean": MEAN, "whitening": WHITENING} | arrays))
    return file.getvalue()


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def array_file(values: bytes, shape: tuple[int, ...] = (3,), kind: str = "<f4") -> bytes:
    """A .npy file that states a shape and a type, whatever its values."""
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + values


def with_mean(content: bytes) -> bytes:
    """The sound file with another .npy file for `mean`."""
    return zipped({"mean.npy": content, "whitening.npy": array_file(WHITENING.tobytes(), (3, 3))})


def lying(data: bytes) -> bytes:
    """The file with a directory that states few bytes for a member that unpacks to many."""
    changed = bytearray(data)
    start = changed.index(b"PK\x01\x02")
    struct.pack_into("<I", changed, start + 24, 200)
    return bytes(changed)


def test_what_is_saved_is_read() -> None:
    for whitening in (WHITENING, np.asfortranarray(WHITENING)):
        found = read_arrays(saved(whitening=whitening), SHAPES)
        np.testing.assert_array_equal(found["mean"], MEAN)
        np.testing.assert_array_equal(found["whitening"], WHITENING)
    packed = BytesIO()
    np.savez_compressed(packed, mean=MEAN, whitening=WHITENING)
    np.testing.assert_array_equal(read_arrays(packed.getvalue(), SHAPES)["whitening"], WHITENING)


def test_shipped_files_are_read() -> None:
    files = list((ROOT / "models").glob("*/*/*.npz"))
    assert files
    for file in files:
        with np.load(file) as expected:
            shapes = {name: expected[name].shape for name in expected.files}
            found = read_arrays(file.read_bytes(), shapes)
            for name in shapes:
                np.testing.assert_array_equal(found[name], expected[name])


BOMB, SMALL_BOMB = (array_file(bytes(size * 1024 * 1024)) for size in (200, 20))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a zip file"),
        (b"nothing", "not a zip file"),
        (saved()[:-30], "not a zip file"),
        (saved(other=MEAN), r"mean\.npy, other\.npy, whitening\.npy, not mean, whitening"),
        (zipped({"mean.npy": b""}), "not mean, whitening"),
        (zipped({"mean.npy": b"", "../whitening.npy": b""}), "not mean, whitening"),
        (saved(mean=MEAN.astype(np.float64)), "mean is <f8 of shape"),
        (saved(mean=MEAN.astype(">f4")), "mean is >f4 of shape"),
        (saved(mean=np.array([1, "a", None], object)), r"mean is \|O of shape"),
        (saved(mean=np.zeros(4, np.float32)), r"of shape \(4,\); <f4 \(float32\) of \(3,\) is expected"),
        (saved(mean=np.array([1, np.nan, 2], np.float32)), "not finite"),
        (with_mean(array_file(MEAN.tobytes(), (2**40,))), r"of shape \(1099511627776,\)"),
        (with_mean(array_file(MEAN.tobytes()[:-1])), "mean has 11 bytes of values; 12 are expected"),
        (with_mean(array_file(MEAN.tobytes() + b"more")), "mean has 16 bytes of values; 12 are expected"),
        (with_mean(b"\x93NUMPY\x01\x00\xff\x00" + b"{" + b"-" * 254), "no header"),
        (with_mean(b"\x93NUMPY\x03\x00" + bytes(90)), "no header"),
        (with_mean(BOMB), "more than its arrays"),
        (with_mean(SMALL_BOMB), "mean has 20971648 bytes; 12 and a header are expected"),
        (lying(with_mean(SMALL_BOMB)), "CRC"),
        (saved() + bytes(200_000), "more than its arrays"),
    ],
)
def test_any_other_file_is_refused_at_little_cost(data: bytes, says: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ArraysInvalid, match=says):
            read_arrays(data, SHAPES)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_spoilt_files_are_read_or_refused(data: st.DataObject) -> None:
    spoilt = bytearray(saved())
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArraysInvalid):
        read_arrays(bytes(spoilt), SHAPES)

"""What is fuzzed: each takes any bytes and either reads them rightly or raises its named error.

Nothing here needs Atheris, so that `pytest` can replay the corpus.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from app.api.multipart import FormReader
from app.errors import BatchTooLarge, RequestInvalid
from app.inspection.bundle.arrays import ArraysInvalid, read_arrays
from app.inspection.bundle.bundle import MANIFEST, Bundle
from app.inspection.bundle.graph import check_graph
from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import BundleError, ImageError, RecipeError, ReferenceMaskError
from app.inspection.rules.recipe import check_classes, parse_recipe

CORPUS = Path(__file__).parent / "corpus"
LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1 << 18)  # small: a fuzzer lives by trying many
MASK_SHAPE, CLASSES = (12, 16), ("dark", "bright")
FORM_TYPE = "multipart/form-data; boundary=B"
_FOLDER = TemporaryDirectory(prefix="passline-fuzz-")


def picture(data: bytes) -> None:
    """An image is decoded whole, within the limits, or refused."""
    with contextlib.suppress(ImageError):
        pixels = decode(data, LIMITS)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2 or pixels.shape[2:] == (3,)
        assert 0 < pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels


def reference_mask(data: bytes) -> None:
    """A reference mask is a label map of the image's size and classes, or refused."""
    with contextlib.suppress(ReferenceMaskError):
        labels, _ = decode_reference_mask(data, MASK_SHAPE, len(CLASSES))
        assert labels.dtype == np.uint8
        assert labels.shape == MASK_SHAPE
        assert labels.max() <= len(CLASSES)


def recipe(data: bytes) -> None:
    """A recipe's text is read, and then says the same once it is written down, or refused."""
    with contextlib.suppress(RecipeError):
        read = parse_recipe(data.decode("utf-8", "surrogateescape"), "fuzz")
        assert parse_recipe(read.model_dump_json(exclude_unset=True), "again") == read
        check_classes(read, CLASSES)


def bundle(data: bytes) -> None:
    """`bundle.json` is read, or refused; the files it names are not there, nor is any other one read."""
    folder = Path(_FOLDER.name)
    (folder / MANIFEST).write_bytes(data)
    with contextlib.suppress(BundleError):
        Bundle.load(folder)


def graph(data: bytes) -> None:
    """A graph's file is allowed, or refused."""
    with contextlib.suppress(BundleError):
        check_graph(data, "fuzz")


def arrays(data: bytes) -> None:
    """The arrays of an input gate have the shapes expected, or are refused."""
    shapes = {"mean": (2,), "whitening": (2, 2)}
    with contextlib.suppress(ArraysInvalid):
        read = read_arrays(data, shapes)
        assert {name: each.shape for name, each in read.items()} == shapes
        assert all(np.isfinite(each).all() for each in read.values())


def form(data: bytes) -> None:
    """A form gives no more than its body held, however it is cut, or is refused."""
    with contextlib.suppress(RequestInvalid, BatchTooLarge):
        reader = FormReader(FORM_TYPE, {"images": 3, "candidate": 1}, frozenset({"recipe"}))
        cut = 1 + len(data) % 7
        for start in range(0, len(data), cut):
            reader.feed(data[start : start + cut])
        read = reader.finish()
        assert sum(len(each.data) for those in read.files.values() for each in those) <= len(data)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (picture, reference_mask, recipe, bundle, graph, arrays, form)
}


def corpus(target: str) -> list[Path]:
    """The kept inputs of a target: seeds, and whatever once crashed it."""
    return sorted((CORPUS / target).iterdir())

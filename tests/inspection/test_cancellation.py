"""An inspection whose result nobody wants ends, also within native code, and keeps nothing."""

import gc
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.inspection.bundle.bundle import Bundle
from app.inspection.cancellation import NEVER, Cancellation, Cancelled, interrupting_all
from app.inspection.decoding import bmp, depth, png_rows, raw, tiff, tiff_pieces
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import RawFrame
from app.inspection.inference.session import OnnxSession
from app.inspection.inspector import Inspector
from tests.attacks.large_images import MAKERS
from tests.markdown import ROOT
from tests.slow_bundle import TILE, write_slow_bundle
from tests.tiny_bundle import tiny_picture, write_tiny_bundle


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> OnnxSession:
    """A session that takes its time for a tile."""
    directory = write_slow_bundle(tmp_path_factory.mktemp("slow") / "bundle", work=500)
    return OnnxSession(Bundle.load(directory), "cpu", 1)


@contextmanager
def cancelled_after(seconds: float) -> Iterator[Cancellation]:
    cancellation = Cancellation()
    timer = threading.Timer(seconds, cancellation.cancel)
    timer.start()
    yield cancellation
    timer.join()


def test_a_check_raises_after_the_deadline_and_after_a_cancellation() -> None:
    class TooLate(Exception):
        pass

    Cancellation().check()
    NEVER.check()
    over = Cancellation(time.perf_counter() - 1, TooLate)
    assert over.is_over
    with pytest.raises(TooLate):
        over.check()
    left = Cancellation(math.inf, TooLate)
    left.check()
    left.cancel()
    left.cancel()
    with pytest.raises(TooLate):
        left.check()


def test_native_code_is_told_once_and_only_while_it_runs() -> None:
    calls: list[str] = []
    cancellation = Cancellation()
    with cancellation.interrupting(lambda: calls.append("before")):
        pass
    with cancellation.interrupting(lambda: calls.append("during")):
        cancellation.cancel()
        cancellation.cancel()
    with cancellation.interrupting(lambda: calls.append("after")):
        pass
    assert calls == ["during", "after"]


def test_shared_work_is_told_when_the_last_caller_has_left() -> None:
    calls: list[None] = []
    callers = [Cancellation() for _ in range(3)]
    with interrupting_all(callers, lambda: calls.append(None)):
        for caller in callers[:2]:
            caller.cancel()
        assert not calls
        callers[2].cancel()
        assert len(calls) == 1


def test_a_model_run_is_interrupted() -> None:
    """One batch of a network with many nodes, which ends after the node it is at."""
    bundle = Bundle.load(ROOT / "models/magnetic-tile/6")
    session = OnnxSession(bundle, "cpu", 1)
    contract = bundle.input
    shape = (session.max_batch, contract.tile_height, contract.tile_width, contract.channels)
    tiles = np.zeros(shape, np.uint8)
    before = session.run(tiles)

    begun = time.perf_counter()
    session.run(tiles)
    whole = time.perf_counter() - begun
    ended = 0
    for _ in range(10):
        with cancelled_after(whole / 10) as cancellation:
            try:
                session.run(tiles, cancellation)
            except Cancelled:
                ended += 1
    assert ended, "one batch is not checked again once it has begun"
    np.testing.assert_array_equal(session.run(tiles).mask_probability, before.mask_probability)


def test_a_caller_who_leaves_takes_nobody_along(slow: OnnxSession) -> None:
    """The tiles of both are run in one batch, as far as they wait at the same time."""
    tiles = np.zeros((1, TILE, TILE, 1), np.uint8)
    with ThreadPoolExecutor(2) as threads, cancelled_after(0.05) as leaving:
        first = threads.submit(slow.run, tiles, leaving)
        other = threads.submit(slow.run, tiles)
        assert other.result().mask_probability.shape[0] == 1
        with suppress(Cancelled):  # or done before
            first.result()


def jpeg(progressive: bool) -> bytes:
    patch = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(np.tile(patch, (8, 8, 1))).save(out, "JPEG", progressive=progressive, quality=90)
    return out.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_given_up(progressive: bool) -> None:
    data = jpeg(progressive)
    begun = time.perf_counter()
    decode(data, DecodeLimits())
    whole = time.perf_counter() - begun
    with cancelled_after(whole / 20) as cancellation, pytest.raises(Cancelled):
        decode(data, DecodeLimits(), cancellation=cancellation)
    over = Cancellation()
    over.cancel()
    with pytest.raises(Cancelled):
        decode(data, DecodeLimits(), cancellation=over)
    assert decode(data, DecodeLimits()).shape == (4000, 4000, 3), "the file itself is not changed"


class Counting(Cancellation):
    """Ends at the check after `most`."""

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.calls, self._most = 0, most

    def check(self) -> None:
        self.calls += 1
        if self.calls > self._most:
            self.cancel()
        super().check()


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("jpeg")])
def test_blocks_change_nothing_and_end_between_two(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made = MAKERS[name](160, 320)
    limits = DecodeLimits()
    whole = decode(made, limits)
    for module in (bmp, depth, png_rows, raw, tiff, tiff_pieces):
        monkeypatch.setattr(module, "AT_ONCE", 1000)
    counted = Counting()
    np.testing.assert_array_equal(decode(made, limits, cancellation=counted), whole)
    if isinstance(made, RawFrame) and made.pixel_format == "Mono8":
        return  # not even copied
    assert counted.calls > 5
    for most in (0, counted.calls // 2, counted.calls - 1):
        with pytest.raises(Cancelled):
            decode(made, limits, cancellation=Counting(most))


@pytest.mark.parametrize("when", [1, 2, 3])
def test_an_image_given_up_is_freed_at_once(tmp_path: Path, when: int) -> None:
    """Without the garbage collector: an error must not hold itself, and so the image, in a circle."""
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), "cpu", 1)

    def given_up() -> "weakref.ref[np.ndarray]":
        image = tiny_picture(400, 400)
        with pytest.raises(Cancelled):
            inspector.predict(image, cancellation=Counting(when))
        return weakref.ref(image)

    assert _without_collector(given_up)() is None


def _without_collector(work: "Callable[[], weakref.ref[np.ndarray]]") -> "weakref.ref[np.ndarray]":
    gc.collect()
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()

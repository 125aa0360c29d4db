"""A line camera's long frame is judged in bounded memory, and given up where nobody waits for it any more."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from app.inspection.cancellation import Cancellation, Cancelled
from app.inspection.decoding.raw import RawFrame
from app.inspection.inspector import Inspector
from tests.benchmarks.large import peak_bytes
from tests.tiny_bundle import tiny_picture, write_tiny_bundle

CLASSES = ("dark", "bright", "dim", "pale")
DEFECTS = ((100, 50, 40, 9), (1900, 4000, 30, 60), (700, 8100, 9, 9))  # x, y, width, height
LENGTH, WIDTH = 8192, 2048


@dataclass(frozen=True)
class Judged:
    """What became of a frame, and by how many bytes its process grew."""

    verdict: str
    boxes: list[tuple[int, int, int, int]]
    peak: int


def frame(length: int, width: int) -> RawFrame:
    """Grain to which every class answers a little, with dark rectangles."""
    piece = tiny_picture(min(length, 512), min(width, 512), grain=16)
    pixels = np.tile(piece, (length // piece.shape[0], width // piece.shape[1]))
    for x, y, w, h in DEFECTS:
        pixels[y : y + h, x : x + w] = 10
    return RawFrame(pixels.tobytes(), width, length, "Mono8")


def judge(bundle: Path) -> Judged:
    """To be called in a fresh process, whose memory nothing else has used."""
    inspector = Inspector.load(bundle, "cpu", 1)
    inspector.inspect(frame(512, 512))
    long = frame(LENGTH, WIDTH)
    found = []
    peak = peak_bytes(lambda: found.append(inspector.inspect(long)))
    return Judged(found[0].verdict, [each.bbox for each in found[0].defects], peak)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("large"), CLASSES, tile=256, overlap=32)


def test_a_long_frame_takes_three_times_its_own_memory_at_most(bundle: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        judged = process.submit(judge, bundle).result()
    assert judged.verdict == "fail"
    assert judged.boxes == sorted(DEFECTS, key=lambda box: -box[2] * box[3])
    assert judged.peak <= 3 * LENGTH * WIDTH


def test_a_long_frame_is_given_up_between_its_tiles(bundle: Path) -> None:
    inspector, calls = Inspector.load(bundle, "cpu", 1), 0

    class Leaving(Cancellation):
        def check(self) -> None:
            nonlocal calls
            calls += 1
            if calls == 4:
                self.cancel()
            super().check()

    with pytest.raises(Cancelled):
        inspector.inspect(frame(2048, 512), cancellation=Leaving())
    assert calls == 4

"""Bound buffers of fixed sizes, on the CPU, where ONNX Runtime offers the same calls."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from app.inspection.inference.gpu import SIZES, GpuRun
from app.inspection.inference.threads import compute_on, usable_cores
from tests.tiny_bundle import tiny_graph

OUTPUTS = {"mask_probability": ((2, 64, 64), np.uint8), "image_probability": ((), np.float32)}


def test_bound_runs_answer_like_plain_ones_at_any_size_and_in_any_order() -> None:
    session = ort.InferenceSession(tiny_graph(2, 64, 1), providers=["CPUExecutionProvider"])
    bound = GpuRun(session, (64, 64, 1), OUTPUTS, "cpu", graphs=False)
    rng = np.random.default_rng(0)
    for count in (1, 32, 3, 2, 17, 1, 5):
        tiles = rng.integers(0, 256, (count, 64, 64, 1), dtype=np.uint8)
        for found, expected in zip(bound(tiles), session.run(list(OUTPUTS), {"pixels": tiles}), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_gpus_batches_fit_the_bound_sizes() -> None:
    assert compute_on(gpu=True).many.max_batch == SIZES[-1]
    assert compute_on(gpu=True).lanes == 1  # its buffers are for one run at a time


@pytest.mark.parametrize(
    ("said", "cores"), [("max 100000", 64), ("150000 100000", 2), ("20000 100000", 1), ("nonsense", 64)]
)
def test_a_containers_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(said)
    assert usable_cores(tmp_path) == cores
    assert usable_cores(tmp_path / "elsewhere") == 64

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


QUOTA_V1 = {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "50000"}
UNLIMITED_V1 = {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}
UNIT = "system.slice/passline.service"


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        # Version 2, as systemd nests it: the unit's quota, a slice's above it, the least of both.
        (f"0::/{UNIT}", {UNIT: {"cpu.max": "200000 100000"}}, 2),
        (f"0::/{UNIT}", {UNIT: {"cpu.max": "max 100000"}, "system.slice": {"cpu.max": "300000 100000"}}, 3),
        (f"0::/{UNIT}/a", {UNIT: {"cpu.max": "200000 100000"}, f"{UNIT}/a": {"cpu.max": "500000 100000"}}, 2),
        (f"0::/{UNIT}", {"other.slice": {"cpu.max": "100000 100000"}}, 64),
        ("0::/../other", {"": {"cpu.max": "400000 100000"}, "../other": {"cpu.max": "100000 100000"}}, 4),
        # Version 1: the group itself, one above, a container's that is seen as the root, none.
        ("4:cpu,cpuacct:/docker/ab", {"cpu,cpuacct/docker/ab": QUOTA_V1}, 3),
        ("4:cpuacct,cpu:/docker/ab", {"cpu/docker": QUOTA_V1, "cpu/docker/ab": UNLIMITED_V1}, 3),
        ("2:cpuset:/x\n1:cpu:/docker/ab\n0::/", {"cpu": QUOTA_V1}, 3),
        ("1:cpu:/", {"cpu": UNLIMITED_V1}, 64),
        ("1:name=systemd:/cpu\n2:cpuset:/docker/ab", {"cpuset/docker/ab": QUOTA_V1}, 64),
    ],
)
def test_quotas_of_every_group_above_a_process_bound_the_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    files: dict[str, dict[str, str]],
    cores: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    root, told = tmp_path / "cgroup", tmp_path / "membership"
    root.mkdir()
    told.write_text(f"{membership}\n")
    for group, limits in files.items():
        (root / group).mkdir(parents=True, exist_ok=True)
        for name, text in limits.items():
            (root / group / name).write_text(f"{text}\n")
    assert usable_cores(root, told) == cores
